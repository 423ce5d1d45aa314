//! mio: its `Poll`, which is always edge-triggered.

use super::{EVENTS, Next};
use crate::chain::Chain;
use crate::raw;
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net;
use std::os::fd::AsRawFd;
use std::time::Duration;

struct Conn {
    stream: TcpStream,
    kept: Vec<u8>,
    wants: Next,
}

pub fn echo(listener: net::TcpListener, room: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(EVENTS));
    let door = Token(usize::MAX);
    poll.registry()
        .register(&mut listener, door, Interest::READABLE)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut buffer = vec![0; room];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let token = event.token();
            if token == door {
                admit(&poll, &listener, &mut conns)?;
                continue;
            }
            let place = &mut conns[token.0];
            let Some(conn) = place else { continue };
            let next = super::echo::<true>(&mut conn.stream, &mut conn.kept, &mut buffer);
            if next == conn.wants {
                continue;
            }
            conn.wants = next;
            let (registry, stream) = (poll.registry(), &mut conn.stream);
            match next {
                Next::Read => registry.reregister(stream, token, Interest::READABLE)?,
                Next::Write => registry.reregister(stream, token, Interest::WRITABLE)?,
                Next::End => {
                    registry.deregister(stream)?;
                    *place = None;
                }
            }
        }
    }
}

#[inline(never)] // rarely called: its variables would take registers from the loop
fn admit(poll: &Poll, listener: &TcpListener, conns: &mut Vec<Option<Conn>>) -> io::Result<()> {
    while let Ok((mut stream, _peer)) = listener.accept() {
        stream.set_nodelay(true)?;
        let at = stream.as_raw_fd() as usize;
        poll.registry()
            .register(&mut stream, Token(at), Interest::READABLE)?;
        if conns.len() <= at {
            conns.resize_with(at + 1, || None);
        }
        conns[at] = Some(Conn {
            stream,
            kept: Vec::new(),
            wants: Next::Read,
        });
    }
    Ok(())
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(EVENTS));
    let Chain { readers, links } = chain;
    let readers: Vec<_> = readers.iter().map(AsRawFd::as_raw_fd).collect();
    for (at, reader) in readers.iter().enumerate() {
        let mut reader = SourceFd(reader);
        poll.registry()
            .register(&mut reader, Token(at), Interest::READABLE)?;
    }
    links.start()?;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let at = event.token().0;
            if links.turn(at, |buffer| raw::read(readers[at], buffer))? {
                return links.took();
            }
        }
    }
}
