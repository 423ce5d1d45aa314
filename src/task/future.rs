//! A future that is settled from outside: a promise for one side, a future for the other.
//!
//! It joins callbacks and coroutines: a callback keeps the [`Promise`], a coroutine awaits the
//! [`Future`]. It is settled once; a second attempt gets its value back in the error. A promise
//! that is dropped unsettled settles the future with an error, since its waiter would otherwise
//! wait for ever.
//!
//! In the notes: N17. A Task is one of these, with a coroutine behind it (N15).

use super::budget;
use super::done::DoneCallbackKey;
use super::future_cell::{FutureError, FutureState, Status};
use super::waiters::WaiterKey;
use crate::event_loop::WeakHandle;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The error for a future that is settled already, with the value that came too late.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the future is settled already")]
pub struct InvalidStateError<T>(pub T);

impl<T> fmt::Debug for InvalidStateError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvalidStateError(..)")
    }
}

/// Makes a future that is settled from outside, and the promise that settles it.
///
/// # Panics
///
/// Outside a loop: no loop would run its done-callbacks.
///
/// # Examples
///
/// ```
/// use readily::task::create_future;
///
/// readily::run(async {
///     let (promise, future) = create_future();
///     readily::spawn(async move { promise.set_result("done").unwrap() }).await.unwrap();
///     assert_eq!(future.await, Ok("done"));
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
#[track_caller]
pub fn create_future<T: 'static>() -> (Promise<T>, Future<T>) {
    let handle = WeakHandle::current()
        .expect("created a future outside a loop: use readily::run, or EventLoop::enter");
    let cell = Rc::new(FutureState::new(handle));
    (
        Promise {
            cell: Rc::clone(&cell),
        },
        Future {
            cell,
            waiting: None,
        },
    )
}

/// The side of a [`Future`] that settles it; see [`create_future`].
#[must_use = "a promise that is dropped abandons its future"]
pub struct Promise<T: 'static> {
    cell: Rc<FutureState<T>>,
}

impl<T: 'static> Promise<T> {
    /// Settles the future with `value`.
    ///
    /// # Errors
    ///
    /// [`InvalidStateError`] with `value` in it, if the future is settled already, or cancelled.
    pub fn set_result(&self, value: T) -> Result<(), InvalidStateError<T>> {
        self.cell
            .settle(Ok(value))
            .map_err(|refused| match refused {
                Ok(value) => InvalidStateError(value),
                Err(_) => unreachable!("a refused result is the one that was given"),
            })
    }

    /// Cancels the future. `true` exactly if it was not settled before.
    pub fn cancel(&self) -> bool {
        self.cell.cancel()
    }

    /// Whether the future is settled or cancelled, so that a value would come too late.
    #[must_use]
    pub fn done(&self) -> bool {
        self.cell.is_settled()
    }
}

impl<T: 'static, E: 'static> Promise<Result<T, E>> {
    /// Settles a future of a `Result` with an error.
    ///
    /// # Errors
    ///
    /// [`InvalidStateError`] with `error` in it, if the future is settled already, or cancelled.
    pub fn set_exception(&self, error: E) -> Result<(), InvalidStateError<E>> {
        self.set_result(Err(error))
            .map_err(|InvalidStateError(refused)| match refused {
                Err(error) => InvalidStateError(error),
                Ok(_) => unreachable!("a refused result is the one that was given"),
            })
    }
}

impl<T: 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        // Refused if the future is settled, which is the usual case.
        let _ = self.cell.settle(Err(FutureError::PromiseDropped));
    }
}

impl<T: 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("done", &self.done())
            .finish()
    }
}

/// A value that other code settles through a [`Promise`]; see [`create_future`]. Awaiting it gives
/// the value, once.
///
/// Its name is asyncio's, and also that of the trait in the prelude. A program that imports this
/// type names the trait `std::future::Future`.
///
/// # Cancellation
///
/// Dropping a pending `.await` of `&mut future` loses nothing. Dropping the future leaves the
/// promise without a waiter; it can still be settled.
#[must_use = "a future does nothing unless it is awaited or asked"]
pub struct Future<T: 'static> {
    pub(super) cell: Rc<FutureState<T>>,
    waiting: Option<WaiterKey>,
}

impl<T: 'static> Future<T> {
    pub(super) fn of(cell: Rc<FutureState<T>>) -> Self {
        let waiting = None;
        Self { cell, waiting }
    }

    /// Whether the future is settled: with a value, or as cancelled, or its promise was dropped.
    #[must_use]
    pub fn done(&self) -> bool {
        self.cell.is_settled()
    }

    /// Whether the future was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }

    /// Settles the future as cancelled. `true` exactly if it was not settled before.
    pub fn cancel(&self) -> bool {
        self.cell.cancel()
    }

    /// The shared state, for a future of another kind.
    pub(super) fn into_cell(self) -> Rc<FutureState<T>> {
        Rc::clone(&self.cell)
    }

    /// Takes the result, without waiting for it: `None` while there is none, and if it was
    /// taken before.
    #[doc(alias = "exception")]
    pub fn result(&mut self) -> Option<Result<T, FutureError>> {
        self.cell.take()
    }

    /// Schedules `callback` by `call_soon` when the future is settled, or now if it is settled
    /// already. Callbacks run in the order in which they were added.
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + 'static) -> DoneCallbackKey {
        let key = self.cell.done.add(move |cell| callback(&Self::of(cell)));
        if self.done() {
            self.cell.schedule();
        }
        key
    }

    /// Removes a done-callback; `false` if it has been queued already, or was removed before.
    pub fn remove_done_callback(&self, key: DoneCallbackKey) -> bool {
        self.cell.done.remove(&self.cell.handle, key)
    }
}

impl<T: 'static> std::future::Future for Future<T> {
    type Output = Result<T, FutureError>;

    /// # Panics
    ///
    /// If the result was taken before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { cell, waiting } = &mut *self;
        budget::budgeted(cx, |cx| {
            if let Some(result) = cell.take() {
                return Poll::Ready(result);
            }
            let taken = matches!(*cell.status.borrow(), Status::Taken(_));
            assert!(!taken, "the result of this future was taken before");
            cell.waiters.wait(waiting, cx.waker());
            // Cloning the waker was user code, and may have settled the future.
            cell.take().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl<T: 'static> Drop for Future<T> {
    fn drop(&mut self) {
        self.cell.waiters.leave(&mut self.waiting);
    }
}

impl<T: 'static> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, cancelled) = (self.done(), self.cancelled());
        f.debug_struct("Future")
            .field("done", &done)
            .field("cancelled", &cancelled)
            .finish()
    }
}
