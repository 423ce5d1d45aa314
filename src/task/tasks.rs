//! The tasks of a loop: those that have not ended, those that are ready, and the one that is being
//! polled.
//!
//! This is the data of an executor, with what its tasks need of it: a task that is woken is queued
//! here, and one that ends is removed. A reference to a task is a parameter of the type, so that
//! tasks can refer to their executor, and this file knows no task. The operations of an executor are
//! in `executor.rs`.
//!
//! In asyncio: `_ready`, `all_tasks` and `current_task`. Rules: L5, T1.

use super::budget;
use super::ready_tasks::ReadyTasks;
use crate::base::slab::{Slab, SlabKey};
use crate::event_loop::{Kind, LoopHandle, MAIN_TASK, Rows, WeakHandle};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

/// The tasks of a loop; `T` is a reference to one.
pub(super) struct Tasks<T> {
    /// All tasks that have not ended.
    pub(super) table: RefCell<Slab<T>>,
    rows: Rc<Rows>,
    handle: WeakHandle,
    /// The tasks that are ready, in the order of their places in the loop's queue.
    pub(super) ready: RefCell<ReadyTasks<T>>,
    /// The key of the task that is being polled, or [`NO_TASK`].
    pub(super) current: Cell<u64>,
    /// The task whose poll panics, until the panic is caught.
    pub(super) panicked: Cell<Option<T>>,
    pub(super) spawned: Cell<u64>,
    /// The line that created the main task that was polled last, while there is one.
    pub(super) main: Cell<Option<&'static Location<'static>>>,
}

/// No key has all bits set.
const NO_TASK: u64 = u64::MAX;

impl<T: Clone> Tasks<T> {
    pub(super) fn new(rows: Rc<Rows>, handle: WeakHandle) -> Self {
        Self {
            rows,
            handle,
            table: RefCell::default(),
            ready: RefCell::default(),
            current: Cell::new(NO_TASK),
            panicked: Cell::new(None),
            spawned: Cell::new(0),
            main: Cell::new(None),
        }
    }

    pub(super) fn handle(&self) -> &WeakHandle {
        &self.handle
    }

    /// Queues a task behind all other work.
    #[inline(always)] // a spawn and a wake: each does little else
    pub(super) fn push_ready(&self, task: T) {
        self.rows.push(Kind::Task);
        self.ready.borrow_mut().push(task);
        self.notify_host();
    }

    /// Queues the task with this id, which was woken on this thread, or the main future.
    #[inline]
    pub(super) fn wake(&self, task_id: u64, task: &T) {
        match task_id {
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

    /// The poll of the task with this id begins.
    #[inline]
    pub(super) fn begin_poll(&self, task_id: u64) {
        self.current.set(task_id);
        budget::reset(); // F1
    }

    /// Records that no task is being polled.
    #[inline]
    pub(super) fn clear_current(&self) {
        self.end_polls();
        budget::suspend();
    }

    /// Records that no task is being polled, and leaves the budget as it is.
    #[inline]
    pub(super) fn end_polls(&self) {
        self.current.set(NO_TASK);
    }

    /// The poll of this task panics.
    #[cold]
    pub(super) fn note_panicked(&self, task: &T) {
        self.panicked.set(Some(task.clone()));
    }

    /// Removes a task, to which the caller has another reference.
    #[inline(always)] // at the end of each task
    pub(super) fn remove(&self, task_id: u64) {
        self.table.borrow_mut().remove(SlabKey::from_bits(task_id));
    }

    /// The task that is being polled.
    pub(super) fn current(&self) -> Option<T> {
        let key = SlabKey::from_bits(self.current.get());
        self.table.borrow().get(key).cloned()
    }
}
