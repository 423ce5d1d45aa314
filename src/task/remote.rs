//! Spawning from another thread: a closure is sent, and makes the future on the loop's thread.
//!
//! A future of a loop need not be `Send`, so it cannot be sent to another thread; the closure that
//! makes it can. The result goes back the same way, to a [`RemoteTask`] on any thread.
//!
//! In asyncio this is `run_coroutine_threadsafe`.

use super::cell::{NewTask, TypedTask};
use super::executor::Executor;
use super::handle::Task;
use super::join_error::JoinError;
use super::remote_shared::{Ended, Failed, RemoteState, ended};
use super::remote_task::RemoteTask;
use super::unclaimed_panic::UnclaimedPanic;
use crate::event_loop::panics::catch;
use crate::event_loop::{LoopClosed, LoopHandle, RemoteHandle};
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

impl RemoteHandle {
    /// Calls `make` on the loop's thread, and runs the future that it returns as a task there. The
    /// [`RemoteTask`] gives the result: await it on another loop, or wait for it on a thread
    /// without a loop. Dropping it detaches the task.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] with `make` in it, if the loop is gone. If the loop is closed afterwards, the
    /// [`RemoteTask`] reports that.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let remote = event_loop.remote_handle();
    /// let thread = std::thread::spawn(move || {
    ///     let mut task = remote.spawn(|| async { readily::yield_now().await; 21 }).unwrap();
    ///     task.wait()
    /// });
    /// event_loop.run()?; // ends when the remote is dropped and the task is done
    /// assert_eq!(thread.join().unwrap().unwrap(), 21);
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "run_coroutine_threadsafe")]
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Result<RemoteTask<F::Output>, LoopClosed<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        let site = Location::caller();
        let shared = Arc::new(RemoteState::new(self.inbox()));
        let order = (make, SettleOnDrop(Arc::clone(&shared)));
        let start = move |(make, settles): (M, SettleOnDrop<F::Output>), handle: &LoopHandle| {
            settles.start(handle, make, site);
        };
        match self.call_soon_with(order, start) {
            Ok(()) => Ok(RemoteTask::new(shared)),
            Err(LoopClosed((make, _settles))) => Err(LoopClosed(make)),
        }
    }
}

/// The loop's side of a remote task: settles the result, at the latest when dropped (G6).
struct SettleOnDrop<T: Send + 'static>(Arc<RemoteState<T>>);

impl<T: Send + 'static> SettleOnDrop<T> {
    fn start<M, F>(self, handle: &LoopHandle, make: M, site: &'static Location<'static>)
    where
        M: FnOnce() -> F,
        F: Future<Output = T> + 'static,
    {
        if let Some(error) = self.0.cancelled_before() {
            handle.guard(|| drop(make));
            return self.settle(handle, Err(Failed::Cancelled(error)));
        }
        let future = match catch(|| NewTask::new(make())) {
            Ok(future) => future,
            Err(payload) => {
                let unclaimed = UnclaimedPanic::of_closure(site, &handle.inbox(), payload);
                return self.settle(handle, Err(Failed::Panicked(unclaimed)));
            }
        };
        let mut task = Task::spawn(handle, future, site);
        match task.result() {
            // The loop is closing, so the new task has ended already.
            Some(result) => self.settle(handle, ended(task.cell(), result)),
            None => {
                let shared = Arc::clone(&self.0);
                let waker = task.forward(move |handle, result| self.settle(handle, result));
                if let Some(error) = shared.runs(waker) {
                    // The task was cancelled while `make` ran.
                    Executor::cancel(handle, task.cell(), error.into_reason());
                }
            }
        }
    }

    fn settle(self, handle: &LoopHandle, result: Ended<T>) {
        // No handle is left to take this result: a panic is reported.
        if let Some(left) = self.0.settle(result) {
            handle.drop_guarded(left);
        }
    }
}

impl<T: Send + 'static> Drop for SettleOnDrop<T> {
    fn drop(&mut self) {
        // No effect if it is settled. Otherwise the loop was closed before it read the message.
        let closed = JoinError::CancelledFor("its loop was closed".into());
        drop(self.0.settle(Err(Failed::Cancelled(closed))));
    }
}

impl<T: 'static> Task<T> {
    /// Gives the result to `take` as soon as there is one, before any waiter is notified. Returns the
    /// waker of the task, by which another thread refers to it.
    fn forward(&self, take: impl FnOnce(&LoopHandle, Ended<T>) + 'static) -> Waker {
        self.cell().set_result_sink(Box::new(move |handle, cell| {
            let task = TypedTask::<T>::of(cell);
            if let Some(result) = task.and_then(|task| task.take()) {
                take(handle, ended(cell, result));
            }
        }));
        self.cell().waker().clone()
    }
}
