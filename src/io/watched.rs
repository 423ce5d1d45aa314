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
//!   operation begun after the bit was seen, or by a query of the kernel; and that of a listener, which is
//!   reported again as long as a connection waits, by an accept. Nothing can set it in between:
//!   operations run on the loop's thread, and events are dispatched between them.
//! - **S2** Every waiter of a closed source is woken.
//! - **S3** A source, by the edge, reads the same bytes as a level-triggered callback would.

use crate::event_loop::{
    Error, FdState, LoopHandle, Payload, RegisteredSource, SourceRegistration, Watch, WeakHandle,
    current,
};
use crate::poll::{FdRef, Interest, Readiness};
use crate::task::budget;
use crate::task::duplex_waiters::{DuplexWaiter, DuplexWaiters};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What can be watched: a descriptor of the system or of another kernel.
pub(super) trait Io: 'static {
    /// Whether it is a listener, which is watched by the level.
    const IS_LISTENER: bool = false;

    /// The descriptor, the same each time. This may be user code.
    fn fd_ref(&self) -> FdRef<'_>;
}

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

const _: () = assert!(Readiness::READ.bits() == 1 << Direction::Read as u8);
const _: () = assert!(Readiness::WRITE.bits() == 1 << Direction::Write as u8);

/// After one of these, a short transfer proves nothing.
const STICKY: Readiness = Readiness::from_bits(
    Readiness::READ_CLOSED.bits() | Readiness::ERROR.bits() | Readiness::PRIORITY.bits(),
);

/// Everything of a source, in one allocation: what is moved about, from an `accept` into a task and there
/// into the future of each call, is a pointer.
#[repr(C)] // what an event and an operation use comes first
struct State<T> {
    ready: Cell<Readiness>,
    /// Of these facts, the ones that no wait and no operation has used since they were reported.
    unused: Cell<Readiness>,
    /// The registration has gone: the loop was closed.
    closed: Cell<bool>,
    /// In which directions the poller has to be asked after a `WouldBlock`: it wants to be, or does not watch
    /// the direction yet.
    rearm_interest: Cell<Interest>,
    io: T,
    /// The waiters in the two directions.
    waiters: DuplexWaiters,
    registration: SourceRegistration,
    handle: WeakHandle,
    /// The places of those that poll without a future, in the two directions.
    polled: [Cell<DuplexWaiter>; 2],
}

impl<T: Io> State<T> {
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
        let asked = self.io.fd_ref().readiness();
        asked.map_or(true, |ready| ready.contains(direction.bit()))
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
        if self.rearm_interest.get().contains(direction.interest()) {
            self.rearm(direction)?;
        }
        self.ready.set(self.ready.get().without(direction.bit()));
        Ok(())
    }

    /// After a transfer of `done` bytes where there was room for `room`.
    #[inline]
    fn end_transfer(&self, direction: Direction, done: usize, room: usize) {
        if done < room && !self.ready.get().intersects(STICKY) {
            // The bytes have gone over, so an error would lose them. The bit is still set then,
            // and the next operation meets the error.
            let _ = self.clear(direction);
        }
    }

    /// An event of a listener comes where no task has used the one before: that would go on for ever.
    #[cold]
    fn report_again(&self, ready: Readiness) -> Option<Payload> {
        // The next `clear` asks the poller.
        self.rearm_interest.set(Interest::READ);
        self.handle
            .with(|handle| handle.suspend_source(&self.registration));
        self.report(ready)
    }

    /// Stores what an event reports, and wakes the waiters.
    #[inline(always)]
    fn report(&self, ready: Readiness) -> Option<Payload> {
        self.ready.set(self.ready.get() | ready);
        self.unused.set(self.unused.get() | ready);
        self.waiters.wake(ready.bits())
    }

    #[cold]
    fn rearm(&self, direction: Direction) -> io::Result<()> {
        let (registration, interest) = (&self.registration, direction.interest());
        let ask = |handle: &LoopHandle| {
            if registration.is_watched_for(interest) {
                return handle.rearm_source(registration, interest);
            }
            handle.watch_source_for(registration, interest)?;
            let of_poller = handle.rearm_interest();
            self.rearm_interest
                .set(registration.rearm_interest(of_poller));
            Ok(())
        };
        // A registration that is gone is found closed by the next wait.
        if let Some(Err(Error::Io(error))) = self.handle.with(ask) {
            // No report would set the bit again: it stays, and the next operation tries (R013).
            return Err(error);
        }
        Ok(())
    }
}

