//! Inspecting a result without taking it.
//!
//! A result is delivered once, to the code that awaits it. A done-callback, or a log, wants to see
//! the result without owning it; so the result is lent, and put back afterwards.
//!
//! In asyncio this is `lambda f: f.result()`, which may be called any number of times.

use super::cell::TypedTask;
use super::future::Future;
use super::future_cell::{FutureError, FutureState, Status};
use super::handle::Task;
use super::join_error::JoinError;

/// A slot from which a result can be taken and to which it can be put back.
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
        // The replaced status is `Taken`: it has no destructor.
        *self.status.borrow_mut() = Status::Settled(result);
    }
}

/// Puts a result back when dropped, also if the inspecting code panicked.
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

/// Calls `f` with the result, which is taken out meanwhile, so that `f` does not run under the
/// borrow (L8).
pub(super) fn peek_result<R, P: ResultSlot<R>, A>(slot: &P, f: impl FnOnce(&R) -> A) -> Option<A> {
    let result = Some(slot.take_out()?);
    let back = RestoreOnDrop { slot, result };
    back.result.as_ref().map(f)
}

impl<T: 'static> Task<T> {
    /// Inspects the result without taking it: `None` while there is none, and if it was taken
    /// before. The result is taken out while `f` runs, so a second call for this task within `f`
    /// returns `None` too.
    ///
    /// A result that was inspected counts as retrieved: a panic in it is not reported when the task
    /// is dropped, nor an error by [`detach_reporting`](Task::detach_reporting).
    pub fn with_result<R>(&self, f: impl FnOnce(&Result<T, JoinError>) -> R) -> Option<R> {
        self.peek_result(|result| {
            self.cell().state().see();
            f(result)
        })
    }

    /// Inspects the result for the crate itself, which does not count as handling a failure.
    pub(crate) fn peek_result<R>(&self, f: impl FnOnce(&Result<T, JoinError>) -> R) -> Option<R> {
        peek_result(&self.task, f)
    }
}

impl<T: 'static> Future<T> {
    /// Inspects the result without taking it: `None` while there is none, and if it was taken
    /// before. While `f` runs, the result counts as taken.
    ///
    /// For done-callbacks: `lambda f: f.result()` in asyncio. The task that awaits the future is
    /// woken before the callbacks are called, and takes the value. Where both must have it, use
    /// [`Future::shared`]: a done-callback that was added before sees the value even when all
    /// waiters have
    /// taken their clones.
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
