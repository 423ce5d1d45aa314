//! What a core does with a connection: a task for it, or callbacks.
//!
//! The user's function is called here, and a panic of it ends this connection alone.
//!
//! In the notes: "register its callbacks" (N7).

use super::connections::{Arrival, Open};
use crate::event_loop::loop_handle::{Callbacks, Cx};
use crate::event_loop::{Accepted, LoopHandle};
use crate::io::TcpStream;
use crate::poll::{Interest, Readiness};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;

/// Serves a connection by a task.
pub(super) fn serve_one<H, F>(
    handle: &LoopHandle,
    handler: &Rc<H>,
    arrival: Arrival,
    site: &'static Location<'static>,
) -> io::Result<()>
where
    H: Fn(TcpStream, SocketAddr) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let Arrival {
        stream, peer, open, ..
    } = arrival;
    let stream = TcpStream::from_accepted(stream, site)?;
    let handler = Rc::clone(handler);
    // The handler is called in the task, so that its panic ends this connection alone.
    let connection = async move {
        let _open = open;
        handler(stream, peer).await;
    };
    drop(handle.spawn_at(connection, site));
    Ok(())
}

/// Serves a connection by callbacks.
pub(super) fn accept_one<A, C>(
    handle: &LoopHandle,
    accept: &RefCell<A>,
    arrival: Arrival,
    site: &'static Location<'static>,
) -> io::Result<()>
where
    A: FnMut(&LoopHandle, &Accepted) -> Option<C>,
    C: Callbacks + 'static,
{
    let Arrival {
        stream, peer, open, ..
    } = arrival;
    let accepted = Accepted {
        fd: stream.into(),
        peer: Some(peer),
    };
    let mut callbacks = None;
    // Not borrowed already: connections arrive by messages and in the acceptor's task, one after another.
    handle.guard(|| callbacks = (accept.borrow_mut())(handle, &accepted));
    let Some(callbacks) = callbacks else {
        return Ok(()); // closes it
    };
    let counted = Counted {
        callbacks,
        _open: open,
    };
    handle.open_accepted(site, accepted, counted)
}

/// Callbacks whose connection is counted until they are dropped.
struct Counted<C> {
    callbacks: C,
    _open: Open,
}

impl<C: Callbacks> Callbacks for Counted<C> {
    fn interest(&self) -> Interest {
        self.callbacks.interest()
    }
    fn connected_interest(&self) -> Interest {
        self.callbacks.connected_interest()
    }
    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.callbacks.on_connect(cx);
    }
    fn on_open(&mut self, cx: &Cx<'_>) {
        self.callbacks.on_open(cx);
    }
    fn on_timeout(&mut self, cx: &Cx<'_>) {
        self.callbacks.on_timeout(cx);
    }
    #[inline]
    fn on_read(&mut self, cx: &Cx<'_>) {
        self.callbacks.on_read(cx);
    }
    #[inline]
    fn on_write(&mut self, cx: &Cx<'_>) {
        self.callbacks.on_write(cx);
    }
    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        self.callbacks.on_hangup(cx, error);
    }
    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        self.callbacks.on_default(cx, ready);
    }
}
