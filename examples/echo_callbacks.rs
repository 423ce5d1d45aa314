//! A TCP echo server with callbacks: the notes' loop as it stands (N7).
//!
//! Each branch of the notes is one method: *connect ready* registers the connection, *read
//! ready* echoes, *write ready* sends what had no room, *hangup* is told and everything is
//! reclaimed. Lay it beside `echo_coroutines`, which is the same server.
//!
//! ```text
//! cargo run --release --example echo_callbacks -- --addr 127.0.0.1:7007
//! nc 127.0.0.1 7007
//! ```

use readily::event_loop::listen_tcp;
use readily::{Callbacks, Cx, EventLoop, Interest};
use std::cell::Cell;
use std::io::ErrorKind::WouldBlock;
use std::net::Shutdown;
use std::rc::Rc;

/// As much as one connection may make us keep.
const ROOM: usize = 16 * 1024;

/// One connection: what was read and not yet written, and whether the peer has finished.
struct Echo {
    /// What all connections read into, one after the other.
    buffer: Rc<Cell<Vec<u8>>>,
    kept: Vec<u8>,
    ended: bool,
}

impl Callbacks for Echo {
    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut buffer = self.buffer.take();
        let read = cx
            .read(&mut buffer)
            .inspect(|&n| self.kept.extend_from_slice(&buffer[..n]));
        self.buffer.set(buffer);
        match read {
            Ok(n) => self.ended = n == 0,
            Err(error) if error.kind() == WouldBlock => return,
            Err(_reset) => return cx.close(),
        }
        self.send(cx);
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        self.send(cx);
    }
}

impl Echo {
    /// Writes what there is room for, and asks for what must come next: room, or more bytes.
    /// A slow reader is held back: nothing is read for it while it has something to take.
    fn send(&mut self, cx: &Cx<'_>) {
        if !self.kept.is_empty() {
            match cx.write(&self.kept) {
                Ok(n) => drop(self.kept.drain(..n)),
                Err(error) if error.kind() == WouldBlock => {}
                Err(_reset) => return cx.close(),
            }
        }
        let next = match (self.kept.is_empty(), self.ended) {
            (false, _) => Interest::WRITE,
            (true, false) => Interest::READ,
            (true, true) => {
                // Half-closed: the rest has been echoed, and now the end.
                let _ = cx.shutdown(Shutdown::Write);
                return cx.close();
            }
        };
        if cx.set_interest(next).is_err() {
            cx.close();
        }
    }
}

const USAGE: &str = "usage: echo_callbacks [--addr 127.0.0.1:0]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let mut event_loop = EventLoop::new()?;
    let listener = listen_tcp(addr()?)?;
    let local_addr = listener.local_addr()?;
    let buffer = Rc::new(Cell::new(vec![0; ROOM]));
    event_loop.listen(listener, move |_cx, _accepted| {
        Some(Echo {
            buffer: Rc::clone(&buffer),
            kept: Vec::new(),
            ended: false,
        })
    })?;
    println!("listening on {local_addr}");
    event_loop.run()?;
    Ok(())
}

/// `--addr ADDRESS`, or a free port on the loopback.
fn addr() -> Result<std::net::SocketAddr, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, ..) => Ok(([127, 0, 0, 1], 0).into()),
        (Some("--addr"), Some(addr), None) => {
            let wrong = |error| format!("--addr {addr}: {error}; {USAGE}");
            Ok(addr.parse::<std::net::SocketAddr>().map_err(wrong)?)
        }
        _ => Err(USAGE.into()),
    }
}
