//! A look at a result that is left where it is.
//!
//! A result is delivered once, to whoever awaits it. A done-callback, or somebody who writes a log,
//! wants to see it and not to have it; so it is lent, and lies in its place again afterwards.
//!
//! In asyncio this is `lambda f: f.result()`, which may be called as often as one likes.

use super::cell::TypedTask;
use super::future::{Future, FutureError};
use super::future_cell::{FutureState, Status};
use super::handle::Task;
use super::join::JoinError;

/// Where results are taken from, and put back.
pub(super) trait ResultSlot<R> {
    fn take_out(&self) -> Option<R>;
    fn put_back(&self, result: R);
}

impl<T: 'static> ResultSlot<Result<T, JoinError>> for TypedTask<T> {
    fn take_out(&self) -> Option<Result<T, JoinError>> {
        self.take()
    }

    fn put_back(&self, result: Result<T, JoinError>) {
        Self::put_back(self, result);
    }
}

impl<T: 'static> ResultSlot<Result<T, FutureError>> for FutureState<T> {
    fn take_out(&self) -> Option<Result<T, FutureError>> {
        self.take()
    }

    fn put_back(&self, result: Result<T, FutureError>) {
        // What is there is that it was taken: nothing with a destructor.
        *self.status.borrow_mut() = Status::Settled(result);
    }
}

/// Puts a result back where it was, also if whoever looked at it panicked.
struct RestoreOnDrop<'a, R, P: ResultSlot<R>> {
    slot: &'a P,
    result: Option<R>,
}

impl<R, P: ResultSlot<R>> Drop for RestoreOnDrop<'_, R, P> {
    fn drop(&mut self) {
        if let Some(result) = self.result.take() {
            self.slot.put_back(result);
        }
    }
}

/// The result is taken out meanwhile, so that `f` does not run under the borrow (L8).
pub(super) fn peek_result<R, P: ResultSlot<R>, A>(slot: &P, f: impl FnOnce(&R) -> A) -> Option<A> {
    let result = Some(slot.take_out()?);
    let back = RestoreOnDrop { slot, result };
    back.result.as_ref().map(f)
}

impl<T: 'static> Task<T> {
    /// Looks at the result without taking it: `None` while there is none, and if it was taken
    /// before. It is taken out while `f` looks, so to ask this task once more within `f` gives
    /// `None` too.
    ///
    /// A result that was inspected counts as retrieved: a panic in it is not reported when the task
    /// is dropped, nor an error by [`detach_reporting`](Task::detach_reporting).
    pub fn with_result<R>(&self, f: impl FnOnce(&Result<T, JoinError>) -> R) -> Option<R> {
        self.peek_result(|result| {
            self.cell().state().see();
            f(result)
        })
    }

    /// The same for the crate's own code, whose inspection does not count as handling a failure.
    pub(crate) fn peek_result<R>(&self, f: impl FnOnce(&Result<T, JoinError>) -> R) -> Option<R> {
        peek_result(&self.task, f)
    }
}

impl<T: 'static> Future<T> {
    /// Looks at the result without taking it: `None` while there is none, and if it was taken
    /// before. While `f` runs it counts as taken.
    ///
    /// For done-callbacks: what is `lambda f: f.result()` in asyncio. Whoever awaits the future is
    /// woken before they are called, and takes the value; for both there is
    /// [`Future::shared`], of which a done-callback that was added before sees the value, however many
    /// have their clones.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::task::create_future;
    /// use readily::{run, yield_now};
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let seen = Rc::new(Cell::new(0));
    /// let sees = Rc::clone(&seen);
    /// run(async move {
    ///     let (promise, future) = create_future();
    ///     // In asyncio: future.add_done_callback(lambda f: sees(f.result()))
    ///     future.add_done_callback(move |future| {
    ///         future.with_result(|result| sees.set(result.unwrap_or(-1)));
    ///     });
    ///     promise.set_result(21).unwrap();
    ///     yield_now().await; // callbacks run soon
    /// })?;
    /// assert_eq!(seen.get(), 21);
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "result")]
    pub fn with_result<R>(&self, f: impl FnOnce(&Result<T, FutureError>) -> R) -> Option<R> {
        match self.cell.shared() {
            Some(shared) => Some(f(&shared)),
            None => peek_result(&*self.cell, f),
        }
    }
}
