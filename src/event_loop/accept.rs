//! The connect branch of a listener: accept, and register each connection (N7).
//!
//! Accepting is bounded per turn, or a flood of connections would starve what is connected
//! already. Errors fall into three kinds: those of one connection, which is skipped; those
//! of want (no descriptor, no memory), for which the listener pauses, because a level that
//! cannot be served would be reported for ever; and the rest, which are told.
//!
//! asyncio pauses for one second; libuv kept a spare descriptor to close the newcomer with.

use super::callbacks::Callbacks;
use super::cx::Cx;
use super::error::{Error, RegisterError};
use super::handle::Handle;
use super::local::Local;
use super::registry::{Descriptor, Key};
use super::timer_handles::TimerHandle;
use super::timing::Expiry;
use super::unhandled::Unhandled;
use crate::base::slab::SlabKey;
use crate::poll::Interest;
use readily_sys::socket;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::Waker;
use std::time::Duration;

/// A connection, fresh from a listener.
#[derive(Debug)]
pub struct Accepted {
    /// Its descriptor: non-blocking, close-on-exec.
    pub fd: OwnedFd,
    /// Who connected; `None` for Unix sockets.
    pub peer: Option<SocketAddr>,
}

/// What an error of `accept(2)` means for the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// Nobody is there (any more).
    Nobody,
    /// This one connection failed before it was accepted; there may be others.
    Skip,
    /// No descriptor or memory is left. Accepting again at once would fail again.
    Exhausted,
    /// The listener itself.
    Broken,
}

impl AcceptError {
    /// Sorts an error of `accept(2)`.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        use readily_sys::errno as sys;
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::Nobody;
        }
        match error.raw_os_error() {
            Some(sys::EMFILE | sys::ENFILE | sys::ENOBUFS | sys::ENOMEM) => Self::Exhausted,
            Some(sys::EBADF | sys::EINVAL | sys::ENOTSOCK | sys::EOPNOTSUPP | sys::EFAULT) => {
                Self::Broken
            }
            // Not the system's: the loop has gone, for one, and will not come back.
            None if error.kind() != io::ErrorKind::ConnectionAborted => Self::Broken,
            // ECONNABORTED, EPROTO, EPERM of a firewall, and on Linux whatever error the new
            // connection has met already (accept(2), "Error handling").
            _ => Self::Skip,
        }
    }
}

/// The growing wait between two tries of a listener that has run out of descriptors.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    /// How long to wait now: 10 ms, twice as long each time, at most a second.
    pub fn next_wait(&mut self) -> Duration {
        let wait = Self::FIRST
            .saturating_mul(1 << self.tries.min(7))
            .min(Self::LONGEST);
        self.tries += 1;
        wait
    }

    /// Whether this is the first wait since the last success: the one that is told.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.tries == 0
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// How many connections a listener accepts in one turn, and how many it may find broken in
/// a row before it takes a pause.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// How many connections the system may keep for a listener of ours before they are accepted;
/// it may allow less (`net.core.somaxconn`).
pub const BACKLOG: i32 = 1024;

/// Makes a TCP listener on `addr`, non-blocking and close-on-exec, for [`Local::listen`]. Port
/// 0 takes a free one. The address can be used again at once after an earlier listener has gone
/// (`SO_REUSEADDR`).
///
/// A listener of the standard library works as well, but the system keeps only 128 connections
/// for it. Of a thousand clients at once the others are not heard, and try again after a second.
///
/// # Errors
///
/// As `bind(2)` and `listen(2)`.
pub fn listen_tcp(addr: impl Into<SocketAddr>) -> io::Result<net::TcpListener> {
    socket::listen_tcp(&addr.into(), BACKLOG).map(net::TcpListener::from)
}

impl Local {
    /// Listens: each connection is accepted, given to `accept`, and registered for reading
    /// and writing with the callbacks that `accept` returns. `None` closes it.
    ///
    /// `listener` is a socket on which `listen(2)` has been called: by [`listen_tcp`], for one.
    ///
    /// # Errors
    ///
    /// As [`Local::register`], with `accept` given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Closures, EventLoop, listen_tcp};
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
    #[doc(alias = "create_server")]
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
        let acceptor = Acceptor {
            accept,
            backoff: Backoff::default(),
            pause: None,
        };
        self.register(listener, Interest::READ, acceptor)
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

    /// Wakes `waker` when a descriptor of this loop is closed.
    pub fn wake_when_freed(&self, waker: Waker) -> FreedKey {
        FreedKey(self.freed.borrow_mut().insert(Expiry::Wake(waker)))
    }

    /// Takes [`Local::wake_when_freed`] back.
    pub fn forget_freed(&self, key: FreedKey) {
        let expiry = self.freed.borrow_mut().remove(key.0);
        self.drop_guarded(expiry);
    }

    /// A descriptor of ours is about to be closed: who waits for one tries again.
    pub(super) fn descriptor_freed(&self) {
        // Those who wait now: a waker may wait again at once, and is for the next one (L5).
        let waiting: Vec<SlabKey> = self.freed.borrow().iter().map(|(key, _)| key).collect();
        for key in waiting {
            let Some(expiry) = self.freed.borrow_mut().remove(key) else {
                continue; // a waker before it has taken it back
            };
            match expiry {
                // Not at once: our caller closes the descriptor after this.
                Expiry::Call(call) => drop(self.ready.push_call(call)),
                Expiry::Wake(waker) => self.guard(|| waker.wake()),
            }
        }
    }
}