impl<T: Io> RegisteredSource for State<T> {
    fn registration(&self) -> &SourceRegistration {
        &self.registration
    }

    fn fd_ref(&self) -> FdRef<'_> {
        self.io.fd_ref()
    }

    fn on_event(&self, ready: Readiness) -> Option<Payload> {
        match T::IS_LISTENER && self.is_ready(Direction::Read) {
            true => self.report_again(ready),
            false => self.report(ready),
        }
    }

    /// Each remaining waiter finds the source closed (S2).
    fn on_end(&self) -> Option<Payload> {
        self.closed.set(true);
        self.ready.set(Readiness::NONE);
        self.waiters.close()
    }
}

/// Something to wait for, and its registration for life. Dereferences to the former, whose own operations
/// are not seen here.
pub(super) struct Watched<T: Io> {
    state: Rc<State<T>>,
}

impl<T: Io> Watched<T> {
    /// Registers `io` with the loop that is running here; for a caller that was called from `site`.
    pub(super) fn new(
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let watch = match T::IS_LISTENER {
            true => Watch::LISTENER,
            false => Watch::BOTH,
        };
        Self::new_with(io, fd_state, Readiness::NONE, watch, site)
    }

    /// What is known of a source that may return less than there is: the fact that stops the short cut.
    pub(super) const IN_PIECES: Readiness = Readiness::PRIORITY;

    /// [`Watched::new`] for what may return less than there is, as pipes and local sockets do: a short transfer
    /// proves nothing.
    pub(super) fn new_in_pieces(
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        Self::new_with(io, fd_state, Self::IN_PIECES, Watch::BOTH, site)
    }

    /// The next operation of a listener waits until it is reported again.
    #[inline]
    pub(super) fn await_report(&self) {
        // An error leaves the bit, and the next operation tries.
        let _ = self.state.clear(Direction::Read);
    }

    /// How often the loop has polled the kernel.
    #[inline]
    pub(super) fn polls(&self) -> Option<u64> {
        self.state.handle.with(LoopHandle::polls)
    }

    /// Of a connection that was accepted. Mostly its request has come with it, and there is room for the answer.
    /// So both are tried before anything is reported, and it is watched for writing only when it has had no room.
    /// `other` is what else is known of it.
    pub(super) fn accepted(
        io: T,
        other: Readiness,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let ready = Readiness::READ | Readiness::WRITE | other;
        Self::new_with(io, FdState::MadeHere, ready, Watch::WITH_ROOM, site)
    }

    fn new_with(
        io: T,
        fd_state: FdState,
        ready: Readiness,
        watch: Watch,
        site: &'static Location<'static>,
    ) -> io::Result<Self> {
        let made = current::with(|handle| {
            let fail = |error: Error, _state| error.into_io();
            Self::on(handle, io, fd_state, ready, watch, site, fail)
        });
        made.unwrap_or_else(|| Err(io::Error::other(Error::NoLoop)))
    }

    /// [`Watched::new`] for any kind of file: what the poller refuses because it is always ready is returned.
    pub(super) fn new_or_always_ready(
        io: T,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Result<Self, T>> {
        let made = current::with(|handle| {
            let fail = |error: Error, state: Rc<State<T>>| match (error, Rc::into_inner(state)) {
                (Error::NotPollable { .. }, Some(state)) => Ok(state.io),
                (error, _) => Err(error.into_io()),
            };
            let (ready, watch) = (Readiness::NONE, Watch::BOTH);
            Self::on(handle, io, fd_state, ready, watch, site, fail)
        });
        match made {
            Some(Ok(watched)) => Ok(Ok(watched)),
            Some(Err(Ok(io))) => Ok(Err(io)),
            Some(Err(Err(error))) => Err(error),
            None => Err(io::Error::other(Error::NoLoop)),
        }
    }

    /// `fail` makes the error, of the loop's and of what was not registered.
    fn on<E>(
        handle: &LoopHandle,
        io: T,
        fd_state: FdState,
        ready: Readiness,
        watch: Watch,
        site: &'static Location<'static>,
        fail: impl FnOnce(Error, Rc<State<T>>) -> E,
    ) -> Result<Self, E> {
        let registration = SourceRegistration::new(watch, site);
        let rearm_interest = registration.rearm_interest(handle.rearm_interest());
        let state = Rc::new(State {
            // Where no urgent byte is reported, there may be one at any time (R184).
            ready: Cell::new(match handle.reports_urgent_data() {
                true => ready,
                false => ready | Readiness::PRIORITY,
            }),
            unused: Cell::new(Readiness::NONE),
            closed: Cell::new(false),
            rearm_interest: Cell::new(rearm_interest),
            waiters: DuplexWaiters::default(),
            io,
            registration,
            handle: handle.weak_handle(),
            polled: [DuplexWaiter::new(0), DuplexWaiter::new(1)].map(Cell::new),
        });
        match handle.add_source(&state, fd_state) {
            Ok(()) => Ok(Self { state }),
            Err(error) => Err(fail(error, state)),
        }
    }

    /// [`Async::readable`](super::Async::readable), in one of the directions.
    pub(super) async fn wait(&self, direction: Direction) -> io::Result<()> {
        let mut wait = self.ready_wait(direction);
        poll_fn(|cx| budget::budgeted(cx, |cx| wait.poll_unused(cx))).await
    }

    /// [`Async::io`](super::Async::io) for an operation that does not wait even if the descriptor is
    /// blocking.
    pub(super) async fn io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut wait = self.ready_wait(direction);
        poll_fn(|cx| wait.poll_io(cx, &mut operation)).await
    }

