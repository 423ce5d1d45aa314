//! epoll used directly, with a table indexed by descriptor.

use super::{EVENTS, Next};
use crate::chain::Chain;
use crate::raw::{self, Epoll, Events, Fd, IN, OUT};
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
    let (epoll, mut events) = (Epoll::new()?, Events::with_room(EVENTS));
    let door = listener.as_raw_fd();
    epoll.add(door, IN)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut buffer = vec![0; room];
    loop {
        for fd in epoll.wait(&mut events, -1)? {
            if fd == door {
                admit(&epoll, &listener, &mut conns)?;
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
                Next::Read => epoll.modify(fd, IN)?,
                Next::Write => epoll.modify(fd, OUT)?,
                Next::End => *place = None,
            }
        }
    }
}

#[inline(never)] // rarely called: its variables would take registers from the loop
fn admit(epoll: &Epoll, listener: &TcpListener, conns: &mut Vec<Option<Conn>>) -> io::Result<()> {
    while let Ok(stream) = raw::accept(listener) {
        raw::set_nodelay(&stream)?;
        let fd = stream.as_raw_fd();
        epoll.add(fd, IN)?;
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
    let (epoll, mut events) = (Epoll::new()?, Events::with_room(EVENTS));
    let mut places = Vec::new();
    for (at, reader) in chain.readers.iter().enumerate() {
        let fd = reader.as_raw_fd();
        epoll.add(fd, IN)?;
        places.resize(places.len().max(fd as usize + 1), usize::MAX);
        places[fd as usize] = at;
    }
    chain.links.start()?;
    loop {
        for fd in epoll.wait(&mut events, -1)? {
            let at = places[fd as usize];
            if chain.links.turn(at, |buffer| raw::read(fd, buffer))? {
                return chain.links.took();
            }
        }
    }
}
