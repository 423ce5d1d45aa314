//! A TCP echo server with callbacks: the event loop of the notes, written out (N7).
//!
//! Each branch of the notes is one callback. *Connect ready*: the closure passed to `listen` returns
//! the callbacks of the new connection, and the loop registers it. *Read ready*: `on_read` echoes.
//! *Write ready*: `on_write` sends the bytes that did not fit into the socket's buffer before.
//! *Hangup* needs no code here: the loop removes the registration and closes the descriptor.
//! `echo_coroutines` is the same server written with coroutines; compare the two.
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

/// The size of the read buffer, and so the most bytes that are kept for one connection.
const BUFFER_SIZE: usize = 16 * 1024;

/// One connection.
struct Echo {
    /// The read buffer, which all connections share: a callback uses it only while it runs.
    buffer: Rc<Cell<Vec<u8>>>,
    /// Bytes that were read and are not yet written.
    kept: Vec<u8>,
    /// Whether the peer has shut down its sending side.
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
    /// Writes as many bytes as the socket accepts, and sets the interest for the next event.
    /// While bytes are left to write, the interest is `WRITE` only. A peer that does not read is
    /// therefore not read from either (back-pressure), and `kept` stays bounded.
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
                // The peer has half-closed the connection, and everything has been echoed.
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
    let buffer = Rc::new(Cell::new(vec![0; BUFFER_SIZE]));
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

/// Parses `--addr ADDRESS`; the default is a free port on the loopback interface.
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