/// A place in the list of those who wait for a free descriptor.
#[derive(Debug)]
pub struct FreedKey(SlabKey);

/// What [`Local::listen`] registers.
struct Acceptor<F> {
    accept: F,
    backoff: Backoff,
    /// While it has run out.
    pause: Option<Pause>,
}

/// What ends a listener's pause. Dropping it takes both back: each pause would otherwise
/// leave a timer behind that tries, fails, and begins a pause of its own.
struct Pause {
    local: Handle,
    retry: TimerHandle,
    freed: Option<FreedKey>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.retry.cancel();
        if let Some(key) = self.freed.take() {
            self.local.with(|local| local.forget_freed(key));
        }
    }
}

impl<F, C> Callbacks for Acceptor<F>
where
    F: FnMut(&Cx<'_>, &Accepted) -> Option<C>,
    C: Callbacks + 'static,
{
    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.pause = None;
        let mut broken = None;
        for _ in 0..ACCEPTS_PER_TURN {
            match cx.accept() {
                Ok(accepted) => {
                    broken = None;
                    self.backoff.reset();
                    self.admit(cx, accepted);
                }
                Err(error) => match AcceptError::of(&error) {
                    AcceptError::Skip => broken = Some(error),
                    AcceptError::Nobody => return,
                    AcceptError::Exhausted => return self.pause(cx, error),
                    AcceptError::Broken => {
                        cx.report(&Unhandled::Io {
                            what: "accepting; the listener ends",
                            error,
                        });
                        return cx.close();
                    }
                },
            }
            // The callback may have closed its own listener.
            if cx.wants().is_empty() {
                return;
            }
        }
        // One in sixty-four may be the peers' doing. An error that is always there is not,
        // and would be met again at once: a refusal by a sandbox, for one.
        if let Some(error) = broken {
            self.pause(cx, error);
        }
    }
}

impl<F, C> Acceptor<F>
where
    F: FnMut(&Cx<'_>, &Accepted) -> Option<C>,
    C: Callbacks + 'static,
{
    /// N7, "connect ready": register read and write interest, and the callbacks.
    fn admit(&mut self, cx: &Cx<'_>, accepted: Accepted) {
        let Some(callbacks) = (self.accept)(cx, &accepted) else {
            return;
        };
        if let Err(refused) = cx.register_accepted(accepted, Interest::BOTH, callbacks) {
            let error = match refused.error {
                Error::Io(error) => error,
                other => io::Error::other(other.to_string()),
            };
            cx.report(&Unhandled::Io {
                what: "registering an accepted connection",
                error,
            });
        }
    }

    /// Accepting does not work now: asks no more until it may, and says so once.
    fn pause(&mut self, cx: &Cx<'_>, error: io::Error) {
        let first = self.backoff.is_first();
        let retry = self.backoff.next_wait();
        cx.ignore(Interest::READ);
        let key = cx.key();
        // Twice is harmless: to resume is to ask for what is asked for already.
        let resume = move |local: &Local| resume(local, key);
        let place = cx.freed.borrow_mut().insert(Expiry::Call(Box::new(resume)));
        self.pause = Some(Pause {
            local: cx.handle(),
            retry: cx.call_later(retry, resume),
            freed: Some(FreedKey(place)),
        });
        if first {
            let fd = cx.fd().as_raw_fd();
            cx.report(&Unhandled::AcceptPaused { fd, error, retry });
        }
    }
}

/// Ends a listener's pause. If the system will not even do that, tells it, and tries again.
fn resume(local: &Local, key: Key) {
    // A listener that was removed meanwhile is not found, and that is the end of it.
    if let Err(Error::Io(error)) = local.modify(key, Interest::READ) {
        let what = "resuming a listener";
        local.report(&Unhandled::Io { what, error });
        local.call_later(Backoff::LONGEST, move |local| resume(local, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use readily_sys::errno;

    #[test]
    fn the_waits_grow_up_to_a_second_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_first());
        let waits: Vec<u128> = (0..9).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert!(!backoff.is_first());
        backoff.reset();
        assert_eq!(backoff.next_wait().as_millis(), 10);
    }

    #[test]
    fn errors_of_accept_are_sorted_by_what_they_mean_for_the_listener() {
        let of = |code| AcceptError::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(errno::EMFILE), AcceptError::Exhausted);
        assert_eq!(of(errno::ENOMEM), AcceptError::Exhausted);
        assert_eq!(of(errno::EINVAL), AcceptError::Broken);
        assert_eq!(of(errno::ECONNABORTED), AcceptError::Skip);
        assert_eq!(of(errno::EAGAIN), AcceptError::Nobody);
        let own = |kind| AcceptError::of(&io::Error::from(kind));
        assert_eq!(own(io::ErrorKind::ConnectionAborted), AcceptError::Skip);
        assert_eq!(own(io::ErrorKind::Other), AcceptError::Broken);
    }
}
