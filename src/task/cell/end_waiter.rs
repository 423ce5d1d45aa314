//! The waker that waits for the end of a task by its `Task`.
//!
//! Nearly always it is that of a task: then it is one word of the header, or of the rare fields if the
//! task has these (`extra.rs`). Any other waker is one of the rare fields.
//!
//! In the notes: `await` of a task (N15). Rule: T3.

use super::TaskWaker;
use super::header::Header;
use std::task::Waker;

impl Header {
    /// Stores the waker to wake at the end. The replaced one is dropped here: not under a borrow
    /// (L8).
    pub(in crate::task) fn wait(&self, waker: &Waker) {
        if let Some(kept) = self.take_task_waiter() {
            if kept.will_wake(waker) {
                return self.set_task_waiter(kept);
            }
        }
        let Some(waker) = TaskWaker::cloned(waker) else {
            return self.wait_foreign(waker);
        };
        drop(self.take_waiter());
        self.set_task_waiter(waker);
    }

    #[cold]
    fn wait_foreign(&self, waker: &Waker) {
        let place = &self.rare().foreign_waiter;
        let kept = place.take();
        if kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            return place.set(kept);
        }
        drop(kept);
        let waker = waker.clone();
        drop(self.take_waiter());
        place.set(Some(waker));
    }

    #[inline]
    pub(in crate::task) fn take_waiter(&self) -> Option<Waker> {
        match self.take_task_waiter() {
            Some(waker) => Some(waker.into_waker()),
            None => self.local_part.extra.get()?.foreign_waiter.take(),
        }
    }

    #[inline]
    fn take_task_waiter(&self) -> Option<TaskWaker> {
        let extra = &self.local_part.extra;
        extra.take().or_else(|| extra.get()?.waiter.take())
    }

    #[inline]
    fn set_task_waiter(&self, waiter: TaskWaker) {
        if let Some(waiter) = self.local_part.extra.set(waiter) {
            self.rare().waiter.set(Some(waiter));
        }
    }
}
