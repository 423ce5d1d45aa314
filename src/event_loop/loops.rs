//! The loops of a thread by their ids: one of the crate's nine thread-locals.
//!
//! A handle of a queued closure is made with each closure, and is rarely used. So it has the id of its
//! loop and not a counted reference, and finds the loop here. User code outside a turn, too, rarely looks
//! for its loop.
//!
//! asyncio's `Handle` keeps its loop alive, for which a garbage collector answers.

use super::loop_handle::LoopHandle;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::{Rc, Weak};

thread_local! {
    /// Without an allocation when there is no loop. So it needs no destructor, and can be used by
    /// destructors that run at the end of the thread.
    static LOOPS: ManuallyDrop<RefCell<Vec<Listed>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

struct Listed {
    loop_id: u64,
    handle: Weak<LoopHandle>,
}

/// Keeps a loop in the list until it is dropped: when the loop is closed, nothing of it is cancelled any
/// more.
pub(super) struct ListGuard {
    loop_id: u64,
}

impl ListGuard {
    pub(super) fn new(handle: &Rc<LoopHandle>) -> Self {
        let loop_id = handle.loop_id;
        let handle = Rc::downgrade(handle);
        let _ = LOOPS.try_with(|loops| loops.borrow_mut().push(Listed { loop_id, handle }));
        Self { loop_id }
    }
}

impl Drop for ListGuard {
    fn drop(&mut self) {
        let _ = LOOPS.try_with(|loops| {
            let mut loops = loops.borrow_mut();
            loops.retain(|listed| listed.loop_id != self.loop_id);
            loops.shrink_to_fit();
        });
    }
}

/// The loop with this id, if it is one of this thread and was not dropped.
pub(super) fn find(loop_id: u64) -> Option<Rc<LoopHandle>> {
    let find = |loops: &ManuallyDrop<RefCell<Vec<Listed>>>| {
        let loops = loops.borrow();
        let mut all = loops.iter();
        all.find(|listed| listed.loop_id == loop_id)?
            .handle
            .upgrade()
    };
    LOOPS.try_with(find).ok().flatten()
}
