//! Waiting for time: for a while, until a moment, again and again, and not longer than that.
//!
//! All of it is an alarm of `task/alarm.rs`, a timer of the loop that wakes a waker. A limit is one
//! that is looked at after what it limits, so that a value that is there wins ([T6]).
//!
//! In the notes: [N11], [N14], [N18].
//!
//! # Rules
//!
//! - **[T6]** A value that is ready at the deadline wins over the timeout.
//! - **[T9]** A timeout tells its own expiry, and no other; a limit that is moved counts.
//! - **[C6]** A tick is never early, keeps to its series, and there is at most one a turn.
//! - **[C7]** Who waits for the wall's clock goes on while that is earlier, and sees within a second
//!   that it was set.
//! - **[C8]** Slack makes later by less than itself.
//!
//! [T6]: crate::book::invariants#t6
//! [N11]: crate::book#n11
//! [N14]: crate::book#n14
//! [N18]: crate::book#n18
//! [T9]: crate::book::invariants#t9
//! [C6]: crate::book::invariants#c6
//! [C7]: crate::book::invariants#c7
//! [C8]: crate::book::invariants#c8

mod interval;
mod sleep;
mod system_time;
mod timeout;
mod wait_for;

pub use interval::{Interval, MissedTick, interval, interval_at};
pub use sleep::{Sleep, fresh_now, sleep, sleep_until, yield_now};
pub use system_time::sleep_until_system;
pub use timeout::{ScopeEnded, TimeoutScope, timeout, timeout_at};
pub use wait_for::{Elapsed, wait_for, wait_until};
