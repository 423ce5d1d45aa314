//! The executor of a loop: owns its tasks, and polls each when the loop's queue reaches it.
//!
//! A table has a reference to the cell of each task that has not ended (`cell.rs`). A future is
//! polled in its cell, and can spawn, wake and cancel other tasks, or its own, while it runs: the
//! table is not borrowed meanwhile, and the cancellation of the running task is only recorded. The
//! loop and the wakers know a task by its id only.
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

use super::budget::BudgetGuard;
use super::cell::{
    Cancel, Header, NewTask, PollCx, SpawnInfo, TaskPtr, TaskState, TypedTask, error_after_drop,
};
use super::join::{OutputGuard, drop_unclaimed, notify_done};
use super::join_error::{JoinError, Reason};
use super::task_local::HideGuard;
use crate::base::slab::SlabKey;
use crate::base::sort_pairs::sort_pairs;
use crate::event_loop::current;
use crate::event_loop::{LoopHandle, MAIN_TASK, Origin, Payload, Scheduler};
use std::any::Any;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

impl Executor {
    /// The executor of a loop, created at the first call.
    #[inline]
    pub(super) fn of(handle: &LoopHandle) -> &Rc<Self> {
        let scheduler = handle.scheduler(|| {
            let executor = Self::new(Rc::clone(handle.rows()), handle.weak_handle());
            Box::new(Rc::new(executor))
        });
        scheduler
            .as_any()
            .downcast_ref()
            .expect("no other scheduler was installed on this loop")
    }

    /// Adds a future. Its first poll comes like all queued work (L5), never inside this call (N9).
    pub(super) fn spawn<F>(
        self: &Rc<Self>,
        handle: &LoopHandle,
        future: NewTask<F>,
        site: &'static Location<'static>,
    ) -> TypedTask<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        let (key, task) = self.insert(future, |key| self.spawn_info(handle, key.to_bits(), site));
        if handle.is_closed() {
            // R081: spawned by a destructor while the loop closes. The task ends as all others did.
            self.cancel(handle, key, None);
        } else {
            handle.receive_earlier(); // L5: they are before it
            self.push_ready(task.cell().clone());
        }
        task
    }

    fn spawn_info(
        self: &Rc<Self>,
        handle: &LoopHandle,
        task_id: u64,
        site: &'static Location<'static>,
    ) -> SpawnInfo {
        let number = self.spawned.get() + 1;
        self.spawned.set(number);
        SpawnInfo {
            inbox: handle.inbox(),
            executor: Rc::clone(self),
            id: task_id,
            number,
            site,
        }
    }

    fn insert<F: Future<Output: 'static> + 'static, N: ?Sized>(
        &self,
        future: NewTask<F, N>,
        info: impl FnOnce(SlabKey) -> SpawnInfo,
    ) -> (SlabKey, TypedTask<F::Output>) {
        let mut made = None;
        let key = self.table.borrow_mut().insert_with(|key| {
            let task = future.into_task(info(key));
            let cell = task.cell().clone();
            made = Some(task);
            cell
        });
        (key, made.expect("the closure has run"))
    }

    /// Drops a task's future where it waits, or, if it is running, when it next yields. `true`
    /// exactly if this call ends the task.
    pub(super) fn cancel(&self, handle: &LoopHandle, key: SlabKey, reason: Option<Reason>) -> bool {
        let mut tasks = self.table.borrow_mut();
        let Some(cell) = tasks.get(key) else {
            return false;
        };
        if cell.id() == MAIN_TASK {
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
        let cell = tasks.remove(key).expect("it was there a moment ago");
        drop(tasks);
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
        self: &Rc<Self>,
        handle: &LoopHandle,
        site: &'static Location<'static>,
    ) -> (SlabKey, TypedTask<()>) {
        let absent = NewTask::<_, N>::new(std::future::pending());
        self.insert(absent, |_| self.spawn_info(handle, MAIN_TASK, site))
    }

    /// Polls the main future as the current task.
    pub(super) fn poll_main<R>(&self, key: SlabKey, head: &Header, poll: impl FnOnce() -> R) -> R {
        /// Runs also if the poll panics.
        struct Suspends<'a>(&'a Header);
        impl Drop for Suspends<'_> {
            fn drop(&mut self) {
                self.0.state().park_main();
            }
        }
        let _polling = PollScope::begin(self);
        let _suspends = Suspends(head);
        self.current.set(key.to_bits());
        head.state().begin_main_poll();
        head.count_poll();
        self.main.set(Some(head.site()));
        poll()
    }

    /// Removes the main task, which has ended or is given up by its caller: `end` is its final
    /// state (T3).
    pub(super) fn release_main(&self, key: SlabKey, end: TaskState) {
        let cell = self.table.borrow_mut().remove(key);
        if let Some(cell) = cell {
            cell.state().complete(end);
            // An older main task may still exist.
            if self.main.get() == Some(cell.site()) {
                self.main.set(None);
            }
        }
    }

    /// All tasks that have not ended, in the order of creation.
    pub(super) fn all(&self) -> Vec<TaskPtr> {
        let tasks = self.table.borrow();
        let mut all = Vec::new();
        for key in self.keys() {
            if let Some(cell) = tasks.get(key) {
                all.push(cell.clone());
            }
        }
        all
    }

    /// The keys of all tasks, in the order of creation.
    fn keys(&self) -> impl Iterator<Item = SlabKey> + use<> {
        let tasks = self.table.borrow();
        let mut all = Vec::with_capacity(tasks.len());
        for (key, cell) in tasks.iter() {
            all.push((cell.number(), key.to_bits()));
        }
        let all = sort_pairs(all).into_iter();
        all.map(|(_, key)| SlabKey::from_bits(key))
    }
}

