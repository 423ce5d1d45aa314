//! What higher layers attach to a loop: made at first use, closed with the loop.
//!
//! A loop knows neither signals nor a thread pool, but each loop has its own, which have to end with the
//! loop. So a loop keeps a list of attachments, one of each type. The list is short, and is searched.
//!
//! In asyncio the loop knows its default executor.

use super::loop_handle::{Attachment, LoopHandle};
use std::rc::Rc;
use std::sync::OnceLock;

/// What a higher layer has to do when any loop of the process is closed.
static AFTER_EACH_CLOSE: OnceLock<fn()> = OnceLock::new();

/// Has `f` called when a loop is closed, of whatever thread. There is one such function: the first.
pub(crate) fn after_each_close(f: fn()) {
    let _ = AFTER_EACH_CLOSE.set(f);
}

impl LoopHandle {
    /// Calls `f` with the attachment of this type, which `make` makes if there is none.
    pub(crate) fn attached<A: Attachment, R>(
        &self,
        make: impl FnOnce() -> A,
        f: impl FnOnce(&A) -> R,
    ) -> R {
        let all = self.attachments.borrow();
        let found = all.iter().find(|one| one.as_any().is::<A>()).map(Rc::clone);
        // The borrow ends here: `f` may attach something else (L8).
        drop(all);
        let attachment = found.unwrap_or_else(|| {
            let made: Rc<dyn Attachment> = Rc::new(make());
            self.attachments.borrow_mut().push(Rc::clone(&made));
            made
        });
        let attachment = attachment.as_any().downcast_ref();
        f(attachment.expect("it was found by its type, or made of it"))
    }

    /// Calls `f` with the attachment of this type, if there is one.
    pub(crate) fn if_attached<A: Attachment, R>(&self, f: impl FnOnce(&A) -> R) -> Option<R> {
        let all = self.attachments.borrow();
        let found = all.iter().find(|one| one.as_any().is::<A>()).map(Rc::clone);
        drop(all); // L8
        found?.as_any().downcast_ref().map(f)
    }

    /// Closes all attachments, the newest first. One that is attached meanwhile is closed, too.
    pub(super) fn close_attachments(&self) {
        loop {
            let last = self.attachments.borrow_mut().pop();
            let Some(last) = last else { break };
            self.guard(|| last.close());
        }
        if let Some(f) = AFTER_EACH_CLOSE.get() {
            f();
        }
    }
}
