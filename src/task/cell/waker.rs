//! The part of a task that wakers touch: its number, the queued flag, and the loop's inbox.
//!
//! A waker must work from any thread and long after its loop has gone, while the future it wakes
//! never leave its thread. So this struct has all that a waker touches, and no more: the task's
//! number, the way to the loop's inbox, and a count of the shares in the cell. It is a part of the task's cell
//! (`cell.rs`), which is freed with the last share. On the loop's own thread a wake is a flag, a
//! comparison and a push; on any other thread it goes through the inbox, and notifies the poller
//! once per sleep.
//!
//! In the notes: the other half of `await` (N10), by which a pending task is called back.
//!
//! # Orderings
//!
//! - The queued flag (`state.rs`) is swapped with `AcqRel` on both sides: one of two swaps comes first. If the wake's
//!   does, the poll that clears the flag afterwards sees all that the waking thread had written; if
//!   the poll's does, the wake finds the flag cleared and queues the task once more (T2).
//! - The count is that of `Arc`. Only the owner of a share adds another, and that publishes
//!   nothing: `Relaxed`. Releasing one is `AcqRel`: all that any thread did with the cell happens
//!   before it releases its share, and the thread that releases the last share, and frees, comes
//!   after all the others. (`Arc` acquires by a fence, in the last release only; ThreadSanitizer
//!   does not know of fences.)

use super::Executor;
use super::loop_ref::LoopPtr;
use super::state::{LocalWake, State, Wake};
use crate::base::sync::AtomicU32;
use crate::event_loop::{Inbox, current};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

#[cfg(all(loom, test))]
mod models;

pub(super) struct WakeState {
    pub(super) shared: LoopPtr<Executor>,
    /// The serial number of the task on its loop, from 1.
    pub(super) number: u64,
    pub(super) ref_count: RefCount,
    pub(super) state: State,
}

impl WakeState {
    /// The state of a task that is about to be queued for the first time.
    pub(super) fn new(number: u64, is_main: bool, shared: LoopPtr<Executor>) -> Self {
        Self {
            shared,
            number,
            ref_count: RefCount(AtomicU32::new(1)),
            state: State::new(is_main),
        }
    }

    #[inline]
    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        self.shared.inbox()
    }

    /// Whether wakes of other threads arrive only as messages, and leave the flag as it is.
    pub(super) fn is_recording(&self) -> bool {
        self.inbox().is_recording()
    }

    /// Queues the task, unless it is queued already. On the loop's thread `queue` does that, while
    /// the future of the task is there; on another one the inbox, to which the waker is sent that
    /// `waker` makes. A main task is queued by `queue_main`.
    #[inline]
    pub(super) fn wake(
        &self,
        queue: impl FnOnce(),
        queue_main: impl FnOnce(),
        waker: impl FnOnce() -> Waker,
    ) {
        if !current::is_own_loop(self.shared.loop_id()) {
            return self.wake_remote(waker);
        }
        match self.state.wake_local() {
            LocalWake::Queue => queue(),
            LocalWake::Nothing => {}
            LocalWake::Rare if self.state.wake_rare() => queue_main(),
            LocalWake::Rare => {}
        }
    }

    #[cold]
    fn wake_remote(&self, waker: impl FnOnce() -> Waker) {
        // In a recording each wake from another thread is a message: whether it finds the flag set
        // depends on timing.
        if self.inbox().is_recording() || self.state.wake() == Wake::Queue {
            self.inbox().wake_task(self.number, waker());
        }
    }
}

/// The number of shares that keep a cell from being freed: each waker has one, and all references
/// of the loop's thread have one together. A type of its own, so that a release borrows no more
/// than the count.
pub(super) struct RefCount(AtomicU32);

impl RefCount {
    /// Half of the range: not even all threads that find the count full at once make it overflow.
    const MAX: u32 = u32::MAX / 2;

    /// Adds a share; the caller owns one.
    pub(super) fn add(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) > Self::MAX {
            // Two thousand million leaked clones: aborts, as `Arc` does.
            std::process::abort();
        }
    }

    /// Whether there is no other share than that of the caller. Then no other thread has one to clone,
    /// and all that the others did happened before this.
    #[inline]
    pub(super) fn is_unique(&self) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }

    /// Releases a share; `true` if it was the last one: the caller then frees the cell.
    #[must_use]
    pub(super) fn release(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
