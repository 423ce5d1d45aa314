//! Groups of tasks: a group that waits for all of its children, a set that returns results one by
//! one, and a token that requests many tasks to end.
//!
//! A spawned task is easily forgotten, and so is its error. In a [`TaskGroup`] neither is: the group
//! ends when its last child has ended, and returns all errors. A [`JoinSet`] is the same without a
//! scope. A [`CancellationToken`] is for tasks that are to end by themselves, and for callbacks.
//!
//! In asyncio this is `TaskGroup`; the other two have no counterpart there.
//!
//! [`TaskGroup`]: crate::TaskGroup
//! [`JoinSet`]: crate::JoinSet
//! [`CancellationToken`]: crate::CancellationToken

mod cancel;
mod child;
mod completion_queue;
mod group_state;
pub(crate) mod join_set;
pub(crate) mod task_group;
pub(crate) mod token;
mod token_tree;

pub use child::{Child, ChildError, ChildFailed, GroupError};
pub use token::{CancelKey, Cancelled, DropGuard};
