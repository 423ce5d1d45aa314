//! readily's poller alone, without the loop.

use super::Next;
use crate::chain::Chain;
use crate::raw::{self, Fd};
use readily::poll::Poller;
use readily::poll::default_poller::SystemPoller;
use readily::{Interest, Trigger};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

struct Conn {
    /// Closed when this is dropped.
    _stream: TcpStream,
    kept: Vec<u8>,
    wants: Next,
}

pub fn echo(listener: TcpListener, room: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let (mut poller, mut events) = (SystemPoller::new()?, Vec::new());
    let door = listener.as_raw_fd();
    poller.register(door, door as u64, Interest::READ, Trigger::Level)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut buffer = vec![0; room];
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in &events {
            let fd = event.token() as i32;
            if fd == door {
                admit(&mut poller, &listener, &mut conns)?;
                continue;
            }
            let place = &mut conns[fd as usize];
            let Some(conn) = place else { continue };
            let next = super::echo::<false>(&mut Fd(fd), &mut conn.kept, &mut buffer);
            if next == conn.wants {
                continue;
            }
            conn.wants = next;
            match next {
                Next::Read => poller.modify(fd, event.token(), Interest::READ, Trigger::Level)?,
                Next::Write => poller.modify(fd, event.token(), Interest::WRITE, Trigger::Level)?,
                Next::End => {
                    poller.remove(fd)?;
                    *place = None;
                }
            }
        }
    }
}

#[inline(never)] // rarely called: its variables would take registers from the loop
fn admit(
    poller: &mut SystemPoller,
    listener: &TcpListener,
    conns: &mut Vec<Option<Conn>>,
) -> io::Result<()> {
    while let Ok(stream) = raw::accept(listener) {
        raw::set_nodelay(&stream)?;
        let fd = stream.as_raw_fd();
        poller.register(fd, fd as u64, Interest::READ, Trigger::Level)?;
        if conns.len() <= fd as usize {
            conns.resize_with(fd as usize + 1, || None);
        }
        conns[fd as usize] = Some(Conn {
            _stream: stream,
            kept: Vec::new(),
            wants: Next::Read,
        });
    }
    Ok(())
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let (mut poller, mut events) = (SystemPoller::new()?, Vec::new());
    let Chain { readers, links } = chain;
    let readers: Vec<_> = readers.iter().map(AsRawFd::as_raw_fd).collect();
    for (at, &reader) in readers.iter().enumerate() {
        poller.register(reader, at as u64, Interest::READ, Trigger::Level)?;
    }
    links.start()?;
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in &events {
            let at = event.token() as usize;
            if links.turn(at, |buffer| raw::read(readers[at], buffer))? {
                return links.took();
            }
        }
    }
}
