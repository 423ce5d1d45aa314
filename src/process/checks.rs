//! Looking whether a child has ended: because its end was reported, or from time to time.
//!
//! In asyncio: `ThreadedChildWatcher`, which waits in a thread instead.

use super::running::{Running, resume};
use crate::event_loop::LoopHandle;
use crate::event_loop::panics::FirstPanic;
use std::time::Duration;

/// How long the first check waits that no event leads to, and how long it may become.
const FIRST_CHECK: Duration = Duration::from_millis(1);
const LAST_CHECK: Duration = Duration::from_millis(100);

impl Running {
    /// Checks again after a while, and then after longer ones, until the child has ended.
    pub(super) fn check_later(&self) {
        let delay = match self.next_check.get() {
            Some(delay) => (2 * delay).min(LAST_CHECK),
            None => FIRST_CHECK,
        };
        self.next_check.set(Some(delay));
        let check = self.check();
        self.handle.with(|handle| handle.call_later(delay, check));
    }

    /// Checks in a turn of its own, because the end was reported.
    pub(super) fn check_soon(&self) {
        let check = self.check();
        self.handle
            .with(|handle| handle.call_soon_from(self.site, check));
    }

    fn check(&self) -> impl FnOnce(&LoopHandle) + 'static {
        let me = self.me.clone();
        move |_| {
            let Some(me) = me.upgrade() else { return };
            let mut panic = FirstPanic::default();
            if !me.reap(&mut panic) {
                me.check_later();
            }
            resume(panic);
        }
    }
}
