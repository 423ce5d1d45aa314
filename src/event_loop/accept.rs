//! The connect branch of a listener: accept, and register each connection (N7).
//!
//! The number of connections accepted per turn is bounded, so that a flood of new connections
//! cannot starve the established ones. There are three kinds of errors. After an error of one
//! connection, that connection is skipped. For lack of descriptors or memory the listener pauses,
//! because its readiness would otherwise be reported for ever. Every other error ends the listener,
//! and is reported.
//!
//! asyncio pauses for one second; libuv kept a spare descriptor, to accept and close the new
//! connection with.

use super::accept_backoff::{AcceptError, Backoff, BrokenInARow, FdWaitKey, ReportLimit};
use super::call_handles::TimerHandle;
use super::classify::Role;
use super::descriptor::{Accepted, Descriptor};
use super::error::{Error, RegisterError};
use super::loop_handle::{Callbacks, Cx, LoopHandle};
use super::registration::{FdState, Reasons, RegisterOptions};
use super::registry::Key;
use super::report::Unhandled;
use super::weak_handle::WeakHandle;
use crate::base::slab::SlabKey;
use crate::poll::{Interest, Readiness, Trigger};
use readily_sys::socket;
use readily_sys::transfer::Transfer;
use std::cell::Cell;
use std::io;
use std::net::{self, SocketAddr};
use std::panic::Location;
use std::rc::Rc;

/// The most connections that a listener of callbacks accepts in one turn.
const ACCEPTS_PER_TURN: usize = 64;

/// The backlog of listeners that this crate makes: how many connections may wait to be accepted.
/// The system may limit it further (`net.core.somaxconn`).
pub const BACKLOG: i32 = 1024;

/// Makes a TCP listener on `addr`, non-blocking and close-on-exec, for [`LoopHandle::listen`]. Port
/// 0 takes a free one. The address can be used again at once after an earlier listener has gone
/// (`SO_REUSEADDR`).
///
/// A listener of the standard library works as well, but has a backlog of 128. If a thousand
/// clients connect at once, the others are not answered, and try again after a second.
///
/// # Errors
///
/// As `bind(2)` and `listen(2)`.
pub fn listen_tcp(addr: impl Into<SocketAddr>) -> io::Result<net::TcpListener> {
    socket::listen_tcp(&addr.into(), BACKLOG).map(net::TcpListener::from)
}