/// Cancels a task by its id, for handles that do not know its type.
pub(super) fn cancel(handle: &LoopHandle, task_id: u64, reason: Option<Reason>) -> bool {
    Executor::of(handle).cancel(handle, SlabKey::from_bits(task_id), reason)
}

/// The time in which tasks are polled, one after another. The current task and the budget are set
/// for each poll, and reset only where code may run outside a poll: at the end of a task, and here.
/// That saves instructions for each poll.
struct PollScope<'a> {
    executor: &'a Executor,
    _budget: BudgetGuard,
}

impl<'a> PollScope<'a> {
    #[inline]
    fn begin(executor: &'a Executor) -> Self {
        Self {
            executor,
            _budget: BudgetGuard::full(),
        }
    }
}

impl Drop for PollScope<'_> {
    #[inline]
    fn drop(&mut self) {
        self.executor.end_polls();
    }
}

impl Scheduler for Rc<Executor> {
    fn run(&self, handle: &LoopHandle) {
        // A nested loop hides the task-locals of the task that turns it.
        let _hidden = current::is_nested().then(HideGuard::all);
        let _polling = PollScope::begin(self);
        let mut poll_cx = PollCx::new(self, handle);
        // In debug mode the loop times each poll.
        let runs_row = !handle.is_debug();
        loop {
            let next = self.ready.borrow_mut().pop();
            if let Some(task) = next {
                handle.trace_call("job", task.id());
                task.state().clear_queued();
                // Not if it has ended: it may have been cancelled after it was woken.
                let has_ended = task.poll(&mut poll_cx);
                handle.check_current(|| task.origin());
                if has_ended {
                    Executor::finish(handle, &task, poll_cx.error.take());
                }
            }
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
        // Without a budget, and with no current task.
        let _polling = PollScope::begin(self);
        self.clear_current();
        let origin = task.origin();
        handle.check_current(|| origin.clone());
        self.remove(task.id());
        Executor::end(handle, &task, JoinError::Panicked(payload));
        handle.drop_guarded(task);
        (origin, None)
    }

    fn queue(&self, task_id: u64) {
        let task = self
            .table
            .borrow()
            .get(SlabKey::from_bits(task_id))
            .cloned();
        task.into_iter().for_each(|task| self.push_ready(task));
    }

    fn reorder(&self, order: &[usize]) {
        self.ready.borrow_mut().reorder(order);
    }

    fn has_ready_task(&self) -> bool {
        let ready = self.ready.borrow();
        ready.iter().any(|task| task.state().is_alive())
    }

    fn origin(&self) -> Origin {
        self.current().map_or(Origin::Other, |task| task.origin())
    }

    fn origin_of_next(&self) -> Origin {
        let ready = self.ready.borrow();
        ready.first().map_or(Origin::Other, |task| task.origin())
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
        self.ready.borrow_mut().shrink();
    }

    fn task_count(&self) -> usize {
        self.table.borrow().len()
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
        for key in self.keys() {
            let cell = self.table.borrow_mut().remove(key);
            if let Some(cell) = cell {
                Executor::end(handle, &cell, JoinError::Cancelled);
            }
        }
        // One by one: an output that is dropped with its task may panic.
        loop {
            let next = self.ready.borrow_mut().pop();
            let Some(task) = next else { break };
            handle.drop_guarded(task);
        }
        names
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
