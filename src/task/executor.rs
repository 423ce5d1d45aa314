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

use super::budget::{self, BudgetGuard};
use super::cell::{BeginEnd, Cancel, Header, NewTask, SpawnInfo, TaskPtr, TypedTask};
use super::join::{JoinError, OutputGuard, Reason, TaskState, drop_unclaimed, notify_done};
use super::task_local::HideGuard;
use crate::base::slab::{Slab, SlabKey};
use crate::base::sort_pairs::sort_pairs;
use crate::event_loop::current;
use crate::event_loop::{LoopHandle, MAIN_TASK, Origin, Payload, Scheduler};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

pub(super) struct Executor {
    tasks: RefCell<Slab<TaskPtr>>,
    /// The key of the task that is being polled, or [`NO_TASK`].
    current: Cell<u64>,
    spawned: Cell<u64>,
    /// The line that created the main task that was polled last, while there is one.
    main: Cell<Option<&'static Location<'static>>>,
}

/// No key has all bits set.
const NO_TASK: u64 = u64::MAX;

impl Executor {
    fn new() -> Self {
        Self {
            tasks: RefCell::default(),
            current: Cell::new(NO_TASK),
            spawned: Cell::new(0),
            main: Cell::new(None),
        }
    }

    /// The executor of a loop, created at the first call.
    #[inline]
    pub(super) fn of(handle: &LoopHandle) -> &Self {
        let scheduler = handle.scheduler(|| Rc::new(Self::new()));
        scheduler
            .as_any()
            .downcast_ref()
            .expect("no other scheduler was installed on this loop")
    }

