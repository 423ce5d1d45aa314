//! The done-callbacks that may still inspect the result of a task, and the result where many share
//! it.
//!
//! A result is dropped with the last code that may read it: the `Task`, or one of its
//! done-callbacks. These callbacks are counted here, and a flag in the task's state shows whether
//! there are any, so that a task without callbacks pays nothing. A `SharedTask` takes the result
//! out of the cell; callbacks that are queued at that time find the result here.
//!
//! In asyncio a done-callback reads the task, which keeps its result. Rule: T4.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Views {
    count: Cell<u32>,
    /// The result that a `SharedTask` has taken, as long as there are views.
    shared: RefCell<Option<Rc<dyn Any>>>,
}

impl Views {
    pub(super) fn add(&self) {
        self.count.set(self.count.get() + 1);
    }

    /// Removes one; `true` if it was the last one.
    pub(super) fn remove(&self) -> bool {
        self.count.set(self.count.get() - 1);
        self.count.get() == 0
    }

    pub(super) fn share(&self, result: Rc<dyn Any>) {
        self.shared.replace(Some(result));
    }

    pub(super) fn shared(&self) -> Option<Rc<dyn Any>> {
        self.shared.borrow().clone()
    }

    pub(super) fn take_shared(&self) -> Option<Rc<dyn Any>> {
        self.shared.take()
    }
}
