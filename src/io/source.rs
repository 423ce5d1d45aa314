//! A descriptor that coroutines wait for: one registration for life, and its last known readiness.
//!
//! The kernel reports edges, so a source keeps the reported readiness until an operation proves it
//! stale. A read that returned fewer bytes than it had room for has emptied the buffer: no second read
//! is needed to see `WouldBlock`, which would be one more system call for each request. Three things must
//! stop that short cut, or a waiter sleeps for ever: a closed side (no further edge will
//! come), an error, and urgent data (a read stops at the mark, with more behind it).
//!
//! In the notes this is what stands behind `await` on a connection (N10).
//!
//! A bit is used once. The source does not see what the user does after a wait, or inside an operation:
//! the user's code may have read everything, and returned something other than `WouldBlock`. So a second wait or
//! operation that finds a bit which no report has set again asks the kernel first (R132). Streams
//! need not ask, because each of their operations is seen.
//!
//! # Rules
//!
//! - **S1** A readiness bit is cleared only by a `WouldBlock` or a short transfer of an
//!   operation begun after the bit was seen, or by a query of the kernel. Nothing can set it in between:
//!   operations run on the loop's thread, and events are dispatched between them.
//! - **S2** Every waiter of a closed source is woken.
//! - **S3** A source, by the edge, reads the same bytes as a level-triggered callback would.

use crate::event_loop::{
    Callbacks, Cx, Descriptor, Error, FdState, Key, LoopHandle, WeakHandle, current,
};
use crate::poll::{Interest, Readiness};
use crate::task::budget;
use crate::task::duplex_waiters::{DuplexKey, DuplexWaiters};
use readily_sys::nonblocking;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To us: reading, receiving, accepting.
    Read = 0,
    /// From us: writing, sending, connecting.
    Write = 1,
}

impl Direction {
    fn bit(self) -> Readiness {
        match self {
            Self::Read => Readiness::READ,
            Self::Write => Readiness::WRITE,
        }
    }

    fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READ,
            Self::Write => Interest::WRITE,
        }
    }
}

/// After one of these, a short transfer proves nothing.
const STICKY: Readiness = Readiness::from_bits(
    Readiness::READ_CLOSED.bits() | Readiness::ERROR.bits() | Readiness::PRIORITY.bits(),
);

/// Everything of a source: what is moved about, from an `accept` into a task and there into the future of
/// each call, is a pointer (a server's connection took 64 bytes more with key and loop beside it).
#[repr(C)] // what an event and an operation use comes first
pub(super) struct State<T> {
    ready: Cell<Readiness>,
    /// Of these facts, the ones that no wait and no operation has used since they were reported.
    unused: Cell<Readiness>,
    /// The registration has gone: the loop was closed.
    closed: Cell<bool>,
    /// In which directions this poller wants to be asked again after a `WouldBlock`.
    rearm_interest: Interest,
    /// The waiters in the two directions.
    waiters: DuplexWaiters,
    pub(super) io: T,
    handle: WeakHandle,
    /// `None` until the registration is made.
    key: Cell<Option<Key>>,
}

impl<T> State<T> {
    #[inline]
    fn is_ready(&self, direction: Direction) -> bool {
        self.ready.get().contains(direction.bit())
    }

    /// R132: whether the bit of a direction, which is set, may be believed. It may be once for each report.
    fn is_still_ready(&self, direction: Direction) -> io::Result<bool> {
        let unused = self.unused.get();
        self.unused.set(unused.without(direction.bit()));
        if unused.contains(direction.bit()) || self.asks(direction) {
            return Ok(true);
        }
        self.clear(direction)?;
        Ok(false)
    }

    /// The readiness that the kernel reports now. If the query fails, the next operation tries.
    #[cold]
    fn asks(&self, direction: Direction) -> bool {
        let asked = |handle: &LoopHandle| handle.readiness(self.key.get()?);
        match self.handle.with(asked).flatten() {
            Some(ready) => ready.contains(direction.bit()),
            // The registration has gone: what comes of a try says so.
            None => true,
        }
    }

    #[inline]
    fn check_ready(&self, direction: Direction) -> Poll<io::Result<()>> {
        // What is closed is ready for nothing: the fact is asked for last.
        if self.is_ready(direction) {
            Poll::Ready(Ok(()))
        } else if self.closed.get() {
            Poll::Ready(Err(io::Error::other(Error::Closed)))
        } else {
            Poll::Pending
        }
    }

    /// S1: the direction has proved not to be ready. What is sticky stays: it is a fact.
    #[inline]
    fn clear(&self, direction: Direction) -> io::Result<()> {
        if self.rearm_interest.contains(direction.interest()) {
            self.rearm(direction)?;
        }
        self.ready.set(self.ready.get().without(direction.bit()));
        Ok(())
    }

