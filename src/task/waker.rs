//! What wakes a task: a number, a flag, and the way home.
//!
//! A waker must work from any thread and long after its loop has gone, while the future it
//! wakes may never leave its thread. So it holds no future, only the number of its job and
//! the loop's inbox. On the loop's own thread a wake is a flag, a comparison and a push; from
//! anywhere else it goes through the inbox, and rings once per sleep.
//!
//! In the notes this is the other half of `await` (N10): who gave way is called back.

use crate::base::sync::AtomicBool;
use crate::event_loop::{Inbox, current};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Wake;

#[cfg(all(loom, test))]
mod models;

pub(crate) struct Wakeup {
    job: u64,
    /// Whether the job stands in a queue already.
    queued: AtomicBool,
    home: Arc<Inbox>,
}

impl Wakeup {
    /// For a job that has just been queued for the first time.
    pub(crate) fn new(job: u64, home: Arc<Inbox>) -> Arc<Self> {
        Arc::new(Self {
            job,
            queued: AtomicBool::new(true),
            home,
        })
    }

    /// Whether wakes of other threads come by letter only, and leave the flag as it is.
    pub(crate) fn is_taped(&self) -> bool {
        self.home.is_taped()
    }

    /// T2: to be called before each poll, so that a wake that comes during the poll finds
    /// the flag low and queues the job once more. Whether it was up.
    pub(crate) fn lower(&self) -> bool {
        // `AcqRel`: what the waker wrote before it raised the flag is seen by the poll.
        self.queued.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // On tape each wake of another thread is a letter: whether it found the flag up is chance.
        if self.home.is_taped() && !current::is_at_home(&self.home) {
            return self.home.wake_job(self.job);
        }
        // T1: in the queue at most once.
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if !current::wake_job_at_home(&self.home, self.job) {
            self.home.wake_job(self.job);
        }
    }
}
