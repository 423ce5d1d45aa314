//! readily, with callbacks that do no more than those of the peers in C: one read, one write.

use super::Next;
use super::callbacks::Io;
use crate::raw;
use readily::{Callbacks, Cx, EventLoop, Interest};
use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

struct Conn {
    /// The buffer that all connections share.
    buffer: Rc<RefCell<Vec<u8>>>,
    kept: Vec<u8>,
}

impl Callbacks for Conn {
    fn interest(&self) -> Interest {
        Interest::READ
    }

    #[inline]
    fn on_read(&mut self, cx: &Cx<'_>) {
        let buffer = &mut self.buffer.borrow_mut()[..];
        let next = super::echo::<false>(&mut Io(cx), &mut self.kept, buffer);
        if next != Next::Read {
            change(cx, next);
        }
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        change(cx, super::write_kept(&mut Io(cx), &mut self.kept));
    }
}

#[cold]
fn change(cx: &Cx<'_>, next: Next) {
    let changed = match next {
        Next::Read => cx.set_interest(Interest::READ),
        Next::Write => cx.set_interest(Interest::WRITE),
        Next::End => return cx.close(),
    };
    if changed.is_err() {
        cx.close();
    }
}

pub fn echo(listener: TcpListener, room: usize) -> io::Result<()> {
    let mut event_loop = EventLoop::new().map_err(io::Error::other)?;
    let buffer = Rc::new(RefCell::new(vec![0; room]));
    event_loop
        .listen(listener, move |_cx, accepted| {
            raw::set_nodelay(&accepted.fd).ok()?;
            Some(Conn {
                buffer: Rc::clone(&buffer),
                kept: Vec::new(),
            })
        })
        .map_err(|refused| refused.error)
        .map_err(io::Error::other)?;
    event_loop.run().map_err(io::Error::other)?;
    Err(io::Error::other("the loop has ended"))
}
