//! A future for many: each gets a clone of the one value.
//!
//! A `Future` gives its value once, to one. Where several wait for the same thing, a connection
//! that is being made, a page that is being fetched, each has a `SharedFuture` of it. The value is
//! cloned for each who asks, outside every borrow, as cloning it is the user's own code.
//!
//! In the notes: N17; in asyncio every future is like this, since Python shares objects.

use super::budget;
use super::future::{Future, FutureError};
use super::future_cell::FutureState;
use super::waiters::WaiterKey;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A future that can be cloned, and gives each who awaits it a clone of the value: as often as it
/// is asked. See [`Future::shared`].
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
    /// The same future for many.
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
        // No borrow is held while it is cloned (L8): what is once there stays.
        let shared = self.cell.shared()?;
        Some(Result::clone(&shared))
    }
}

impl<T: 'static> SharedFuture<T> {
    /// Whether it is settled, in whichever way.
    #[must_use]
    pub fn done(&self) -> bool {
        self.cell.is_settled()
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }

    /// Settles it as cancelled, for all. `true` exactly if it was not settled before.
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
    /// If the result had been taken before the future was shared: it would wait for ever.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        budget::budgeted(cx, |cx| {
            let Self { cell, waiting } = &mut *self;
            if !cell.is_settled() {
                cell.waiters.wait(waiting, cx.waker());
            }
            // Cloning the waker was somebody else's code, and may have settled it.
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
