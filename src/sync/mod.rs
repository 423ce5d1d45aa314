//! Coroutines that wait for each other: locks, events, queues, channels.
//!
//! All but [`channel`] belong to one thread and use no atomics. All of them use one queue of waiters
//! (`task/wait_queue.rs`): first come, first served, and a grant cannot be taken from its waiter. So a waiting
//! future can be dropped at any moment, and only its place is lost: its grant goes to the next waiter. `docs/invariants.md` has the rules, [Q1] to [Q9].
//!
//! The names are those of asyncio, whose locks and queues these are.
//!
//! Only a poll of a future can fetch what the future was granted. A future that is kept without being
//! polled, for instance after a [`select`](crate::select()) that it was lent to, keeps the grant from
//! all waiters behind it: see [futurelock](crate::select#futurelock).
//!
//! A type with one side has a constructor: `new`, or, if it can be full, `bounded` and `unbounded`. A
//! channel with two sides is a module, because the two types have the same names in each, and a function
//! makes both: `channel`, or, if it can be full, `bounded` and `unbounded`. What does not
//! wait is `try_`, or in a queue, as in asyncio, `_nowait`; where that may fail for several reasons,
//! its error says for which.
//!
//! # Owned waits
//!
//! The types with one side are handles, and a clone is the same lock or queue. A future of `acquire`, `wait`, `get`
//! and so on borrows its handle. To wait in a task of its own, use the function with `_owned` at its end, whose
//! future has a clone in it: `spawn(lock.acquire_owned())`, `spawn(event.wait_owned())`, `spawn(queue.get_owned())`.
//! Guards, permits and reservations own what they need in any case. A receiver has a position of its own: move it
//! into the task, `spawn(async move { receiver.recv().await })`; the one of [`oneshot`] is a future itself.
//!
//! # Order of service, and what a dropped future loses
//!
//! | wait | order of service | what a dropped wait loses |
//! |---|---|---|
//! | [`Lock`], [`Semaphore`], [`BoundedSemaphore`] | first in, first out; no waiter overtakes another | its place; its grant goes to the next waiter |
//! | [`Event`], [`Barrier`] | all waiters | nothing; a barrier counts one less |
//! | [`Condition`] | the first *n*, or all | its place, and its guard; its notification goes to the next waiter |
//! | [`Queue::get`] and [`get_work_item`](Queue::get_work_item), and of the two other kinds | first in, first out; no waiter overtakes another | its place; the item goes to the next waiter |
//! | [`Queue::put`], and of the two other kinds | first in, first out; no waiter overtakes another | its place, and the item if it was not in yet |
//! | [`Queue::reserve`], and of the two other kinds | first in, first out, in one queue with `put` | its place; its grant goes to the next waiter |
//! | [`Queue::join`] | all waiters | nothing |
//! | [`oneshot`], [`watch`], [`broadcast`], [`channel`] | each receiver | nothing |
//!
//! [Q1]: crate::book::invariants#q1
//! [Q9]: crate::book::invariants#q9

mod barrier;
pub mod broadcast;
pub mod channel;
mod condition;
mod errors;
pub(crate) mod event;
pub(crate) mod lock;
pub mod oneshot;
mod owned;
mod permits;
pub(crate) mod queue;
mod queue_futures;
mod queue_operations;
mod queue_order;
mod queue_state;
mod reservation;
mod ring;
pub(crate) mod semaphore;
mod serving;
mod thread_queue;
mod wait_until;
pub mod watch;
mod work_item;

pub use barrier::{Barrier, BrokenBarrierError};
pub use condition::Condition;
pub use errors::{Closed, GetError, PutError};
pub(crate) use event::Event;
pub(crate) use lock::Lock;
pub use lock::LockGuard;
pub(crate) use queue::Queue;
pub use queue::{LifoQueue, PriorityQueue, TaskDoneError};
pub use queue_order::{Fifo, Lifo, MinFirst, QueueOrder};
pub use reservation::Reservation;
pub(crate) use semaphore::Semaphore;
pub use semaphore::{BoundedSemaphore, Permit, ReleaseError};
pub use work_item::WorkItem;
