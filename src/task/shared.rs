//! A future for many waiters: each gets a clone of the one value.
//!
//! A `Future` gives its value once, to one waiter. Where several tasks wait for the same thing — a
//! connection that is being made, a page that is being fetched — each has a `SharedFuture` of it.
//! The value is cloned for each waiter, outside every borrow, since cloning is user code.
//!
//! In the notes: N17; in asyncio every future is like this, since Python shares objects.

use super::budget;
use super::future::Future;
use super::future_cell::{FutureError, FutureState};
use super::waiters::WaiterKey;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A future that can be cloned and awaited any number of times: each await gives a clone of the
/// value. See [`Future::shared`].
///
/// # Cancellation
///
/// Dropping a pending `.await`, or one of several clones, loses nothing for the others.
#[must_use = "a future does nothing unless it is awaited or asked"]
pub struct SharedFuture<T: 'static> {
    cell: Rc<FutureState<T>>,
    waiting: Option<WaiterKey>,
}

impl<T: Clone + 'static> Future<T> {
    /// Converts the future to one that many waiters can await.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::task::create_future;
    /// use readily::{gather, run};
    ///
    /// let both = run(async {
    ///     let (promise, future) = create_future();
    ///     let future = future.shared();
    ///     promise.set_result("for all").unwrap();
    ///     gather((future.clone(), future)).await
    /// })?;
    /// assert_eq!(both, (Ok("for all"), Ok("for all")));
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn shared(self) -> SharedFuture<T> {
        let cell = self.into_cell();
        cell.share();
        SharedFuture {
            cell,
            waiting: None,
        }
    }
}

impl<T: Clone + 'static> SharedFuture<T> {
    /// A clone of the result, without waiting for it: `None` while there is none.
    #[must_use]
    pub fn result(&self) -> Option<Result<T, FutureError>> {
        // L8: nothing is borrowed while the value is cloned.
        let shared = self.cell.shared()?;
        Some(Result::clone(&shared))
    }
}

impl<T: 'static> SharedFuture<T> {
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

    /// Settles the future as cancelled, for all waiters. `true` exactly if it was not settled
    /// before.
    pub fn cancel(&self) -> bool {
        self.cell.cancel()
    }
}

impl<T: 'static> Clone for SharedFuture<T> {
    fn clone(&self) -> Self {
        Self {
            cell: Rc::clone(&self.cell),
            waiting: None,
        }
    }
}

impl<T: Clone + 'static> std::future::Future for SharedFuture<T> {
    type Output = Result<T, FutureError>;

    /// # Panics
    ///
    /// If the result was taken before the future was shared: it would wait for ever.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let Self { cell, waiting } = &mut *self;
            if !cell.is_settled() {
                cell.waiters.wait(waiting, cx.waker());
            }
            // Cloning the waker was user code, and may have settled the future.
            let result = self.result();
            let taken = result.is_none() && self.cell.is_settled();
            assert!(!taken, "the result of this future was taken before");
            result.map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl<T: 'static> Drop for SharedFuture<T> {
    fn drop(&mut self) {
        self.cell.waiters.leave(&mut self.waiting);
    }
}

impl<T: 'static> fmt::Debug for SharedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, cancelled) = (self.done(), self.cancelled());
        f.debug_struct("SharedFuture")
            .field("done", &done)
            .field("cancelled", &cancelled)
            .finish()
    }
}
