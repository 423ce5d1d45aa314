//! Which loop is running here: the crate's two thread-locals.
//!
//! `spawn`, `sleep` and wakers find their loop through the first, so a wake at home costs
//! one comparison and a push. The second remembers that a loop is turning, since to turn
//! one inside a callback of another, or of itself, would block the outer one (N5).
//!
//! In asyncio this is `get_running_loop`.

use super::error::Error;
use super::inbox::Inbox;
use super::local::Local;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
    static TURNING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with this thread's loop; `None` where there is none, or where the thread is
/// ending and its locals are gone (R096).
pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    // Cloned, so that `f`, which may be user code, does not run under the borrow (L8).
    let local = CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()?;
    Some(f(&local))
}

/// Queues a job if its home is this thread's loop. No lock, no call to the system, no
/// reference count.
pub(crate) fn wake_job_at_home(home: &Arc<Inbox>, job: u64) -> bool {
    CURRENT
        .try_with(|current| match &*current.borrow() {
            Some(local) if Arc::ptr_eq(&local.inbox, home) => {
                local.queue_woken_job(job);
                true
            }
            _ => false,
        })
        .unwrap_or(false)
}

/// Makes a loop this thread's loop until it is dropped.
#[must_use]
pub(super) struct Here {
    before: Option<Rc<Local>>,
    turning: bool,
}

impl Here {
    /// For `spawn` and the like, outside a turn.
    pub(super) fn enter(local: &Rc<Local>) -> Self {
        let before = CURRENT.try_with(|current| current.replace(Some(Rc::clone(local))));
        Self {
            before: before.ok().flatten(),
            turning: false,
        }
    }

    /// For a turn; L3: not inside another.
    pub(super) fn begin_turn(local: &Rc<Local>) -> Result<Self, Error> {
        if TURNING.replace(true) {
            return Err(Error::Nested);
        }
        let mut here = Self::enter(local);
        here.turning = true;
        Ok(here)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let before = self.before.take();
        // The replaced one is dropped after the borrow: it may be the last of its loop.
        let _replaced = CURRENT.try_with(|current| current.replace(before));
        if self.turning {
            TURNING.set(false);
        }
    }
}
