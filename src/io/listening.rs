//! What a listener does, of whatever kind: it accepts, and pauses when it cannot.
//!
//! Errors of `accept(2)` are handled as for callbacks: a connection that broke before it was accepted
//! is skipped, and when descriptors run out, `accept` waits for a growing time, or until the loop
//! closes one of its own. The shortage is reported at most once a second, and never makes the loop spin.
//!
//! In asyncio this is `sock_accept`, and the server's pause of a second.

use super::socket::Socket;
use super::watched::{Direction, Io, Watched};
use crate::event_loop::{
    AcceptError, Backoff, BrokenInARow, FdState, FdWaitKey, ReportLimit, Unhandled, WakeTimer,
    WakeTimerState, WeakHandle,
};
use crate::poll::FdRef;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::panic::Location;
use std::task::{Context, Poll};

/// A socket that listens, as a source.
#[derive(Debug)]
pub(super) struct ListeningSocket {
    socket: Socket,
    /// The loop's count of polls at the latest connection.
    polls: Cell<Option<u64>>,
}

impl Io for ListeningSocket {
    const IS_LISTENER: bool = true;

    fn fd_ref(&self) -> FdRef<'_> {
        self.socket.fd_ref()
    }
}

impl From<ListeningSocket> for Socket {
    fn from(listening: ListeningSocket) -> Self {
        listening.socket
    }
}

impl Deref for ListeningSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) source: Watched<ListeningSocket>,
    pub(super) backoff: RefCell<Backoff>,
    /// Limits the reports of its pauses.
    pub(super) pause_reports: RefCell<ReportLimit>,
    /// Limits the reports of connections that it has lost.
    pub(super) loss_reports: RefCell<ReportLimit>,
    /// The line that made it, which reports name for its connections too.
    pub(super) site: &'static Location<'static>,
}

impl Listening {
    /// Of a socket that the loop made: it is non-blocking, and need not be checked.
    pub(super) fn made_here(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        Self::new(socket, FdState::MadeHere, site)
    }

    /// Of a descriptor that the loop has not made: whatever it is (R211).
    pub(super) fn taken_over(socket: Socket, site: &'static Location<'static>) -> io::Result<Self> {
        let fd_state = socket.fd_state();
        let listening = Self::new(socket, fd_state, site)?;
        listening.source.check_listening()?;
        Ok(listening)
    }

    fn new(
        socket: Socket,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let polls = Cell::new(None);
        let socket = ListeningSocket { socket, polls };
        Ok(Self {
            source: Watched::new(socket, fd_state, site)?,
            backoff: RefCell::default(),
            pause_reports: RefCell::default(),
            loss_reports: RefCell::default(),
            site,
        })
    }

    /// Accepts a connection, waiting until there is one, and makes of it what the caller wants: `None` if the
    /// connection has gone already.
    ///
    /// # Errors
    ///
    /// Those of the listener itself; never those of one connection, nor want of descriptors.
    pub(super) async fn accept<T>(
        &self,
        make: impl Fn(Socket, Option<SocketAddr>) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let mut broken = BrokenInARow::default();
        loop {
            let accepted = self
                .source
                .io(Direction::Read, |listener| listener.accept())
                .await;
            if accepted.is_ok() {
                self.expect_no_other();
            }
            let error = match accepted {
                Ok((socket, peer)) => match make(socket, peer) {
                    Ok(Some(made)) => return Ok(made),
                    Ok(None) => io::ErrorKind::ConnectionAborted.into(),
                    // R013: one connection is lost, as with callbacks; not the server.
                    Err(error) if error.raw_os_error().is_some() => {
                        self.report_lost(peer, error);
                        io::ErrorKind::ConnectionAborted.into()
                    }
                    Err(error) => return Err(error),
                },
                Err(error) => error,
            };
            match AcceptError::of(&error) {
                AcceptError::Fatal => return Err(error),
                AcceptError::OutOfResources => self.pause(error).await,
                AcceptError::Connection | AcceptError::WouldBlock if broken.add() => {
                    self.pause(error).await;
                }
                AcceptError::Connection | AcceptError::WouldBlock => {}
            }
        }
    }

    /// Mostly the connection was the only one; if not, the next poll reports the listener again. Only if that
    /// has just happened, the next [`accept`](Self::accept) asks the kernel: a burst is accepted without a poll
    /// for each of its connections.
    #[inline]
    fn expect_no_other(&self) {
        let (polls, before) = (self.source.polls(), self.source.polls.get());
        self.source.polls.set(polls);
        let is_in_a_row = before == polls || before.map(|before| before + 1) == polls;
        if !is_in_a_row {
            self.source.await_report();
        }
    }

    /// Waits until this loop closes a descriptor, or for the time of the backoff.
    async fn pause(&self, error: io::Error) {
        let Some(handle) = WeakHandle::current() else {
            return;
        };
        let Some(now) = handle.with(|handle| handle.fresh_now()) else {
            return;
        };
        let retry = self.backoff.borrow_mut().next_wait(now);
        let admitted = self.pause_reports.borrow_mut().allows(now);
        if let Some(held_back) = admitted {
            let (fd, addr) = (self.source.fd_ref().raw(), self.source.local_addr().ok());
            let paused = Unhandled::AcceptPaused {
                fd,
                addr,
                error,
                retry,
                held_back,
            };
            handle.with(|handle| handle.report(&paused));
        }
        let mut pause = Pause {
            handle,
            timer: None,
            fd_wait: None,
        };
        poll_fn(|cx| pause.poll(cx, retry)).await;
    }

    /// Reports a connection that could not be registered, at most once a second.
    fn report_lost(&self, peer: Option<SocketAddr>, error: io::Error) {
        let Some(handle) = WeakHandle::current() else {
            return;
        };
        let now = handle.with(|handle| handle.fresh_now());
        let admitted = now.and_then(|now| self.loss_reports.borrow_mut().allows(now));
        if let Some(held_back) = admitted {
            let (fd, addr) = (self.source.fd_ref().raw(), self.source.local_addr().ok());
            let lost = Unhandled::ConnectionLost {
                fd,
                addr,
                peer,
                error,
                held_back,
            };
            handle.with(|handle| handle.report(&lost));
        }
    }
}

/// Ends with a timer, or when the loop closes a descriptor, whichever is first.
struct Pause {
    handle: WeakHandle,
    timer: Option<WakeTimer>,
    fd_wait: Option<FdWaitKey>,
}

impl Pause {
    fn poll(&mut self, cx: &mut Context<'_>, wait: std::time::Duration) -> Poll<()> {
        match &self.timer {
            None => {
                self.handle.with(|handle| {
                    self.timer = Some(handle.wake_later(wait, cx.waker().clone()));
                    self.fd_wait = Some(handle.wake_on_fd_close(cx.waker().clone()));
                });
                Poll::Pending
            }
            Some(timer) => {
                // Woken by either. A wake for another reason costs only one more attempt.
                let _: WakeTimerState = timer.poll(cx.waker());
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(key) = self.fd_wait.take() {
            self.handle.with(|handle| handle.cancel_fd_wait(key));
        }
    }
}
