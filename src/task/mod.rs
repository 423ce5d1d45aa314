//! Tasks: coroutines that the loop polls, their wakers and their handles. This layer knows no
//! socket.
//!
//! A task is a future that the loop polls whenever it has been woken, and a cell in which its
//! result waits. `executor.rs` has the states and the rules, `cell/waker.rs` wakes a task,
//! `handle.rs` is the handle that `spawn` returns, and `future.rs` is a value that other code
//! settles.
//!
//! In the notes: coroutines, await, Task and Future ([N8]–[N10], [N13], [N15]–[N18]).
//!
//! [N8]: crate::book#n8
//! [N10]: crate::book#n10
//! [N13]: crate::book#n13
//! [N15]: crate::book#n15
//! [N18]: crate::book#n18

pub(crate) mod budget;
#[allow(unsafe_code)]
mod cell;
mod coroutine;
pub(crate) mod current;
mod done;
mod done_task;
pub(crate) mod duplex_waiters;
mod executor;
mod future;
mod future_cell;
pub(crate) mod handle;
pub(crate) mod join;
pub(crate) mod lazy_timer;
mod main_task;
mod peek;
mod ready_tasks;
mod remote;
mod remote_shared;
mod remote_task;
mod reporting;
mod shared;
mod shared_task;
mod task_local;
pub(crate) mod unclaimed_panic;
mod wait_done;
pub(crate) mod wait_queue;
pub(crate) mod waiters;
mod weak_spawn;

pub use budget::{BUDGET, consume_budget, unconstrained};
pub use coroutine::{CoroutineProbe, IsCoroutine, IsNotCoroutine};
pub use current::{CoroutineInfo, TaskRef};
pub(crate) use current::{all_tasks, current_task, keep_result};
pub use done::DoneCallbackKey;
pub use done_task::DoneTask;
pub use future::{Future, FutureError, InvalidStateError, Promise, create_future};
pub(crate) use handle::{Task, spawn};
pub(crate) use join::JoinError;
pub use join::TaskState;
pub(crate) use main_task::MainTask;
pub use remote_task::{RemoteTask, WaitError};
pub use shared::SharedFuture;
pub use shared_task::{SharedJoinError, SharedTask};
pub use task_local::{Scoped, TaskLocal, inherit};
pub use wait_done::WaitDone;
