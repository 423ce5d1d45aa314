//! The done-callbacks that may still inspect the result of a task, and the result where many share
//! it.
//!
//! A result is dropped with the last code that may read it: the `Task`, or one of its
//! done-callbacks. These callbacks are counted here, and a flag in the task's state shows whether
//! there are any, so that a task without callbacks pays nothing. A `SharedTask` takes the result
//! out of the cell; callbacks that are queued at that time find the result here.
//!
//! In asyncio a done-callback reads the task, which keeps its result. Rule: T4.

use super::Header;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Views {
    count: Cell<u32>,
    /// The result that a `SharedTask` has taken, as long as there are views.
    shared: RefCell<Option<Rc<dyn Any>>>,
}

impl Header {
    /// Adds a done-callback that may inspect the result.
    pub(in crate::task) fn add_view(&self) {
        let count = &self.views_or_new().count;
        count.set(count.get() + 1);
        self.state().set_viewed(true);
    }

    /// Removes a view; `true` if it was the last one.
    pub(in crate::task) fn drop_view(&self) -> bool {
        let count = &self.views_or_new().count;
        count.set(count.get() - 1);
        let is_last = count.get() == 0;
        if is_last {
            self.state().set_viewed(false);
        }
        is_last
    }

    /// Stores the result that a `SharedTask` has taken: the views keep seeing it.
    pub(in crate::task) fn share_result<R: 'static>(&self, result: &Rc<R>) {
        if self.state().is_viewed() {
            let result: Rc<dyn Any> = Rc::<R>::clone(result);
            self.views_or_new().shared.replace(Some(result));
        }
    }

    pub(in crate::task) fn shared_result<R: 'static>(&self) -> Option<Rc<R>> {
        let shared = self.views()?.shared.borrow().clone();
        shared?.downcast().ok()
    }

    pub(in crate::task) fn take_shared_result(&self) -> Option<Rc<dyn Any>> {
        self.views()?.shared.take()
    }
}
