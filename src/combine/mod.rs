//! Several things at once, in one task: all of them, the first of them, each as it is done.
//!
//! They poll their futures inside the task that awaits them, so these may borrow from it and
//! end with it; whoever wants them to go on alone spawns them first. What is handed in by value is
//! dropped with the call, what is lent is not. None of them cancels a task.
//!
//! In the notes: ten coroutines that each sleep one second, gathered, take one ([N11]).
//!
//! # Rules
//!
//! - **[T5]** `gather` keeps the order, and polls only those that were woken.
//! - **[T7]** Of several that are ready at the same poll, the first named wins, whatever is left of the budget.
//! - **[T8]** Each output is given once, to whoever waits for it; giving the wait up loses none.
//! - **[T10]** `wait` ends no task and takes no result.
//! - **[T11]** What is shielded goes on when its waiter is gone, and its failure is told.
//!
//! [N11]: crate::book#n11
//! [T5]: crate::book::invariants#t5
//! [T7]: crate::book::invariants#t7
//! [T8]: crate::book::invariants#t8
//! [T10]: crate::book::invariants#t10
//! [T11]: crate::book::invariants#t11

mod as_completed;
mod gather;
mod poll_order;
mod poll_set;
mod race;
mod select;
mod shield;
mod task_handle;
mod wait;

pub use as_completed::{AsCompleted, as_completed};
pub use gather::{Gather, TryGather, gather, try_gather};
pub use race::{Race, race, race_fair};
pub use select::{Either, Select, select};
pub use shield::{Shielded, shield};
pub use task_handle::TaskHandle;
pub use wait::{ReturnWhen, Wait, wait};