    /// [`Watched::io`] for a transfer of bytes, which says by `WouldBlock` that there is nothing more. So the kernel is
    /// not asked before, as long as the source counts as ready.
    pub(super) async fn transfer_with<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut wait = self.ready_wait(direction);
        poll_fn(|cx| wait.poll_transfer(cx, &mut operation)).await
    }

    /// [`Async::try_io`](super::Async::try_io), for such an operation.
    pub(super) fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let state = &*self.state;
        state
            .unused
            .set(state.unused.get().without(direction.bit()));
        loop {
            match operation(&state.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.clear(direction)?;
                    return Err(error);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// The same for a transfer of a byte stream, with `room` for so many bytes.
    pub(super) fn try_transfer(
        &self,
        direction: Direction,
        room: usize,
        operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if room == 0 {
            return Ok(0); // The system says `WouldBlock` on some sockets.
        }
        let done = self.try_io(direction, operation)?;
        self.state.end_transfer(direction, done, room);
        Ok(done)
    }

    /// Polls an operation of one direction for a caller without a future of its own: the place among the
    /// waiters stays here while the operation is pending. So of several tasks that poll in one direction
    /// the last one is woken.
    #[inline]
    pub(super) fn poll_with<R>(
        &self,
        direction: Direction,
        operation: impl FnOnce(&mut ReadyWait<'_, T>) -> Poll<R>,
    ) -> Poll<R> {
        let place = &self.state.polled[direction as usize];
        let mut wait = ReadyWait {
            state: &self.state,
            waiter: place.replace(DuplexWaiter::new(direction as usize)),
        };
        let polled = operation(&mut wait);
        if polled.is_pending() {
            // User code that ran meanwhile may have polled, too. Its place is given up here.
            wait.waiter = place.replace(wait.waiter);
        }
        polled
    }

    /// [`Watched::wait`], for such a caller.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        self.poll_with(direction, |wait| {
            budget::budgeted(cx, |cx| wait.poll_unused(cx))
        })
    }

    /// Ends the registration, and returns what was watched.
    ///
    /// # Errors
    ///
    /// This, if the loop is dispatching its event: the caller was called by a waker.
    pub(super) fn into_inner(self) -> Result<T, Self> {
        let State {
            handle,
            registration,
            ..
        } = &*self.state;
        let is_registered = handle.with(|handle| handle.has_source(registration));
        let shares = 1 + usize::from(is_registered == Some(true));
        if Rc::strong_count(&self.state) != shares {
            return Err(self);
        }
        handle.with(|handle| handle.remove_source_now(registration));
        let state = Rc::clone(&self.state);
        drop(self);
        let state = Rc::into_inner(state).expect("the loop and `self` have dropped theirs");
        Ok(state.io)
    }

    /// The readiness that is known.
    pub(super) fn ready(&self) -> Readiness {
        self.state.ready.get()
    }

    /// Whether the registration has gone: the loop was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.state.closed.get()
    }

    /// For operations of one direction, one after the other.
    #[inline]
    pub(super) fn ready_wait(&self, direction: Direction) -> ReadyWait<'_, T> {
        ReadyWait {
            state: &self.state,
            waiter: DuplexWaiter::new(direction as usize),
        }
    }
}

