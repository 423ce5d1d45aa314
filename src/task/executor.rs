//! The executor of a loop: owns its tasks, and polls each when the loop's queue reaches it.
//!
//! A list has a reference to the cell of each task that has not ended (`cell/task_list.rs`). A future
//! is polled in its cell, and can spawn, wake and cancel other tasks, or its own, while it runs: the
//! list is not borrowed meanwhile, and the cancellation of the running task is only recorded.
//!
//! In asyncio this is `Task.__step`; in the notes, the code that drives a coroutine (N8, N9).
//!
//! # States
//!
//! *created* → *suspended* ⇄ *running* → one of *done*, *cancelled*, *panicked*.
//!
//! # Rules
//!
//! - **T1** A task is polled only if woken since its last poll, and never twice at once.
//! - **T2** A wake during a poll leads to one more poll.
//! - **T3** A task ends in exactly one way; its future is dropped once, on the loop's thread,
//!   before the end is reported to any waiter or callback.

pub(super) use super::cell::Executor;

use super::budget::{self, BudgetGuard};
use super::cell::{
    Cancel, LoopRef, NewTask, PollCx, SpawnInfo, TaskPtr, TaskState, TypedTask, error_after_drop,
};
use super::join::{OutputGuard, drop_unclaimed, notify_done};
use super::join_error::{JoinError, Reason};
use super::task_local::HideGuard;
use super::tasks::Tasks;
use crate::event_loop::current;
use crate::event_loop::{LoopHandle, Origin, Payload, Scheduler};
use std::any::Any;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

impl Executor {
    /// The executor of a loop, created at the first call.
    #[inline]
    pub(super) fn of(handle: &LoopHandle) -> &LoopRef<Self> {
        let scheduler = handle.scheduler(|| {
            let tasks = Tasks::new(Rc::clone(handle.rows()), handle.weak_handle());
            Box::new(LoopRef::new(handle.inbox(), Self::new(tasks)))
        });
        scheduler
            .as_any()
            .downcast_ref()
            .expect("no other scheduler was installed on this loop")
    }

    /// Adds a future. Its first poll comes like all queued work (L5), never inside this call (N9).
    pub(super) fn spawn<F>(
        executor: &LoopRef<Self>,
        handle: &LoopHandle,
        future: NewTask<F>,
        site: &'static Location<'static>,
    ) -> TypedTask<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        let task = future.into_task(Self::spawn_info(executor, false, site));
        task.cell().link();
        if handle.is_closed() {
            // R081: spawned by a destructor while the loop closes. The task ends as all others did.
            Self::cancel(handle, task.cell(), None);
        } else {
            handle.receive_earlier(); // L5: they are before it
            executor.push_ready(task.cell().clone());
        }
        task
    }

    #[inline]
    fn spawn_info(
        executor: &LoopRef<Self>,
        is_main: bool,
        site: &'static Location<'static>,
    ) -> SpawnInfo {
        let number = executor.spawned.get() + 1;
        executor.spawned.set(number);
        SpawnInfo {
            executor: executor.clone(),
            is_main,
            number,
            site,
        }
    }

    /// Drops a task's future where it waits, or, if it is running, when it next yields. `true`
    /// exactly if this call ends the task.
    pub(super) fn cancel(handle: &LoopHandle, cell: &TaskPtr, reason: Option<Reason>) -> bool {
        // A task that ends with its loop, and is cancelled by a destructor, is out of the list.
        if cell.state().is_main() || !cell.is_linked() {
            return false;
        }
        let cancel = cell.state().cancel();
        if cancel == Cancel::Refused {
            return false;
        }
        cell.set_reason(reason);
        if cancel == Cancel::EndsAfterPoll {
            return true;
        }
        let cell = cell.unlink().expect("it was there a moment ago");
        // G5: a destructor may cancel the next one, and so on.
        handle.run_bounded(move |handle| {
            let _here = handle.enter_if_needed();
            Self::end(handle, &cell, JoinError::Cancelled);
        });
        true
    }

    /// T3: drops the future, then settles the result, then notifies the waiters.
    fn end(handle: &LoopHandle, cell: &TaskPtr, error: JoinError) {
        let mut error = Some(error);
        if let Err(payload) = cell.drop_future() {
            error = error_after_drop(handle, cell, payload, error);
        }
        Self::finish(handle, cell, error);
    }

    /// Settles the result of a task, whose future was dropped, and notifies the waiters.
    #[inline]
    fn finish(handle: &LoopHandle, cell: &TaskPtr, error: Option<JoinError>) {
        match error {
            None => cell.state().complete(TaskState::Done),
            Some(error) => Self::fail(handle, cell, error),
        }
        notify_done(handle, cell);
        if cell.state().is_unwatched() {
            // No handle is left that could take the result, so a panic is reported now.
            drop_unclaimed(handle, cell);
        }
    }

    #[cold]
    fn fail(handle: &LoopHandle, cell: &TaskPtr, error: JoinError) {
        cell.fail(error);
        // It was cancelled before it returned.
        if cell.has_output_to_drop() {
            handle.drop_guarded(OutputGuard(cell.clone()));
        }
    }

    /// Makes the caller's own future a task of this loop, as long as it is polled by
    /// [`Executor::poll_main`]. `N` is the type whose name the task reports.
    pub(super) fn adopt_main<N>(
        executor: &LoopRef<Self>,
        site: &'static Location<'static>,
    ) -> TypedTask<()> {
        let absent = NewTask::<_, N>::new(std::future::pending());
        let task = absent.into_task(Self::spawn_info(executor, true, site));
        task.cell().link();
        task
    }

    /// Polls the main future as the current task.
    pub(super) fn poll_main<R>(&self, task: &TaskPtr, poll: impl FnOnce() -> R) -> R {
        /// Runs also if the poll panics.
        struct Suspends<'a>(&'a TaskPtr);
        impl Drop for Suspends<'_> {
            fn drop(&mut self) {
                self.0.state().park_main();
            }
        }
        let _budget = BudgetGuard::full();
        let _suspends = Suspends(task);
        task.state().begin_main_poll();
        task.count_poll();
        self.main.set(Some(task.site()));
        self.current.during(task, poll)
    }

    /// Removes the main task, which has ended or is given up by its caller: `end` is its final
    /// state (T3).
    pub(super) fn release_main(&self, task: &TaskPtr, end: TaskState) {
        if let Some(cell) = task.unlink() {
            cell.state().complete(end);
            // An older main task may still exist.
            if self.main.get() == Some(cell.site()) {
                self.main.set(None);
            }
        }
    }

    /// The task that is being polled.
    pub(super) fn current(&self) -> Option<TaskPtr> {
        self.current.get()
    }

    /// All tasks that have not ended, in the order of creation.
    pub(super) fn all(&self) -> Vec<TaskPtr> {
        self.all.all()
    }
}

