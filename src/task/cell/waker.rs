//! What wakes a task: a number, a flag, and the way home.
//!
//! A waker must work from any thread and long after its loop has gone, while the future it
//! wakes may never leave its thread. So all that a waker touches is here, and no more: the number
//! of its job, the loop's inbox, and a count of those who may still come. It is a part of the
//! task's cell (`cell.rs`), which is freed with the last of them. On the loop's own thread a wake is
//! a flag, a comparison and a push; from anywhere else it goes through the inbox, and rings once
//! per sleep.
//!
//! In the notes this is the other half of `await` (N10): who gave way is called back.
//!
//! # Orderings
//!
//! - The flag is swapped with `AcqRel` on both sides: of two swaps one comes first. If the wake does,
//!   the poll that lowers the flag afterwards sees all that the waker had written; if the poll does,
//!   the wake finds the flag low and queues the task once more (T2).
//! - The count is that of `Arc`. A new share is made by somebody who has one, and tells nobody
//!   anything: `Relaxed`. Giving one up is `AcqRel`: all that any thread did with the cell comes
//!   before its share goes, and who gives up the last one, and frees, comes after all the others.
//!   (`Arc` acquires by a fence, in the last one only; ThreadSanitizer does not know of fences.)

use super::standing::State;
use crate::base::sync::{AtomicBool, AtomicU32};
use crate::event_loop::{Inbox, current};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[cfg(all(loom, test))]
mod models;

pub(super) struct WakeState {
    pub(super) inbox: Arc<Inbox>,
    pub(super) id: u64,
    pub(super) ref_count: RefCount,
    /// Whether the job stands in a queue already.
    queued: AtomicBool,
    /// Not for wakers: the head of the cell has no better room for it.
    pub(super) state: State,
}

impl WakeState {
    /// For a job that is about to be queued for the first time.
    pub(super) fn new(task_id: u64, home: Arc<Inbox>) -> Self {
        Self {
            inbox: home,
            id: task_id,
            ref_count: RefCount(AtomicU32::new(1)),
            queued: AtomicBool::new(true),
            state: State::default(),
        }
    }

    /// Whether wakes of other threads come by message only, and leave the flag as it is.
    pub(super) fn is_recording(&self) -> bool {
        self.inbox.is_recording()
    }

    /// T2: to be called before each poll, so that a wake that comes during the poll finds
    /// the flag low and queues the job once more. Whether it was up.
    pub(super) fn clear_queued(&self) -> bool {
        // `AcqRel`: what the waker wrote before it raised the flag is seen by the poll.
        self.queued.swap(false, Ordering::AcqRel)
    }

    /// Queues the job, unless it stands in a queue already.
    #[inline]
    pub(super) fn wake(&self) {
        let at_home = current::on_own_thread(&self.inbox, |handle| {
            if self.set_queued() {
                handle.schedule_woken(self.id);
            }
        });
        if !at_home {
            self.wake_remote();
        }
    }

    #[cold]
    fn wake_remote(&self) {
        // On tape each wake of another thread is a message: whether it found the flag up is chance.
        if self.inbox.is_recording() || self.set_queued() {
            self.inbox.wake_task(self.id);
        }
    }

    /// T1: whether whoever asks is to queue the job, which stands in the queue at most once.
    #[inline]
    fn set_queued(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }
}

/// How many keep a cell from being freed: each waker, and all references of the loop's thread
/// together. By itself, so that nobody borrows more than the count while he gives it up.
pub(super) struct RefCount(AtomicU32);

impl RefCount {
    /// Half of what fits, so that not even all threads that find it full at once make it overflow.
    const MAX: u32 = u32::MAX / 2;

    /// One more, for somebody who has one.
    pub(super) fn add(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) > Self::MAX {
            // Two thousand million clones that were forgotten: as `Arc` has it.
            std::process::abort();
        }
    }

    /// One less; `true` if it was the last one: whoever gave it up frees.
    #[must_use]
    pub(super) fn release(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
