//! Detached tasks whose errors are reported.
//!
//! Dropping a [`Task`] detaches it, and drops its result with it. A panic is reported then, since
//! no program intends one. An error may matter or not, and Rust cannot see from the type whether a
//! result is worth a report, so the program states it with `detach_reporting`.
//!
//! In asyncio: "Task exception was never retrieved". In the notes: Task (N15, N16).

use super::handle::Task;
use super::join::add_done_callback;
use crate::event_loop::Unhandled;
use std::fmt::Display;

impl<T: 'static, E: Display + 'static> Task<Result<T, E>> {
    /// Detaches the task, and reports the error if it ends in one, to
    /// [`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled), with the task's name and the
    /// line that spawned it. A panic is reported as for every task; a cancellation is not, nor is the
    /// error that a task returns after it has cancelled itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Runner, spawn, yield_now};
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// async fn fails() -> Result<(), String> {
    ///     Err("no such file".into())
    /// }
    ///
    /// let reported = Rc::new(Cell::new(0));
    /// let mut runner = Runner::new()?;
    /// let count = Rc::clone(&reported);
    /// runner.on_unhandled(move |unhandled| {
    ///     // Task-2, spawned at src/main.rs:20:5 failed: no such file
    ///     assert!(unhandled.to_string().ends_with("failed: no such file"));
    ///     count.set(count.get() + 1);
    /// });
    /// runner.run(async {
    ///     spawn(fails()).detach_reporting();
    ///     yield_now().await;
    /// })?;
    /// runner.close();
    /// assert_eq!(reported.get(), 1);
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[track_caller]
    pub fn detach_reporting(self) {
        self.detach_reporting_as(E::to_string);
    }
}

impl<T: 'static, E: 'static> Task<Result<T, E>> {
    /// [`detach_reporting`](Self::detach_reporting) with the text of the report.
    #[track_caller]
    pub(crate) fn detach_reporting_as(self, text: fn(&E) -> String) {
        let cell = self.cell().clone();
        // The callback owns the handle until the task has ended, so its result is not dropped. The
        // reporter reports the error when it is dropped, also on a closed loop, which calls no
        // callbacks.
        let reporter = Reporter { task: self, text };
        let _key = add_done_callback(&cell, move |_| drop(reporter));
    }
}

/// Reports, when dropped, the error of a task that has ended. A panic is reported by the handle,
/// which is dropped with this.
struct Reporter<T: 'static, E: 'static> {
    task: Task<Result<T, E>>,
    text: fn(&E) -> String,
}

impl<T: 'static, E: 'static> Drop for Reporter<T, E> {
    fn drop(&mut self) {
        let task = &self.task;
        if task.cell().state().is_seen() {
            return; // the result was inspected before
        }
        let error = task.peek_result(|result| match result {
            Ok(Err(error)) => Some((self.text)(error)),
            _ => None,
        });
        let Some(Some(error)) = error else { return };
        let origin = task.cell().origin();
        task.home()
            .with(|handle| handle.report(&Unhandled::TaskFailed { origin, error }));
    }
}