    #[cold]
    fn rearm(&self, direction: Direction) -> io::Result<()> {
        let ask = |handle: &LoopHandle| Some(handle.rearm(self.key.get()?, direction.interest()));
        // A registration that is gone is found closed by the next wait.
        if let Some(Some(Err(Error::Io(error)))) = self.handle.with(ask) {
            // No report would set the bit again: it stays, and the next operation tries (R013).
            return Err(error);
        }
        Ok(())
    }
}

impl<T: AsFd> State<T> {
    /// Runs an operation of the user's, which would wait if the shared open file was made blocking (R130).
    /// After the registration the flag is no longer the loop's.
    fn operate<R>(&self, operation: &mut impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        if !self.closed.get() {
            nonblocking::ensure(self.io.as_fd())?;
        }
        operation(&self.io)
    }
}

impl<T: AsFd> AsFd for State<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// The callbacks of the registration: they store the readiness, and wake the waiters.
struct SourceCallbacks<T>(Rc<State<T>>);

impl<T> Callbacks for SourceCallbacks<T> {
    fn on_default(&mut self, _cx: &Cx<'_>, ready: Readiness) {
        let state = &self.0;
        state.ready.set(state.ready.get() | ready);
        state.unused.set(state.unused.get() | ready);
        state.waiters.wake([
            ready.contains(Readiness::READ),
            ready.contains(Readiness::WRITE),
        ]);
    }
}

impl<T> Drop for SourceCallbacks<T> {
    fn drop(&mut self) {
        // Each remaining waiter finds the source closed (S2).
        self.0.closed.set(true);
        self.0.ready.set(Readiness::NONE);
        self.0.waiters.close();
    }
}

/// Anything with a descriptor, for coroutines to wait on. Several may wait at once, in both
/// directions; each is woken, and tries.
///
/// [`Source::io`] waits and tries in one call. To do the two separately, wait with
/// [`Source::wait_readable`] and try with [`Source::try_io`], which sees a `WouldBlock`. A `Source`
/// dereferences to the wrapped value, whose own operations it does not see; after one of those the
/// next wait asks the kernel, which is one system call more.
///
/// The descriptor is made non-blocking until the source is dropped. If it was blocking, `O_NONBLOCK` is
/// cleared then: a duplicate that is used on must set it again. A file that was non-blocking before is left
/// alone ([`LoopHandle::register`]). [`Source::io`] and [`Source::try_io`] check the flag before each operation,
/// because another process that shares the open file may clear it. An operation through the dereferenced
/// value relies on the flag, and may block the loop if it was cleared.
///
/// # Examples
///
/// ```
/// use readily::io::{Direction, Source};
/// use std::net::UdpSocket;
///
/// readily::run(async {
///     let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
///     let ours = Source::new(ours)?;
///     theirs.send_to(b"one", ours.local_addr()?)?;
///     let mut packet = [0; 16];
///     // Waits, tries, and waits again if it was a false alarm.
///     let n = ours.io(Direction::Read, |socket| socket.recv(&mut packet)).await?;
///     assert_eq!(&packet[..n], b"one");
///     // Or one after the other: all that have come by now.
///     theirs.send_to(b"two", ours.local_addr()?)?;
///     theirs.send_to(b"three", ours.local_addr()?)?;
///     ours.wait_readable().await?;
///     while let Ok(n) = ours.try_io(Direction::Read, |socket| socket.recv(&mut packet)) {
///         println!("{} bytes", n);
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "AsyncFd")]
pub struct Source<T: AsFd + 'static> {
    state: Rc<State<T>>,
}