/// Cancels the task of this loop with this waker, by which another thread refers to it.
pub(super) fn cancel(handle: &LoopHandle, waker: &Waker, reason: Option<Reason>) {
    if let Some(task) = TaskPtr::of_waker(waker, Executor::of(handle)) {
        Executor::cancel(handle, &task, reason);
    }
}

impl Scheduler for LoopRef<Executor> {
    fn run(&self, handle: &LoopHandle) {
        // A nested loop hides the task-locals of the task that turns it.
        let _hidden = current::is_nested().then(HideGuard::all);
        // Filled anew for each poll, suspended at the end of a task, and left here.
        let _budget = BudgetGuard::full();
        let mut poll_cx = PollCx::new(self, handle);
        // In debug mode the loop times each poll.
        let (runs_row, is_traced) = (!handle.is_debug(), handle.is_traced());
        loop {
            let Some(task) = self.ready.pop() else {
                return; // never: each place of the loop's queue has its task
            };
            if is_traced {
                handle.trace_call("job", task.number());
            }
            task.state().clear_queued();
            // Not if it has ended: it may have been cancelled after it was woken.
            if task.poll(&mut poll_cx) {
                handle.check_current(|| task.origin());
                Executor::finish(handle, &task, poll_cx.error.take());
            } else {
                handle.check_current(|| task.origin());
            }
            drop(task);
            if !(runs_row && handle.next_task()) {
                return;
            }
        }
    }

    fn end_panicked(&self, handle: &LoopHandle, payload: Payload) -> (Origin, Option<Payload>) {
        let Some(task) = self.panicked.take() else {
            return (Origin::Other, Some(payload));
        };
        let _hidden = current::is_nested().then(HideGuard::all);
        // Without a budget.
        let _budget = BudgetGuard::full();
        budget::suspend();
        let origin = task.origin();
        handle.check_current(|| origin.clone());
        drop(task.unlink());
        Executor::end(handle, &task, JoinError::Panicked(payload));
        handle.drop_guarded(task);
        (origin, None)
    }

    fn queue(&self, waker: &Waker) {
        if let Some(task) = TaskPtr::of_waker(waker, self) {
            match task.state().is_main() {
                true => self.push_main(),
                false => self.push_ready(task),
            }
        }
    }

    fn reorder(&self, order: &[usize]) {
        Tasks::reorder(self, order);
    }

    fn has_ready_task(&self) -> bool {
        self.any_ready(|task| task.state().is_alive())
    }

    fn origin(&self) -> Origin {
        self.current().map_or(Origin::Other, |task| task.origin())
    }

    fn origin_of_next(&self) -> Origin {
        let Some(task) = self.ready.pop() else {
            return Origin::Other;
        };
        let origin = task.origin();
        self.ready.push_first(task);
        origin
    }

    fn origin_of_main(&self) -> Origin {
        Origin::Main {
            site: self.main.get(),
        }
    }

    fn is_task_waker(&self, waker: &Waker) -> bool {
        TaskPtr::is_waker(waker)
    }

    fn shrink(&self) {
        Tasks::shrink(self);
    }

    fn task_count(&self) -> usize {
        self.all.len()
    }

    fn close(&self, handle: &LoopHandle) -> Vec<String> {
        // Before any of them ends: a destructor may end others, which are unfinished tasks all the
        // same.
        let mut names = Vec::new();
        for cell in self.all() {
            names.push(cell.name().to_string());
        }
        // In the order of creation. A destructor may end other tasks, which are then not found; it
        // cannot spawn: on a closed loop a new task ends at once.
        while let Some(cell) = self.all.first() {
            drop(cell.unlink());
            Executor::end(handle, &cell, JoinError::Cancelled);
        }
        // One by one: an output that is dropped with its task may panic.
        while let Some(task) = self.ready.pop() {
            handle.drop_guarded(task);
        }
        names
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