    /// Adds a future. Its first poll comes like all queued work (L5), never inside this call (N9).
    pub(super) fn spawn<F>(
        &self,
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
            handle.schedule_new(key.to_bits());
        }
        task
    }

    fn spawn_info(
        &self,
        handle: &LoopHandle,
        task_id: u64,
        site: &'static Location<'static>,
    ) -> SpawnInfo {
        let number = self.spawned.get() + 1;
        self.spawned.set(number);
        SpawnInfo {
            inbox: handle.inbox(),
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
        let key = self.tasks.borrow_mut().insert_with(|key| {
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
        let mut tasks = self.tasks.borrow_mut();
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
        let end = outcome_after_drop(handle, cell, cell.drop_future(), Err(error));
        Self::finish(handle, cell, end);
    }

    fn finish(handle: &LoopHandle, cell: &TaskPtr, end: Result<(), JoinError>) {
        cell.complete(end);
        if cell.task_state() != TaskState::Done && cell.has_output_to_drop() {
            handle.drop_guarded(OutputGuard(cell.clone()));
        }
        notify_done(handle, cell);
        if cell.state().is_unwatched() {
            // No handle is left that could take the result, so a panic is reported now.
            drop_unclaimed(handle, cell);
        }
    }

    /// Makes the caller's own future a task of this loop, as long as it is polled by
    /// [`Executor::poll_main`]. `N` is the type whose name the task reports.
    pub(super) fn adopt_main<N>(
        &self,
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

    /// Polls a task, if it is still there.
    #[inline]
    fn poll_task(&self, handle: &LoopHandle, task_id: u64) {
        let key = SlabKey::from_bits(task_id);
        // It is gone if it was cancelled after it was woken.
        let Some(cell) = self.tasks.borrow().get(key).cloned() else {
            return;
        };
        cell.state().clear_queued();
        let mut poll_cx = PollCx {
            executor: self,
            handle,
            key,
            cell: &cell,
            end: None,
        };
        cell.poll(&mut poll_cx);
        handle.check_current(|| cell.origin());
        if let Some(end) = poll_cx.end {
            Self::finish(handle, &cell, end);
        }
    }

    /// Polls a task, and those that are queued right behind it. Not inlined: in its caller the loop
    /// keeps fewer values in registers, which makes each poll of a batch slower.
    #[inline(never)]
    fn poll_batch(&self, handle: &LoopHandle, task_id: u64) {
        let _polling = PollScope::begin(self);
        let mut next = Some(task_id);
        while let Some(task_id) = next {
            self.poll_task(handle, task_id);
            next = handle.next_in_batch();
        }
    }

    /// Polls a batch while a task of another loop is being polled, and hides the task-locals of
    /// that task. Separate, so that a loop that is not nested pays nothing for it.
    #[cold]
    fn poll_batch_nested(&self, handle: &LoopHandle, task_id: u64) {
        let _hidden = HideGuard::all();
        self.poll_batch(handle, task_id);
    }

    /// Records that no task is being polled.
    #[inline]
    fn clear_current(&self) {
        self.current.set(NO_TASK);
        budget::suspend();
    }

    /// Removes the main task, which has ended or is given up by its caller: `end` is its final
    /// state (T3).
    pub(super) fn release_main(&self, key: SlabKey, end: TaskState) {
        let cell = self.tasks.borrow_mut().remove(key);
        if let Some(cell) = cell {
            cell.state().complete(end);
            // An older main task may still exist.
            if self.main.get() == Some(cell.site()) {
                self.main.set(None);
            }
        }
    }

    /// The task that is being polled.
    pub(super) fn current(&self) -> Option<TaskPtr> {
        let key = SlabKey::from_bits(self.current.get());
        self.tasks.borrow().get(key).cloned()
    }

    /// All tasks that have not ended, in the order of creation.
    pub(super) fn all(&self) -> Vec<TaskPtr> {
        let tasks = self.tasks.borrow();
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
        let tasks = self.tasks.borrow();
        let mut all = Vec::with_capacity(tasks.len());
        for (key, cell) in tasks.iter() {
            all.push((cell.number(), key.to_bits()));
        }
        let all = sort_pairs(all).into_iter();
        all.map(|(_, key)| SlabKey::from_bits(key))
    }
}

/// The outcome of a task after its future was dropped, which may have panicked.
fn outcome_after_drop(
    handle: &LoopHandle,
    cell: &TaskPtr,
    dropped: Result<(), Payload>,
    end: Result<(), JoinError>,
) -> Result<(), JoinError> {
    match (dropped, end) {
        (Ok(()), end) => end,
        // A cancelled future whose destructor panicked has not just been cancelled.
        (Err(payload), Err(JoinError::Cancelled)) => Err(JoinError::Panicked(payload)),
        (Err(payload), end) => {
            handle.apply_panic_policy(payload, cell.origin());
            end
        }
    }
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
        self.executor.current.set(NO_TASK);
    }
}

/// One poll of a task: what the cell reports to the executor when the poll begins, when it returns,
/// and, if the task ends with it, when the future's destructor panics.
pub(super) struct PollCx<'a> {
    executor: &'a Executor,
    handle: &'a LoopHandle,
    key: SlabKey,
    cell: &'a TaskPtr,
    end: Option<Result<(), JoinError>>,
}

impl<'a> PollCx<'a> {
    /// The poll begins.
    #[inline]
    pub(super) fn begin(&self) {
        self.executor.current.set(self.key.to_bits());
        budget::reset(); // F1
        self.cell.count_poll();
    }

    /// The poll was ready, and the task ends here.
    #[inline]
    pub(super) fn returned(&mut self) {
        self.finish_with(match self.cell.state().begin_end() {
            BeginEnd::Returned => Ok(()),
            BeginEnd::Cancelled => Err(JoinError::Cancelled),
        });
    }

    /// The poll was pending, but the task was cancelled meanwhile and ends here.
    #[cold]
    pub(super) fn cancelled(&mut self) {
        let _ = self.cell.state().begin_end();
        self.finish_with(Err(JoinError::Cancelled));
    }

    /// The poll panicked, and the task ends here.
    #[cold]
    pub(super) fn panicked(&mut self, payload: Payload) {
        let _ = self.cell.state().begin_end();
        self.finish_with(Err(JoinError::Panicked(payload)));
    }

    /// Records the outcome and removes the task from the table.
    #[inline]
    fn finish_with(&mut self, end: Result<(), JoinError>) {
        self.end = Some(end);
        self.executor.clear_current();
        // Not the last reference: the caller of the poll has one.
        self.executor.tasks.borrow_mut().remove(self.key);
    }

    /// The future of a task that ends panicked while it was dropped.
    #[cold]
    pub(super) fn panicked_in_drop(&mut self, payload: Payload) {
        let end = self.end.take();
        self.end = end.map(|end| outcome_after_drop(self.handle, self.cell, Err(payload), end));
    }
}

impl Scheduler for Executor {
    fn run(&self, handle: &LoopHandle, task_id: u64) {
        match current::is_nested() {
            true => self.poll_batch_nested(handle, task_id),
            false => self.poll_batch(handle, task_id),
        }
    }

    fn origin(&self, task_id: u64) -> Origin {
        let tasks = self.tasks.borrow();
        let cell = tasks.get(SlabKey::from_bits(task_id));
        cell.map_or(Origin::Other, |cell| cell.origin())
    }

    fn origin_of_main(&self) -> Origin {
        Origin::Main {
            site: self.main.get(),
        }
    }

    fn is_alive(&self, task_id: u64) -> bool {
        let tasks = self.tasks.borrow();
        tasks.get(SlabKey::from_bits(task_id)).is_some()
    }

    fn is_task_waker(&self, waker: &Waker) -> bool {
        TaskPtr::is_waker(waker)
    }

    fn task_count(&self) -> usize {
        self.tasks.borrow().len()
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
            let cell = self.tasks.borrow_mut().remove(key);
            if let Some(cell) = cell {
                Self::end(handle, &cell, JoinError::Cancelled);
            }
        }
        names
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