impl<T: AsFd + 'static> Source<T> {
    /// Registers `io` with the loop that is running here, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// `io::Error` around an [`Error`], with its [kind](Error::kind): no loop is running here
    /// ([`Error::NoLoop`]), the descriptor is registered already ([`Error::AlreadyRegistered`]), is not
    /// open ([`Error::BadDescriptor`]), cannot be waited for ([`Error::NotPollable`]), or is a socket
    /// without a connection that was begun ([`Error::NotConnected`]). `io` is dropped.
    #[track_caller]
    pub fn new(io: T) -> io::Result<Self> {
        Self::with(io, FdState::Unknown, Location::caller(), |state| {
            Rc::clone(state).into()
        })
    }

    /// The same for a descriptor of which more is known, or that itself determines what the loop
    /// watches; for a caller that was called from `site`.
    pub(super) fn with(
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
        descriptor: impl FnOnce(&Rc<State<T>>) -> Descriptor,
    ) -> io::Result<Self> {
        let made = current::with(|handle| Self::on(handle, io, fd_state, site, descriptor));
        made.unwrap_or_else(|| Err(io::Error::other(Error::NoLoop)))
    }

    fn on(
        handle: &LoopHandle,
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
        descriptor: impl FnOnce(&Rc<State<T>>) -> Descriptor,
    ) -> io::Result<Self> {
        let state = Rc::new(State {
            io,
            handle: handle.weak_handle(),
            key: Cell::new(None),
            // Where no urgent byte is reported, there may be one at any time (R184).
            ready: Cell::new(match handle.reports_urgent_data() {
                true => Readiness::NONE,
                false => Readiness::PRIORITY,
            }),
            unused: Cell::new(Readiness::NONE),
            closed: Cell::new(false),
            rearm_interest: handle.rearm_interest(),
            waiters: DuplexWaiters::default(),
        });
        let descriptor = descriptor(&state);
        let keeper = SourceCallbacks(Rc::clone(&state));
        match handle.register_source_from(site, descriptor, fd_state, keeper) {
            Ok(key) => {
                state.key.set(Some(key));
                Ok(Self { state })
            }
            Err(refused) => Err(refused.error.into_io()),
        }
    }

    /// Waits until a read is worth trying; the read may still return `WouldBlock`.
    ///
    /// A report since the last wait or operation ends this wait at once. Without one, and if no
    /// `WouldBlock` was seen since, the kernel is asked: so after another wait, this one ends at once
    /// as long as there is something to read.
    ///
    /// # Errors
    ///
    /// If the loop has been closed ([`Error::Closed`]), or is another than the one that runs
    /// here ([`Error::OtherLoop`]).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn wait_readable(&self) -> io::Result<()> {
        self.wait(Direction::Read).await
    }

    /// Waits until a write is worth trying, as [`Source::wait_readable`] does for a read.
    ///
    /// # Errors
    ///
    /// As [`Source::wait_readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn wait_writable(&self) -> io::Result<()> {
        self.wait(Direction::Write).await
    }

    async fn wait(&self, direction: Direction) -> io::Result<()> {
        let mut ticket = self.ready_wait(direction);
        poll_fn(|cx| budget::budgeted(cx, |cx| ticket.poll_unused(cx))).await
    }

    /// Runs `operation` until it gives something other than `WouldBlock` (or `Interrupted`),
    /// waiting before each try until it is worth trying, as [`Source::wait_readable`] does. In a row
    /// of calls, each but the first asks the kernel. To take all that has come, [`Source::try_io`] is
    /// cheaper. `operation` may also loop by itself, and return `Ok` once it has met `WouldBlock`.
    /// `O_NONBLOCK` is checked before each run, as [`Source::try_io`] does.
    ///
    /// # Errors
    ///
    /// What `operation` gives, that of `fcntl(2)`, or as [`Source::wait_readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: `operation` has either run to its end, and this has returned, or it
    /// has done nothing.
    #[doc(alias = "sock_recvfrom")]
    #[doc(alias = "sock_sendto")]
    #[doc(alias = "async_io")]
    pub async fn io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let operation = |_: &T| self.state.operate(&mut operation);
        self.io_without_waiting(direction, operation).await
    }

    /// The same for an operation that does not wait even if the descriptor is blocking.
    pub(super) async fn io_without_waiting<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut ticket = self.ready_wait(direction);
        poll_fn(|cx| ticket.poll_io(cx, &mut operation)).await
    }

    /// Runs `operation` now, without waiting; again only if a signal interrupted it (`Interrupted`).
    /// After a `WouldBlock` the next wait lasts until the kernel reports something new.
    ///
    /// `O_NONBLOCK` is checked before each run, and set again if another process has cleared it. It is restored
    /// when the registration ends ([`Source`]); after the loop was closed it is not checked.
    ///
    /// # Errors
    ///
    /// The error of `operation`, or that of `fcntl(2)`; or the system's error if the poller must rearm after a `WouldBlock`
    /// ([`rearm_interest`](crate::spi::rearm_interest)) and cannot.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let state = &*self.state;
        state
            .unused
            .set(state.unused.get().without(direction.bit()));
        loop {
            match state.operate(&mut operation) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.clear(direction)?;
                    return Err(error);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// For operations of one direction, one after the other.
    #[inline]
    pub(super) fn ready_wait(&self, direction: Direction) -> ReadyWait<'_, T> {
        ReadyWait {
            state: &self.state,
            direction,
            key: None,
        }
    }
}

/// Operations on the thing itself are not seen here: see [`Source::try_io`].
impl<T: AsFd + 'static> Deref for Source<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state.io
    }
}

