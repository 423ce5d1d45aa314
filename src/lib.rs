//! An event loop to be read, embedded and tested: epoll or kqueue, callbacks, coroutines.
//!
//! It works on three kinds of thing: I/O, timers and callbacks ([N1]). One thread waits for all of
//! them, then acts. There are two styles, and they share one loop, one callback table and one
//! order.
//!
//! # Coroutines
//!
//! [`run`](run()) drives one future to its end; [`spawn`] adds more beside it, [`gather`] waits
//! for several, [`wait_for`] for a while only. [`io`] has the sockets, [`sync`] the locks, queues and
//! channels by which coroutines wait for each other. The names are those of Python's asyncio.
//!
//! ```
//! use readily::{gather, run, sleep, spawn};
//! use std::time::Duration;
//!
//! let (answer, naps) = run(async {
//!     let task = spawn(async { 21 });
//!     let naps = gather((0..10).map(|_| sleep(Duration::from_millis(1)))).await;
//!     (task.await, naps.len())
//! })?;
//! assert_eq!((answer.unwrap(), naps), (21, 10));
//! # Ok::<(), readily::Error>(())
//! ```
//!
//! # Callbacks
//!
//! An [`EventLoop`] calls back what was registered with it: [`Callbacks`] has one method for each
//! branch of the notes' dispatch ([N7]), and [`Closures`] puts them together from closures.
//! A callback is given a [`Cx`], through which it may do everything but turn the loop.
//!
//! ```
//! use readily::{Closures, EventLoop, Interest};
//! use std::io::Write;
//! use std::os::unix::net::UnixStream;
//!
//! let mut event_loop = EventLoop::new()?;
//! # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
//! let (here, mut there) = UnixStream::pair()?;
//! let read = Closures::new().on_read(|cx| {
//!     let mut buffer = [0; 8];
//!     assert_eq!(cx.read(&mut buffer).unwrap(), 2);
//!     cx.close();
//! });
//! event_loop.register(here, Interest::READ, read)?;
//! there.write_all(b"hi")?;
//! event_loop.run()?; // ends by itself: nothing is left to wait for
//! # Ok::<(), readily::Error>(())
//! ```
//!
//! # Which type for what
//!
//! | type | is | where |
//! |---|---|---|
//! | [`EventLoop`], [`Runner`] | the loop itself: they turn it | its thread |
//! | [`LoopHandle`] | what may be asked of it but to turn; the others dereference to it | its thread |
//! | [`Cx`] | the same, and I/O on the callback's own descriptor | in a callback |
//! | [`WeakHandle`] | a weak way to it, to be kept | its thread |
//! | [`RemoteHandle`] | the way in: hand it a closure, a future to make, a stop | any thread |
//!
//! # Reading on
//!
//! The [`book`] explains, in nine chapters, how the loop works: from one `epoll_wait(2)` to tasks,
//! to queues between them, and to testing them. It has [asyncio beside
//! readily](crate::book::side_by_side), and [the plan of the source](crate::book::architecture).
//! Numbers such as `N7` stand for [a line of the notes](crate::book#the-notes) that the project
//! began with, and `L2` or `T1` for [an invariant](crate::book::invariants).
//!
//! Linux is run and tested. macOS, FreeBSD and NetBSD are type-checked and linted, and were never
//! run.
//!
//! [N1]: crate::book#n1
//! [N7]: crate::book#n7
#![deny(unsafe_code)]

// The kqueue of `readily_testing::emulated` is compiled into this crate by `.ci/kqueue-on-linux`; its
// sources name this crate as all do.
#[cfg(readily_emulated)]
extern crate self as readily;

#[doc(hidden)]
pub mod base;
#[cfg(doc)]
pub mod book;
pub mod combine;
pub mod event_loop;
pub mod group;
pub mod io;
pub mod poll;
mod run;
pub mod sync;
pub mod task;
pub mod time;

pub use base::clock;
pub use combine::{
    AsCompleted, Either, ReturnWhen, Shielded, Wait, as_completed, gather, race, race_fair, select,
    shield, try_gather, wait,
};
pub use event_loop::{
    Accepted, Branch, CallHandle, Callbacks, CloseReport, Closures, Cx, Descriptor, EnterGuard,
    Error, EventLoop, ExitReason, Futurelock, Key, LoopClosed, LoopHandle, Origin, PanicPolicy,
    RegisterError, RemoteHandle, Stats, TimerHandle, Unhandled, WeakHandle, listen_tcp,
};
pub use group::{CancellationToken, GroupError, JoinSet, TaskGroup};
pub use poll::{Interest, Readiness, Trigger};
pub use run::{Runner, RunnerBuilder, run};
pub use sync::{
    Barrier, BoundedSemaphore, Condition, Event, LifoQueue, Lock, PriorityQueue, Queue, Semaphore,
};
#[doc(no_inline)]
pub use task::spawn as create_task;
pub use task::{
    BUDGET, CoroutineInfo, Future, FutureError, InvalidStateError, JoinError, Promise, RemoteTask,
    SharedFuture, Task, TaskLocal, TaskRef, TaskState, WaitError, all_tasks, consume_budget,
    create_future, current_task, inherit, spawn, unconstrained,
};
pub use time::{
    Elapsed, Interval, MissedTick, ScopeEnded, Sleep, TimeoutScope, fresh_now, interval,
    interval_at, sleep, sleep_until, sleep_until_system, timeout, timeout_at, wait_for, wait_until,
    yield_now,
};

/// What [`iscoroutinefunction!`] expands to.
#[doc(hidden)]
pub mod coroutine_probe {
    pub use crate::task::{CoroutineProbe, IsCoroutine, IsNotCoroutine};
}
