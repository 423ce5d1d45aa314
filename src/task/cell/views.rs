//! Done-callbacks that may still inspect the result of a task, and the result where many share it.
//!
//! A result goes with the last code that may read it: the `Task`, or one of its done-callbacks. They are
//! counted here, and a flag in the task's state says whether there are any, so that a task without
//! callbacks pays nothing. A `SharedTask` takes the result out of the cell; the callbacks that are queued
//! by then find it here.
//!
//! In asyncio a done-callback reads the task, which keeps its result. Rule: T4.

use super::Header;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Views {
    count: Cell<u32>,
    /// The result, where it was taken for many, as long as there are views.
    shared: RefCell<Option<Rc<dyn Any>>>,
}

impl Header {
    /// One more done-callback may inspect the result.
    pub(in crate::task) fn add_view(&self) {
        let count = &self.views_or_new().count;
        count.set(count.get() + 1);
        self.state().set_viewed(true);
    }

    /// One less; `true` if it was the last one.
    pub(in crate::task) fn drop_view(&self) -> bool {
        let count = &self.views_or_new().count;
        count.set(count.get() - 1);
        let is_last = count.get() == 0;
        if is_last {
            self.state().set_viewed(false);
        }
        is_last
    }

    /// The result has been taken for many: the views keep seeing it.
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
