//! `sleep_until_system`: sleeps until a wall-clock time, also if the clock is set meanwhile.
//!
//! A timer counts elapsed time; "at midnight" is a reading of a clock that people and protocols set,
//! forward and back. So such a sleep reads the wall clock at least once a second, and all such sleeps
//! read it in the same turn. Linux could report at once that the clock was set
//! (`TFD_TIMER_CANCEL_ON_SET`), at the price of a descriptor; kqueue cannot.

use crate::event_loop::{LoopHandle, WeakHandle};
use crate::task::lazy_timer::LazyTimer;
use std::future::poll_fn;
use std::time::{Duration, SystemTime};

/// How long it may take until a change of the time is seen.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until the system's time is `when` or later.
///
/// If the clock is set forward beyond `when`, or the machine was asleep then, this ends within a
/// second; if it is set back, this goes on waiting. It never ends while the time is earlier than
/// `when` ([C7]). While it waits the loop wakes once a second, once for all of them. A moment that
/// has passed yields once.
///
/// The time is that of the loop's [`Clock`](crate::clock::Clock): in a test, of one that is set
/// by hand.
///
/// # Panics
///
/// Outside a running loop, as [`sleep`](crate::sleep).
///
/// # Cancellation
///
/// Dropping it disarms its timer. Nothing is lost but the time.
///
/// # Examples
///
/// ```
/// use readily::time::sleep_until_system;
/// use readily::run;
/// use std::time::{Duration, SystemTime};
///
/// let soon = SystemTime::now() + Duration::from_millis(5);
/// run(sleep_until_system(soon))?;
/// assert!(SystemTime::now() >= soon);
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [C7]: crate::book::invariants#c7
pub async fn sleep_until_system(when: SystemTime) {
    let left = || {
        let weak = WeakHandle::current()
            .expect("slept outside a loop: use readily::run, or EventLoop::enter");
        let now = weak.with(LoopHandle::system_now);
        let now = now.expect("the current loop is there");
        when.duration_since(now).unwrap_or_default()
    };
    let mut wait = left();
    loop {
        let mut timer = match wait > LOOK {
            // The next whole second of the loop's clock, which is the same for all such sleeps.
            true => LazyTimer::after(Duration::from_nanos(1)).with_slack(LOOK),
            false => LazyTimer::after(wait),
        };
        poll_fn(|cx| timer.poll(cx)).await;
        // C7: by the wall, and not by the time that has gone by.
        wait = left();
        if wait.is_zero() {
            return;
        }
    }
}
