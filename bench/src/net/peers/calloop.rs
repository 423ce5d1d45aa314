//! calloop: a level-triggered event source for each descriptor.

use super::Next;
use crate::chain::{Chain, Links};
use crate::raw::{self, Fd};
use calloop::generic::Generic;
use calloop::{EventLoop, EventSource, Interest, Mode, Poll, PostAction, Readiness};
use calloop::{Token, TokenFactory};
use std::cell::RefCell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

/// An event source for a connection, which changes its interest.
struct Conn {
    io: Generic<TcpStream>,
    /// The read buffer that all connections share.
    buffer: Rc<RefCell<Vec<u8>>>,
    kept: Vec<u8>,
    wants: Next,
}

impl EventSource for Conn {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F: FnMut((), &mut ())>(
        &mut self,
        readiness: Readiness,
        token: Token,
        _callback: F,
    ) -> io::Result<PostAction> {
        let mut next = self.wants;
        let (buffer, kept) = (&mut *self.buffer.borrow_mut(), &mut self.kept);
        self.io.process_events(readiness, token, |_, stream| {
            next = super::echo::<false>(&mut Fd(stream.as_raw_fd()), kept, buffer);
            Ok(PostAction::Continue)
        })?;
        if next == self.wants {
            return Ok(PostAction::Continue);
        }
        self.wants = next;
        self.io.interest = match next {
            Next::Read => Interest::READ,
            Next::Write => Interest::WRITE,
            Next::End => return Ok(PostAction::Remove),
        };
        Ok(PostAction::Reregister)
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.io.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.io.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.io.unregister(poll)
    }
}

pub fn echo(listener: TcpListener, room: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut event_loop: EventLoop<'_, ()> = EventLoop::try_new().map_err(io::Error::other)?;
    let handle = event_loop.handle();
    let buffer = Rc::new(RefCell::new(vec![0; room]));
    let listener = Generic::new(listener, Interest::READ, Mode::Level);
    event_loop
        .handle()
        .insert_source(listener, move |_, listener, ()| {
            while let Ok(stream) = raw::accept(&**listener) {
                stream.set_nodelay(true)?;
                let conn = Conn {
                    io: Generic::new(stream, Interest::READ, Mode::Level),
                    buffer: Rc::clone(&buffer),
                    kept: Vec::new(),
                    wants: Next::Read,
                };
                handle
                    .insert_source(conn, |(), (), ()| ())
                    .map_err(|refused| io::Error::other(refused.error))?;
            }
            Ok(PostAction::Continue)
        })
        .map_err(|refused| io::Error::other(refused.error))?;
    event_loop
        .run(None, &mut (), |()| {})
        .map_err(io::Error::other)
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let mut event_loop: EventLoop<'_, Rc<Links>> =
        EventLoop::try_new().map_err(io::Error::other)?;
    let signal = event_loop.get_signal();
    let Chain { readers, mut links } = chain;
    for (at, reader) in readers.into_iter().enumerate() {
        let reader = Generic::new(reader, Interest::READ, Mode::Level);
        let signal = signal.clone();
        event_loop
            .handle()
            .insert_source(reader, move |_, reader, links: &mut Rc<Links>| {
                if links.turn(at, |buffer| raw::read(reader.as_raw_fd(), buffer))? {
                    signal.stop();
                }
                Ok(PostAction::Continue)
            })
            .map_err(|refused| io::Error::other(refused.error))?;
    }
    links.start()?;
    event_loop
        .run(None, &mut links, |_| {})
        .map_err(io::Error::other)?;
    links.took()
}
