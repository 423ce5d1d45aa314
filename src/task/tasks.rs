//! The ready tasks of a loop, and what a loop counts of its tasks.
//!
//! This is the data of an executor, with what its tasks need of it: a task that is woken is queued
//! here. A reference to a task is a parameter of the type, so that tasks can refer to their executor,
//! and this file knows no task. The list of all tasks is in `cell/task_list.rs`, the operations of an
//! executor are in `executor.rs`.
//!
//! In asyncio: `_ready`. Rules: L5, T1.

use super::ready_tasks::ReadyTasks;
use crate::event_loop::{Kind, LoopHandle, Rows, WeakHandle};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

/// The ready tasks of a loop; `T` is a reference to one.
pub(super) struct Tasks<T> {
    rows: Rc<Rows>,
    handle: WeakHandle,
    /// The tasks that are ready, in the order of their places in the loop's queue.
    pub(super) ready: RefCell<ReadyTasks<T>>,
    /// The task whose poll panics, until the panic is caught.
    pub(super) panicked: Cell<Option<T>>,
    pub(super) spawned: Cell<u64>,
    /// The line that created the main task that was polled last, while there is one.
    pub(super) main: Cell<Option<&'static Location<'static>>>,
}

impl<T: Clone> Tasks<T> {
    pub(super) fn new(rows: Rc<Rows>, handle: WeakHandle) -> Self {
        Self {
            rows,
            handle,
            ready: RefCell::default(),
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

    /// Queues a task that was woken on this thread, or, if it `is_main`, the main future.
    #[inline(always)] // as above
    pub(super) fn wake(&self, is_main: bool, task: &T) {
        match is_main {
            true => self.push_main(),
            false => self.push_ready(task.clone()),
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

    /// The poll of this task panics.
    #[cold]
    pub(super) fn note_panicked(&self, task: &T) {
        self.panicked.set(Some(task.clone()));
    }
}
