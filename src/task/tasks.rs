//! The ready tasks of a loop, and what a loop counts of its tasks.
//!
//! This is the data of an executor, with what its tasks need of it: a task that is woken is queued
//! here. A reference to a task is a parameter of the type, so that tasks can refer to their executor,
//! and this file knows no task. The list of all tasks is in `cell/task_list.rs`, the operations of an
//! executor are in `executor.rs`.
//!
//! In asyncio: `_ready`. Rules: L5, T1.

use crate::base::shrink::{self, Room};
use crate::event_loop::{Kind, LoopHandle, Rows, WeakHandle};
use readily_sys::ring_queue::RingQueue;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

/// The ready tasks of a loop; `T` is a reference to one.
pub(super) struct Tasks<T> {
    rows: Rc<Rows>,
    handle: WeakHandle,
    /// The tasks that are ready, in the order of their places in the loop's queue.
    pub(super) ready: RingQueue<T>,
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
            ready: RingQueue::default(),
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
        // Neither of these can panic, so a caller has no task to drop.
        self.rows.push(Kind::Task);
        self.ready.push(task);
        self.notify_host();
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
            self.call_host();
        }
    }

    #[cold]
    fn call_host(&self) {
        self.handle.with(LoopHandle::notify_host);
    }

    /// Whether `is_so` of any ready task, in their order.
    pub(super) fn any_ready(&self, is_so: impl Fn(&T) -> bool) -> bool {
        let mut any = false;
        // Each is popped and pushed again, which leaves the order as it was.
        for _ in 0..self.ready.len() {
            let Some(task) = self.ready.pop() else { break };
            any = any || is_so(&task);
            self.ready.push(task);
        }
        any
    }

    /// Puts the ready tasks in another order: `order` has the old places in it.
    pub(super) fn reorder(&self, order: &[usize]) {
        let mut tasks: Vec<_> = std::iter::from_fn(|| self.ready.pop()).map(Some).collect();
        for &at in order {
            if let Some(task) = tasks.get_mut(at).and_then(Option::take) {
                self.ready.push(task);
            }
        }
    }

    /// Shrinks after a burst (R126).
    pub(super) fn shrink(&self) {
        shrink::shrink(&mut &self.ready);
    }

    /// The poll of this task panics.
    #[cold]
    pub(super) fn note_panicked(&self, task: &T) {
        self.panicked.set(Some(task.clone()));
    }
}

impl<T> Room for &RingQueue<T> {
    fn entries(&self) -> usize {
        self.len()
    }

    fn room(&self) -> usize {
        RingQueue::room(self)
    }

    fn shrink_to(&mut self, room: usize) {
        self.set_room(room);
    }
}
