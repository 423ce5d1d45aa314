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
use super::ready_tasks::ReadyTasks;
use super::task_local::HideGuard;
use crate::base::slab::{Slab, SlabKey};
use crate::base::sort_pairs::sort_pairs;
use crate::event_loop::current;
use crate::event_loop::{
    Kind, LoopHandle, MAIN_TASK, Origin, Payload, Rows, Scheduler, WeakHandle,
};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

pub(super) struct Executor {
    /// All tasks that have not ended.
    tasks: RefCell<Slab<TaskPtr>>,
    rows: Rc<Rows>,
    handle: WeakHandle,
    /// The tasks that are ready, in the order of their places in the loop's queue.
    ready: RefCell<ReadyTasks>,
    /// The key of the task that is being polled, or [`NO_TASK`].
    current: Cell<u64>,
    /// The task whose poll panics, until the panic is caught.
    panicked: Cell<Option<TaskPtr>>,
    spawned: Cell<u64>,
    /// The line that created the main task that was polled last, while there is one.
    main: Cell<Option<&'static Location<'static>>>,
}

/// No key has all bits set.
const NO_TASK: u64 = u64::MAX;

impl Executor {
    pub(super) fn new(rows: Rc<Rows>, handle: WeakHandle) -> Self {
        Self {
            rows,
            handle,
            tasks: RefCell::default(),
            ready: RefCell::default(),
            current: Cell::new(NO_TASK),
            panicked: Cell::new(None),
            spawned: Cell::new(0),
            main: Cell::new(None),
        }
    }

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

    pub(super) fn handle(&self) -> &WeakHandle {
        &self.handle
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

    /// Queues a task behind all other work.
    #[inline(always)] // a spawn and a wake: each does little else
    fn push_ready(&self, task: TaskPtr) {
        self.rows.push(Kind::Task);
        self.ready.borrow_mut().push(task);
        self.notify_host();
    }

    /// Queues a task that was woken on this thread, or the main future.
    #[inline]
    pub(super) fn wake(&self, task: &TaskPtr) {
        match task.id() {
            MAIN_TASK => self.push_main(),
            _ => self.push_ready(task.clone()),
        }
    }

    /// Queues the main future.
    #[inline(never)]
    pub(super) fn push_main(&self) {
        self.rows.push(Kind::Main);
        self.notify_host();
    }

    #[inline]
    fn notify_host(&self) {
        if self.rows.host_waits() {
            self.handle.with(LoopHandle::notify_host);
        }
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

    /// The poll of this task panics.
    #[cold]
    pub(super) fn note_panicked(&self, task: &TaskPtr) {
        self.panicked.set(Some(task.clone()));
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

/// The error of a task after the destructor of its future has panicked.
#[cold]
fn error_after_drop(
    handle: &LoopHandle,
    cell: &TaskPtr,
    payload: Payload,
    error: Option<JoinError>,
) -> Option<JoinError> {
    // A cancelled future whose destructor panicked has not just been cancelled.
    if matches!(error, Some(JoinError::Cancelled)) {
        return Some(JoinError::Panicked(payload));
    }
    handle.apply_panic_policy(payload, cell.origin());
    error
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
    /// The error with which the task ends.
    error: Option<JoinError>,
}

impl<'a> PollCx<'a> {
    /// The poll begins.
    #[inline]
    pub(super) fn begin(&self, cell: &TaskPtr) {
        self.executor.current.set(cell.id());
        budget::reset(); // F1
        cell.count_poll();
    }

    /// The poll was ready, and the task ends here.
    pub(super) fn returned(&mut self, cell: &TaskPtr) {
        if cell.state().begin_end() == BeginEnd::Cancelled {
            self.error = Some(JoinError::Cancelled);
        }
        self.remove(cell);
    }

    /// The poll was pending, but the task was cancelled meanwhile and ends here.
    #[cold]
    pub(super) fn cancelled(&mut self, cell: &TaskPtr) {
        let _ = cell.state().begin_end();
        self.error = Some(JoinError::Cancelled);
        self.remove(cell);
    }

    /// Removes the task from the table, before its future is dropped.
    #[inline(always)] // at the end of a task that returns, and in a cold function
    fn remove(&self, cell: &TaskPtr) {
        self.executor.clear_current();
        // Not the last reference: the caller of the poll has one.
        let key = SlabKey::from_bits(cell.id());
        self.executor.tasks.borrow_mut().remove(key);
    }

    /// The future of a task that ends panicked while it was dropped.
    #[cold]
    pub(super) fn panicked_in_drop(&mut self, cell: &TaskPtr, payload: Payload) {
        let error = self.error.take();
        self.error = error_after_drop(self.handle, cell, payload, error);
    }
}

impl Scheduler for Rc<Executor> {
    fn run(&self, handle: &LoopHandle) {
        // A nested loop hides the task-locals of the task that turns it.
        let _hidden = current::is_nested().then(HideGuard::all);
        let _polling = PollScope::begin(self);
        let mut poll_cx = PollCx {
            executor: self,
            handle,
            error: None,
        };
        let mut row = handle.take_task_row();
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
            if !row.next() {
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
        let key = SlabKey::from_bits(task.id());
        let removed = self.tasks.borrow_mut().remove(key);
        drop(removed);
        Executor::end(handle, &task, JoinError::Panicked(payload));
        handle.drop_guarded(task);
        (origin, None)
    }

    fn queue(&self, task_id: u64) {
        let task = self
            .tasks
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
