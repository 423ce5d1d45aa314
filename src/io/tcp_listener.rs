//! A TCP listener for coroutines.
//!
//! Errors of `accept(2)` are handled as for callbacks: a connection that broke before it was accepted
//! is skipped, and when descriptors run out, `accept` waits for a growing time, or until the loop
//! closes one of its own. The shortage is reported at most once a second, and never makes the loop spin.
//!
//! In asyncio this is `sock_accept`, and the server's pause of a second.

use super::socket::{self, Socket};

use super::tcp::TcpStream;
use super::watched::{Direction, Io, Watched};
use crate::event_loop::{
    AcceptError, Backoff, BrokenInARow, FdState, FdWaitKey, ReportLimit, Unhandled, WakeTimer,
    WakeTimerState, WeakHandle,
};
use crate::poll::VirtualFd;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListener {
    pub(super) source: Watched<Socket>,
    pub(super) backoff: RefCell<Backoff>,
    /// Limits the reports of its pauses.
    pub(super) pause_reports: RefCell<ReportLimit>,
    /// Limits the reports of connections that it has lost.
    pub(super) loss_reports: RefCell<ReportLimit>,
    /// The line that made it, which reports name for its connections too.
    pub(super) site: &'static Location<'static>,
}

impl TcpListener {
    /// Listens on `addr`; port 0 takes a free one. The address can be used again at once
    /// after an earlier listener has gone (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// As `bind(2)` and `listen(2)`; or no loop is running here.
    #[track_caller]
    pub fn bind(addr: impl Into<SocketAddr>) -> io::Result<Self> {
        let socket = socket::listen(addr.into())?;
        Self::of(socket, FdState::MadeHere, Location::caller())
    }

    /// Takes a listener of the standard library over, and makes it non-blocking.
    /// If it was blocking, it is made blocking again when it is dropped, so a duplicate that is used on must
    /// set `O_NONBLOCK` again. One that was non-blocking before is left alone.
    ///
    /// # Errors
    ///
    /// As [`Source::new`](super::Source::new); [`Error::NotListening`](crate::Error::NotListening).
    #[track_caller]
    pub fn from_std(listener: net::TcpListener) -> io::Result<Self> {
        let socket = socket::import(listener);
        let fd_state = socket.fd_state();
        Self::of(socket, fd_state, Location::caller())
    }

    /// Makes a listener of a listening socket of another kernel: the kernel of the current loop's
    /// poller ([`Poller::kernel`](crate::poll::Poller::kernel)).
    ///
    /// # Errors
    ///
    /// As [`TcpListener::from_std`]; [`Error::BadDescriptor`](crate::Error::BadDescriptor) if the
    /// current loop is on another kernel. The descriptor is dropped.
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        let socket = Socket::Virtual(fd);
        Self::of(socket, FdState::NonBlocking, Location::caller())
    }

    fn of(socket: Socket, fd_state: FdState, site: &'static Location<'static>) -> io::Result<Self> {
        let source = Watched::new(socket, fd_state, site)?;
        if fd_state != FdState::MadeHere {
            source.check_listening()?;
        }
        Ok(Self {
            source,
            backoff: RefCell::default(),
            pause_reports: RefCell::default(),
            loss_reports: RefCell::default(),
            site,
        })
    }

    /// Accepts a connection, waiting until there is one. While no descriptor is left for it,
    /// waits for one.
    ///
    /// # Errors
    ///
    /// Those of the listener itself; never those of one connection, nor want of descriptors.
    /// A connection that the system will not register (`ENOMEM`, `ENOSPC`) is closed and
    /// reported ([`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled)).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a connection is accepted only when this returns it.
    #[doc(alias = "sock_accept")]
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let make = |socket| TcpStream::made_here(socket, self.site);
        self.accept_with(make).await
    }

    /// Accepts a connection that is for another loop, or another task to register. As for the rest,
    /// [`accept`](Self::accept).
    pub(crate) async fn accept_unregistered(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        self.accept_with(system).await
    }

    /// The same at once: `WouldBlock` if no connection waits.
    pub(crate) fn try_accept_unregistered(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        let (socket, peer) = self.source.accept()?;
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((system(socket)?, peer))
    }

    async fn accept_with<T>(
        &self,
        make: impl Fn(Socket) -> io::Result<T>,
    ) -> io::Result<(T, SocketAddr)> {
        let mut broken = BrokenInARow::default();
        loop {
            let accepted = self.source.io(Direction::Read, Socket::accept).await;
            let error = match accepted {
                Ok((socket, Some(peer))) => {
                    match make(socket) {
                        Ok(stream) => return Ok((stream, peer)),
                        // R013: one connection is lost, as with callbacks; not the server.
                        Err(error) if error.raw_os_error().is_some() => {
                            self.report_lost(peer, error);
                            io::ErrorKind::ConnectionAborted.into()
                        }
                        Err(error) => return Err(error),
                    }
                }
                // Gone before it was accepted, and its address with it (some BSDs).
                Ok((_, None)) => io::ErrorKind::ConnectionAborted.into(),
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
            let (fd, addr) = (self.source.fd_ref().raw(), self.local_addr().ok());
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
    fn report_lost(&self, peer: SocketAddr, error: io::Error) {
        let Some(handle) = WeakHandle::current() else {
            return;
        };
        let now = handle.with(|handle| handle.fresh_now());
        let admitted = now.and_then(|now| self.loss_reports.borrow_mut().allows(now));
        if let Some(held_back) = admitted {
            let (fd, addr) = (self.source.fd_ref().raw(), self.local_addr().ok());
            let lost = Unhandled::ConnectionLost {
                fd,
                addr,
                peer: Some(peer),
                error,
                held_back,
            };
            handle.with(|handle| handle.report(&lost));
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.local_addr()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// The system's socket, which can be sent to another thread.
fn system(socket: Socket) -> io::Result<net::TcpStream> {
    socket
        .into_system()
        .map(net::TcpStream::from)
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
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
