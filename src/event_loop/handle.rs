//! The weak way to a loop, on its own thread.
//!
//! A callback that held its own loop would keep it alive for ever: the loop owns the
//! callbacks (R048). So what is kept is this, and the loop is lent by it while it is there.
//!
//! In asyncio, `get_running_loop` gives the loop itself, which a garbage collector frees.

use super::local::Local;
use super::stderr::print;
use super::unhandled::Unhandled;
use std::rc::{Rc, Weak};

/// The weak, clonable way to a loop on its own thread.
///
/// A callback that held its own loop would keep it alive for ever; a handle does not.
#[derive(Clone, Debug)]
pub struct Handle {
    local: Weak<Local>,
}

impl Handle {
    #[inline]
    pub(super) fn new(local: Weak<Local>) -> Self {
        Self { local }
    }

    /// The loop that turns, or was entered, on this thread.
    #[doc(alias = "get_running_loop")]
    #[must_use]
    pub fn current() -> Option<Self> {
        super::current::with(Local::handle)
    }

    /// Whether another loop than this one runs here.
    #[inline]
    pub(crate) fn is_elsewhere(&self) -> bool {
        super::current::is_another(self.local.as_ptr())
    }

    /// Runs `f` with the loop, unless that is gone.
    pub fn with<R>(&self, f: impl FnOnce(&Local) -> R) -> Option<R> {
        self.local.upgrade().map(|local| f(&local))
    }

    /// Reports what no call returned; on standard error where the loop has gone, and its hook with it.
    #[cold]
    pub(crate) fn report(&self, unhandled: &Unhandled) {
        match self.upgrade() {
            Some(local) => local.report(unhandled),
            None => print(unhandled),
        }
    }

    pub(crate) fn upgrade(&self) -> Option<Rc<Local>> {
        self.local.upgrade()
    }
}
