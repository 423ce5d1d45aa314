//! Tasks: coroutines that the loop polls, their wakers and their handles. This layer knows no
//! socket.
//!
//! A task is a future that the loop polls whenever it has been woken, and a cell in which its
//! result waits. The files are in five layers, and their imports point down:
//!
//! - *Handles*: `handle.rs` is what `spawn` returns, `current.rs` a reference to a task of any type.
//! - *What a task awaits*, beside other tasks: `future.rs` is a value that other code settles.
//! - *Running*: `executor.rs` has the states and the rules, `join.rs` the end of a task.
//! - *A task*: `cell.rs` and its folder, in which `cell/waker.rs` wakes the task. The types are
//!   recursive, because a task refers to its executor, which has the tasks.
//! - *Parts*, which know no task: the tasks of an executor (`tasks.rs`), done-callbacks, queues of
//!   waiters. What they store is a parameter of their type.
//!
//! In the notes: coroutines, await, Task and Future ([N8]–[N10], [N13], [N15]–[N18]).
//!
//! [N8]: crate::book#n8
//! [N10]: crate::book#n10
//! [N13]: crate::book#n13
//! [N15]: crate::book#n15
//! [N18]: crate::book#n18

// Handles of tasks, and what they can do.
mod callback;
pub(crate) mod current;
mod done_task;
pub(crate) mod handle;
mod main_task;
mod peek;
mod remote;
mod remote_shared;
mod remote_task;
mod reporting;
mod shared_task;
mod wait_done;
mod weak_spawn;

// What a task awaits, beside other tasks.
pub(crate) mod duplex_waiters;
mod future;
mod future_cell;
pub(crate) mod lazy_timer;
mod shared;

// Running tasks, and their ends.
mod executor;
mod join;
pub(crate) mod unclaimed_panic;

// A task.
#[allow(unsafe_code)]
mod cell;

// Parts, which know no task.
pub(crate) mod budget;
mod coroutine;
mod done;
pub(crate) mod join_error;
mod task_local;
mod tasks;
pub(crate) mod wait_queue;
pub(crate) mod waiters;

pub use budget::{BUDGET, consume_budget, unconstrained};
pub use cell::TaskState;
pub(crate) use cell::is_task_waker;
pub use coroutine::{CoroutineProbe, IsCoroutine, IsNotCoroutine};
pub use current::{CoroutineInfo, TaskRef};
pub(crate) use current::{all_tasks, current_task, keep_result};
pub use done::DoneCallbackKey;
pub use done_task::DoneTask;
pub use future::{Future, InvalidStateError, Promise, create_future};
pub use future_cell::FutureError;
pub(crate) use handle::{Task, spawn};
pub(crate) use join_error::JoinError;
pub(crate) use main_task::MainTask;
pub use remote_task::{RemoteTask, WaitError};
pub use shared::SharedFuture;
pub use shared_task::{SharedJoinError, SharedTask};
pub use task_local::{Scoped, TaskLocal, inherit};
pub use wait_done::WaitDone;
