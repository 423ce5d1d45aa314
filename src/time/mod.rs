//! Sleeps, intervals and limits of time.
//!
//! Each of them is a timer of the loop that wakes a waker (`task/lazy_timer.rs`). A limit polls its
//! timer after the future that it limits, so that a value that is ready wins ([T6]).
//!
//! In the notes: [N11], [N14], [N18].
//!
//! # Rules
//!
//! - **[T6]** A value that is ready at the deadline wins over the timeout.
//! - **[T9]** A timeout reports its own expiry, and no other; a limit that is moved counts.
//! - **[C6]** A tick is never early, keeps to its series, and there is at most one a turn.
//! - **[C7]** A sleep until a wall-clock time lasts while the wall clock is earlier, and notices within a
//!   second that the clock was set.
//! - **[C8]** Slack delays a timer by less than itself.
//!
//! [T6]: crate::book::invariants#t6
//! [N11]: crate::book#n11
//! [N14]: crate::book#n14
//! [N18]: crate::book#n18
//! [T9]: crate::book::invariants#t9
//! [C6]: crate::book::invariants#c6
//! [C7]: crate::book::invariants#c7
//! [C8]: crate::book::invariants#c8

pub(crate) mod interval;
pub(crate) mod sleep;
mod system_time;
pub(crate) mod timeout;
pub(crate) mod wait_for;

pub use interval::{Interval, MissedTick, interval_at};
pub use sleep::{Sleep, fresh_now, sleep_until};
pub use system_time::sleep_until_system;
pub use timeout::{ScopeEnded, TimeoutScope, timeout_at};
