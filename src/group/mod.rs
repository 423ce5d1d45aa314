//! Tasks that belong together: a group that is left when all have ended, a set that gives their
//! results one by one, and a token that tells many at once to end.
//!
//! A task that nobody waits for is easily forgotten; so is its error. In a [`TaskGroup`] neither
//! can be: it ends when its last child has ended, and has all of their errors. A [`JoinSet`] is
//! the same without the frame around it. A [`CancellationToken`] is for those who are to end by
//! themselves, and for callbacks.
//!
//! In asyncio this is `TaskGroup`; the other two have no counterpart there. They are not in the
//! notes.

mod cancel;
mod child;
mod completion_queue;
mod join_set;
mod task_group;
mod token;
mod token_tree;

pub use child::{Child, ChildError, ChildFailed, GroupError};
pub use join_set::JoinSet;
pub use task_group::TaskGroup;
pub use token::{CancelKey, CancellationToken, Cancelled, DropGuard};