impl<T: AsFd + 'static> Drop for Source<T> {
    fn drop(&mut self) {
        let state = &*self.state;
        if let Some(key) = state.key.get() {
            // S4: deregistered, and then closed, which is when `state` goes.
            state.handle.with(|handle| handle.remove(key));
        }
    }
}

impl<T: AsFd + fmt::Debug + 'static> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.state.ready.get();
        f.debug_struct("Source")
            .field("io", &self.state.io)
            .field("ready", &ready)
            .finish()
    }
}

/// A place among the waiters, given up when dropped (R090).
pub(super) struct ReadyWait<'a, T> {
    state: &'a State<T>,
    direction: Direction,
    key: Option<DuplexKey>,
}

impl<T> ReadyWait<'_, T> {
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state.is_ready(self.direction) {
            true => Poll::Ready(Ok(())),
            false => self.wait(cx),
        }
    }

    /// The same for a caller whose last use of the bit was not seen (R132).
    fn poll_unused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.state.is_ready(self.direction) {
                if self.state.is_still_ready(self.direction)? {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.wait(cx))?;
        }
    }

    #[inline(never)]
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.closed.get() {
            return self.state.check_ready(self.direction);
        }
        // A task of another loop would not be woken while that loop runs.
        if self.state.handle.is_other_loop() {
            return Poll::Ready(Err(io::Error::other(Error::OtherLoop)));
        }
        let waiters = &self.state.waiters;
        waiters.wait(self.direction as usize, &mut self.key, cx.waker());
        // Cloning the waker may run user code, which may have changed the state.
        self.state.check_ready(self.direction)
    }

    /// [`Source::io`].
    #[inline]
    fn poll_io<R>(
        &mut self,
        cx: &mut Context<'_>,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        budget::budgeted(cx, |cx| {
            loop {
                if let Err(error) = ready!(self.poll_unused(cx)) {
                    return Poll::Ready(Err(error));
                }
                match operation(&self.state.io) {
                    Ok(done) => return Poll::Ready(Ok(done)),
                    Err(error) => {
                        if let Err(error) = self.try_again(error) {
                            return Poll::Ready(Err(error));
                        }
                    }
                }
            }
        })
    }

    /// Whether this error means no more than that.
    #[cold]
    fn try_again(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.state.clear(self.direction),
            io::ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        }
    }
}

/// Transfers of byte streams, where one of fewer bytes than there was room for says that there is no more
/// just now. They are polled once or twice for each request, so what each poll does is inlined, and the
/// rest is not.
impl<T> ReadyWait<'_, T> {
    /// Waits for `direction`, which is that of this wait, if the same task waited for it last, and has to
    /// wait again.
    #[inline(always)]
    pub(super) fn waits_again(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        room: usize,
    ) -> bool {
        let state = self.state;
        !state.is_ready(direction)
            && room != 0
            && (state.waiters).wait_again(direction as usize, &mut self.key, cx.waker())
    }

    /// Runs `operation`, if the source is ready for it; [`finish_transfer`](Self::finish_transfer) does
    /// what else there is to do.
    ///
    /// # Errors
    ///
    /// That of `operation`; `None` if it was not run.
    #[inline(always)]
    pub(super) fn try_transfer(
        &mut self,
        direction: Direction,
        room: usize,
        operation: impl FnOnce(&T) -> io::Result<usize>,
    ) -> Result<usize, Option<io::Error>> {
        let state = self.state;
        if !state.is_ready(direction) || room == 0 || budget::is_spent() {
            return Err(None);
        }
        let done = operation(&state.io).map_err(Some)?;
        budget::consume();
        (state.waiters).leave_woken(direction as usize, &mut self.key);
        if done < room && !state.ready.get().intersects(STICKY) {
            // The bytes have gone over, so an error would lose them. The bit is still set then,
            // and the next operation meets the error.
            let _ = state.clear(direction);
        }
        Ok(done)
    }

    /// [`try_transfer`](Self::try_transfer) until it succeeds, fails or has to wait; after the first one
    /// gave `error`.
    #[cold]
    pub(super) fn finish_transfer(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        mut error: Option<io::Error>,
        operation: &mut dyn FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return budget::budgeted(cx, |_| Poll::Ready(Ok(0))); // F1
        }
        loop {
            if let Some(error) = error {
                self.try_again(error)?;
            }
            ready!(budget::poll(cx));
            ready!(self.poll_ready(cx))?;
            error = match self.try_transfer(self.direction, room, &mut *operation) {
                Ok(done) => return Poll::Ready(Ok(done)),
                Err(error) => error,
            };
        }
    }
}

impl<T> Drop for ReadyWait<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let waiters = &self.state.waiters;
        waiters.leave(self.direction as usize, &mut self.key);
    }
}