impl LoopHandle {
    /// Registers a listener, accepts its connections, and registers each with the callbacks that
    /// `accept` returns.
    ///
    /// The interest of a connection is that of [`Callbacks::interest`], by default reading. Then
    /// [`Callbacks::on_open`] runs. If `accept` returns `None`, the connection is closed.
    ///
    /// `listener` is a socket on which `listen(2)` has been called, for instance by [`listen_tcp`].
    /// If it was blocking, it is made blocking again when the registration ends, so a duplicate
    /// that is still in use must set `O_NONBLOCK` again. If it was non-blocking before, the loop
    /// does not change it.
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::register`], with `accept` returned in the error; [`Error::NotListening`].
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::event_loop::listen_tcp;
    /// use readily::{Closures, EventLoop};
    /// use std::net::TcpStream;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let listener = listen_tcp(([127, 0, 0, 1], 0))?;
    /// let addr = listener.local_addr()?;
    /// event_loop.listen(listener, |cx, accepted| {
    ///     println!("{:?} connected", accepted.peer);
    ///     cx.stop();
    ///     Some(Closures::new())
    /// })?;
    /// let _client = TcpStream::connect(addr)?;
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "start_server")]
    #[track_caller]
    pub fn listen<F, C>(
        &self,
        listener: impl Into<Descriptor>,
        accept: F,
    ) -> Result<Key, RegisterError<F>>
    where
        F: FnMut(&Cx<'_>, &Accepted) -> Option<C> + 'static,
        C: Callbacks + 'static,
    {
        let descriptor = listener.into().on(self.kernel());
        if descriptor.fd_ref().kind() != socket::Kind::Listener {
            let fd = descriptor.fd_ref().raw();
            return Err(RegisterError {
                error: Error::NotListening { fd },
                descriptor: Some(descriptor),
                callbacks: accept,
            });
        }
        let acceptor = Acceptor {
            site: Location::caller(),
            accept,
            several: false,
            polls: 0,
            broken: BrokenInARow::default(),
            backoff: Backoff::default(),
            pause_reports: ReportLimit::default(),
            loss_reports: ReportLimit::default(),
            pause: None,
        };
        let options = RegisterOptions {
            role: Role::Listener,
            interest: Interest::READ,
            trigger: Trigger::Level,
            fd_state: FdState::Unknown,
            transfer: Transfer::SOCKET,
        };
        self.insert(options, descriptor, acceptor)
            .map_err(|refused| {
                let RegisterError {
                    error,
                    descriptor,
                    callbacks,
                } = refused;
                RegisterError {
                    error,
                    descriptor,
                    callbacks: callbacks.accept,
                }
            })
    }
}

/// The callbacks of a listener of [`LoopHandle::listen`].
struct Acceptor<F> {
    site: &'static Location<'static>,
    accept: F,
    /// Whether the latest event was for several connections: the next one probably is, too.
    several: bool,
    /// The loop's count of polls at the latest event.
    polls: u64,
    broken: BrokenInARow,
    backoff: Backoff,
    /// Limits the reports of its pauses.
    pause_reports: ReportLimit,
    /// Limits the reports of connections that it has lost.
    loss_reports: ReportLimit,
    /// The pause, while it has run out of descriptors or memory.
    pause: Option<Pause>,
}

/// A pause of a listener, which a timer or a closed descriptor ends. Dropping it cancels both:
/// otherwise each pause would leave a timer behind that tries, fails, and begins another pause.
struct Pause {
    handle: WeakHandle,
    retry: TimerHandle,
    fd_wait: Option<FdWaitKey>,
    /// Set by the first of the two. The other may be queued by then, and must not end the next pause.
    is_over: Rc<Cell<bool>>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.is_over.set(true);
        self.retry.cancel();
        if let Some(key) = self.fd_wait.take() {
            self.handle.with(|handle| handle.cancel_fd_wait(key));
        }
    }
}

impl<F, C> Callbacks for Acceptor<F>
where
    F: FnMut(&Cx<'_>, &Accepted) -> Option<C>,
    C: Callbacks + 'static,
{
    fn on_connect(&mut self, cx: &Cx<'_>) {
        if self.pause.is_some() {
            self.pause = None;
        }
        let polls = cx.stats.polls.get();
        let is_in_a_row = polls == self.polls + 1;
        self.polls = polls;
        for n in 0..ACCEPTS_PER_TURN {
            match cx.accept() {
                Ok(accepted) => {
                    self.broken.end_row();
                    self.accept_one(cx, accepted);
                }
                Err(error) => match AcceptError::of(&error) {
                    AcceptError::Connection if self.broken.add() => return self.pause(cx, error),
                    AcceptError::Connection => {}
                    AcceptError::WouldBlock => return self.several = n > 1,
                    AcceptError::OutOfResources => return self.pause(cx, error),
                    AcceptError::Fatal => {
                        let (fd, addr) = (cx.fd_ref().raw(), cx.fd_ref().local_addr().ok());
                        cx.report(&Unhandled::ListenerFailed { fd, addr, error });
                        return cx.close();
                    }
                },
            }
            // The callback may have closed its own listener, or paused it.
            if !cx.interest().contains(Interest::READ) {
                return;
            }
            // Mostly that was the only connection; if not, the next poll reports the listener again. Only
            // then is it tested for more. To test for readiness is cheaper than an `accept(2)` that
            // finds none, which makes a socket first. Of several, only one test is made: the `accept(2)`
            // that finds none more ends them.
            if !self.several {
                if !is_in_a_row {
                    return;
                }
                let ready = cx.fd_ref().readiness();
                self.several = ready.is_ok_and(|ready| ready.contains(Readiness::READ));
                if !self.several {
                    return;
                }
            }
        }
    }
}

impl<F, C> Acceptor<F>
where
    F: FnMut(&Cx<'_>, &Accepted) -> Option<C>,
    C: Callbacks + 'static,
{
    /// N7, "connect ready": registers the interest and the callbacks. Interest in writing only if
    /// the callbacks return it, which saves each connection a wakeup and an `epoll_ctl`.
    fn accept_one(&mut self, cx: &Cx<'_>, accepted: Accepted) {
        let Some(callbacks) = (self.accept)(cx, &accepted) else {
            return cx.close_descriptor(accepted.fd, self.site);
        };
        let peer = accepted.peer;
        let Err(error) = cx.open_accepted(self.site, accepted, callbacks) else {
            return;
        };
        if let Some(held_back) = self.loss_reports.allows(cx.fresh_now()) {
            let (fd, addr) = (cx.fd_ref().raw(), cx.fd_ref().local_addr().ok());
            cx.report(&Unhandled::ConnectionLost {
                fd,
                addr,
                peer,
                error,
                held_back,
            });
        }
    }

    /// Pauses the listener after a failure to accept, and reports the pause, at most once a second.
    fn pause(&mut self, cx: &Cx<'_>, error: io::Error) {
        let now = cx.fresh_now();
        let retry = self.backoff.next_wait(now);
        let slot = cx.slot();
        if let Err(Error::Io(error)) = set_paused(cx, slot, true) {
            let what = "pausing a listener";
            cx.report(&Unhandled::Io { what, error });
        }
        let is_over = Rc::new(Cell::new(false));
        let (by_time, by_descriptor) = (Rc::clone(&is_over), Rc::clone(&is_over));
        self.pause = Some(Pause {
            handle: cx.weak_handle(),
            retry: cx.call_later(retry, move |handle| resume(handle, slot, by_time)),
            fd_wait: Some(cx.call_on_fd_close(move |handle| resume(handle, slot, by_descriptor))),
            is_over,
        });
        if let Some(held_back) = self.pause_reports.allows(now) {
            let (fd, addr) = (cx.fd_ref().raw(), cx.fd_ref().local_addr().ok());
            cx.report(&Unhandled::AcceptPaused {
                fd,
                addr,
                error,
                retry,
                held_back,
            });
        }
    }
}

/// L10: the pause is a reason of the loop's own, apart from the user's interest, which may change
/// meanwhile.
fn set_paused(handle: &LoopHandle, slot: SlabKey, paused: bool) -> Result<(), Error> {
    handle.change(slot, false, |state| {
        state.reasons = state.reasons.with(Reasons::ACCEPT_PAUSED, paused);
    })
}

/// Ends a listener's pause, unless it is over. If the poller refuses, reports that, and tries again.
fn resume(handle: &LoopHandle, slot: SlabKey, is_over: Rc<Cell<bool>>) {
    if is_over.get() {
        return;
    }
    // If the listener was removed meanwhile, `change` does nothing.
    if let Err(Error::Io(error)) = set_paused(handle, slot, false) {
        let what = "resuming a listener";
        handle.report(&Unhandled::Io { what, error });
        handle.call_later(Backoff::LONGEST_ACCEPT_PAUSE, move |handle| {
            resume(handle, slot, is_over)
        });
    } else {
        is_over.set(true);
    }
}
