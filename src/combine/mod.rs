//! Several futures at once, in one task: wait for all, for the first, or for each as it completes.
//!
//! These functions poll their futures inside the task that awaits them, so the futures may borrow
//! from that task, and end with it. Spawned tasks go on by themselves. A future that is passed by
//! value is dropped with the call; a future that is lent (`&mut`) is not. None of the functions
//! cancels a task.
//!
//! In the notes: ten coroutines that each sleep one second, run by `gather`, take one second ([N11]).
//!
//! # Rules
//!
//! - **[T5]** `gather` keeps the order, and polls only those that were woken.
//! - **[T7]** Of several futures that are ready at the same poll, the first in the list wins, whatever is left of the budget.
//! - **[T8]** Each output is returned once, to the task that waits for it; a dropped wait loses none.
//! - **[T10]** `wait` ends no task and takes no result.
//! - **[T11]** Shielded work goes on after its waiter is dropped, and its failure is reported.
//!
//! [N11]: crate::book#n11
//! [T5]: crate::book::invariants#t5
//! [T7]: crate::book::invariants#t7
//! [T8]: crate::book::invariants#t8
//! [T10]: crate::book::invariants#t10
//! [T11]: crate::book::invariants#t11

pub(crate) mod as_completed;
pub(crate) mod gather;
mod poll_order;
mod poll_set;
pub(crate) mod race;
pub(crate) mod select;
pub(crate) mod shield;
mod task_handle;
pub(crate) mod wait;

pub use as_completed::AsCompleted;
pub use gather::{Gather, TryGather};
pub use race::{Race, race_fair};
pub use select::{Either, Select};
pub use shield::Shielded;
pub use task_handle::TaskHandle;
pub use wait::{ReturnWhen, Wait};
