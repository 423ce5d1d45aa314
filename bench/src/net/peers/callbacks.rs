//! readily, with callbacks that read until nothing is left, and take the shared buffer out of its cell
//! meanwhile. `terse_callbacks.rs` does neither.

use super::Next;
use crate::chain::{Chain, Links};
use crate::raw;
use readily::{Callbacks, Cx, EventLoop, Interest};
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

/// The descriptor that a callback reads from and writes to.
// Always inlined, as the calls would be if they stood in the callback.
pub struct Io<'a, 'b>(pub &'a Cx<'b>);

impl Read for Io<'_, '_> {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Io<'_, '_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Conn {
    /// The read buffer that all connections share.
    buffer: Rc<Cell<Vec<u8>>>,
    kept: Vec<u8>,
    wants: Next,
}

impl Callbacks for Conn {
    fn interest(&self) -> Interest {
        Interest::READ
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut buffer = self.buffer.take();
        let next = echo_all(&mut Io(cx), &mut self.kept, &mut buffer);
        self.buffer.set(buffer);
        if next != self.wants {
            self.want(cx, next);
        }
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        self.on_read(cx);
    }
}

impl Conn {
    fn want(&mut self, cx: &Cx<'_>, next: Next) {
        self.wants = next;
        let asked = match next {
            Next::Read => cx.set_interest(Interest::READ),
            Next::Write => cx.set_interest(Interest::WRITE),
            Next::End => return cx.close(),
        };
        if asked.is_err() {
            cx.close();
        }
    }
}

/// Echoes the available bytes, including those that the socket did not accept before.
#[inline(always)]
fn echo_all(stream: &mut (impl Read + Write), kept: &mut Vec<u8>, buffer: &mut [u8]) -> Next {
    if !kept.is_empty() {
        match stream.write(kept) {
            Ok(n) => drop(kept.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_reset) => return Next::End,
        }
        if !kept.is_empty() {
            return Next::Write;
        }
    }
    loop {
        let n = match stream.read(buffer) {
            Ok(0) => return Next::End,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Read,
            Err(_reset) => return Next::End,
        };
        let written = match stream.write(&buffer[..n]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_reset) => return Next::End,
        };
        if written < n {
            kept.extend_from_slice(&buffer[written..n]);
            return Next::Write;
        }
        // A short read means that nothing more is available.
        if n < buffer.len() {
            return Next::Read;
        }
    }
}

pub fn echo(listener: TcpListener, room: usize) -> io::Result<()> {
    let mut event_loop = EventLoop::new().map_err(io::Error::other)?;
    let buffer = Rc::new(Cell::new(vec![0; room]));
    event_loop
        .listen(listener, move |_cx, accepted| {
            raw::set_nodelay(&accepted.fd).ok()?;
            Some(Conn {
                buffer: Rc::clone(&buffer),
                kept: Vec::new(),
                wants: Next::Read,
            })
        })
        .map_err(|refused| refused.error)
        .map_err(io::Error::other)?;
    event_loop.run().map_err(io::Error::other)?;
    Err(io::Error::other("the loop has ended"))
}

struct Pair {
    at: usize,
    links: Rc<Links>,
}

impl Callbacks for Pair {
    fn on_read(&mut self, cx: &Cx<'_>) {
        // An error shows up as a chain that ended early.
        let passed = self.links.turn(self.at, |buffer| cx.read(buffer));
        if passed.unwrap_or(true) {
            cx.stop();
        }
    }
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let mut event_loop = EventLoop::new().map_err(io::Error::other)?;
    let Chain { readers, links } = chain;
    for (at, reader) in readers.into_iter().enumerate() {
        let links = Rc::clone(&links);
        event_loop
            .register(reader, Interest::READ, Pair { at, links })
            .map_err(|refused| refused.error)
            .map_err(io::Error::other)?;
    }
    links.start()?;
    event_loop.run().map_err(io::Error::other)?;
    links.took()
}