impl<T: Io> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state.io
    }
}

impl<T: Io> Drop for Watched<T> {
    fn drop(&mut self) {
        let State {
            handle,
            registration,
            ..
        } = &*self.state;
        // S4: deregistered, and then closed, which is when `state` goes.
        handle.with(|handle| handle.remove_source(registration));
    }
}

impl<T: Io + fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("io", &self.state.io)
            .field("ready", &self.ready())
            .finish()
    }
}

/// A place among the waiters, given up when dropped (R090).
pub(super) struct ReadyWait<'a, T: Io> {
    state: &'a State<T>,
    waiter: DuplexWaiter,
}

impl<T: Io> ReadyWait<'_, T> {
    pub(super) fn direction(&self) -> Direction {
        match self.waiter.direction() {
            0 => Direction::Read,
            _ => Direction::Write,
        }
    }

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state.is_ready(self.direction()) {
            true => Poll::Ready(Ok(())),
            false => self.wait(cx),
        }
    }

    /// The same for a caller whose last use of the bit was not seen (R132).
    fn poll_unused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An accept is a new wait each time, and nearly always of the same task.
        if self.waits_again(cx, self.direction(), 1) {
            return Poll::Pending;
        }
        loop {
            while self.state.is_ready(self.direction()) {
                if self.state.is_still_ready(self.direction())? {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.wait(cx))?;
        }
    }

    #[inline(never)]
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.closed.get() {
            return self.state.check_ready(self.direction());
        }
        // A task of another loop would not be woken while that loop runs.
        if self.state.handle.is_other_loop() {
            return Poll::Ready(Err(io::Error::other(Error::OtherLoop)));
        }
        let waiters = &self.state.waiters;
        waiters.wait(&mut self.waiter, cx.waker());
        // Cloning the waker may run user code, which may have changed the state.
        self.state.check_ready(self.direction())
    }

    /// `Async::io`, in `async_fd.rs`.
    #[inline]
    pub(super) fn poll_io<R>(
        &mut self,
        cx: &mut Context<'_>,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_after(cx, Self::poll_unused, operation)
    }

    /// [`Watched::transfer_with`].
    pub(super) fn poll_transfer<R>(
        &mut self,
        cx: &mut Context<'_>,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_after(cx, Self::poll_and_use, operation)
    }

    /// Waits, and marks the report as used.
    fn poll_and_use(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        let unused = &self.state.unused;
        unused.set(unused.get().without(self.direction().bit()));
        Poll::Ready(Ok(()))
    }

    /// Runs `operation` after each wait, until it does something.
    #[inline]
    fn poll_after<R>(
        &mut self,
        cx: &mut Context<'_>,
        wait: impl Fn(&mut Self, &mut Context<'_>) -> Poll<io::Result<()>>,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        budget::budgeted(cx, |cx| {
            loop {
                ready!(wait(self, cx))?;
                match operation(&self.state.io) {
                    Ok(done) => return Poll::Ready(Ok(done)),
                    Err(error) => self.try_again(error)?,
                }
            }
        })
    }

    /// Whether this error means no more than that.
    #[cold]
    fn try_again(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.state.clear(self.direction()),
            io::ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        }
    }
}

/// Transfers of byte streams, where one of fewer bytes than there was room for says that there is no more
/// just now. They are polled once or twice for each request, so what each poll does is inlined, and the
/// rest is not.
impl<T: Io> ReadyWait<'_, T> {
    /// Waits for `direction`, which is that of this wait, if the same task waited for it last, and has to
    /// wait again. Not if there is no `room`: then nothing is waited for.
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
            && (state.waiters).wait_again(direction as usize, &mut self.waiter, cx.waker())
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
        if !state.is_ready(direction) || room == 0 || !budget::take() {
            return Err(None);
        }
        let done = operation(&state.io).map_err(Some)?;
        state.waiters.leave_woken(&mut self.waiter);
        state.end_transfer(direction, done, room);
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
                budget::give_back();
            }
            ready!(budget::poll(cx));
            ready!(self.poll_ready(cx))?;
            error = match self.try_transfer(self.direction(), room, &mut *operation) {
                Ok(done) => return Poll::Ready(Ok(done)),
                Err(error) => error,
            };
        }
    }
}

impl<T: Io> Drop for ReadyWait<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let waiters = &self.state.waiters;
        waiters.leave(&mut self.waiter);
    }
}
