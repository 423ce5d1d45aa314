//! An event loop to be read, embedded and tested: epoll or kqueue, callbacks, coroutines.
//!
//! It works on three kinds of thing: I/O, timers and callbacks ([N1]). One thread waits for all of
//! them, then acts. There are two styles, and they share one loop, one callback table and one
//! order.
//!
//! # Coroutines
//!
//! [`run`](run()) drives one future to its end; [`spawn`] adds more beside it, [`gather`] waits
//! for several, [`wait_for`] for a limited time. [`io`] has the sockets, [`sync`] the locks, queues
//! and channels by which coroutines wait for each other. The names are those of Python's asyncio.
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
//! branch of the notes' dispatch ([N7]), and [`Closures`] builds them from closures. Each callback
//! receives a [`Cx`], through which it may do everything but turn the loop.
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
//! # Where to find what
//!
//! **A program of coroutines**
//!
//! | name | use |
//! |---|---|
//! | [`run`](run()), [`Runner`] | Run one future to its end, once or several times on one loop. |
//! | [`spawn`], [`create_task`] | Run a future as a [`Task`], beside the caller. |
//! | [`current_task`], [`all_tasks`] | Name the task that runs, and all that have not ended. |
//! | [`task`] | Futures that are completed from outside, task-locals, references to tasks. |
//!
//! **A TCP server or client**
//!
//! | name | use |
//! |---|---|
//! | [`io::TcpListener`], [`io::TcpStream`] | Accept, connect, read and write, in coroutines. |
//! | [`io::Source`] | Wait for any other descriptor. |
//! | [`LoopHandle::listen`], [`LoopHandle::connect`] | The same with callbacks; [`event_loop::listen_tcp`] makes the socket. |
//!
//! **Time, and a limit of time**
//!
//! | name | use |
//! |---|---|
//! | [`sleep`], [`yield_now`] | Wait for a while, or let the other tasks run once. |
//! | [`interval`] | Tick at a fixed rate. |
//! | [`wait_for`], [`wait_until`] | Drop a future that has not ended in time: [`Elapsed`]. |
//! | [`timeout`] | The same for a block whose limit can be moved. |
//! | [`time`] | Deadlines, slack, and the system's clock. |
//!
//! **Several things at once**
//!
//! | name | use |
//! |---|---|
//! | [`gather`], [`try_gather`] | Wait for all of several futures. |
//! | [`race`], [`select`] | Wait for the first of them. |
//! | [`wait`], [`as_completed`] | Wait for tasks until a condition holds, or take each result as it comes. |
//! | [`shield`] | Let a future go on if its waiter is cancelled. |
//! | [`TaskGroup`], [`JoinSet`] | Tasks that end together, or whose results are taken one by one. |
//! | [`CancellationToken`] | Cancel a tree of tasks and callbacks. |
//!
//! **Coroutines that wait for each other**
//!
//! | name | use |
//! |---|---|
//! | [`Lock`], [`Semaphore`], [`Event`] | Exclude, limit, and announce. |
//! | [`Queue`] | Hand over items, with a bound if there is one. |
//! | [`sync`] | Conditions, barriers, and channels: one value, the last value, all values. |
//!
//! **Callbacks**
//!
//! | name | use |
//! |---|---|
//! | [`EventLoop`] | The loop itself: run it, or turn it once. |
//! | [`LoopHandle::register`], [`Key`] | Watch a descriptor; the key names the registration. |
//! | [`Interest`], [`Trigger`], [`Readiness`] | What is asked, how often it is reported, and what is reported. |
//! | [`LoopHandle::call_soon`], [`call_later`](LoopHandle::call_later), [`call_at`](LoopHandle::call_at) | Run a closure, now or later; [`CallHandle`] and [`TimerHandle`] cancel it. |
//!
//! **From another thread**
//!
//! | name | use |
//! |---|---|
//! | [`RemoteHandle`] | Send the loop a closure or a future, or stop it. |
//! | [`sync::channel`] | Send values from any thread to a coroutine. |
//!
//! **Embed it in another loop**
//!
//! | name | use |
//! |---|---|
//! | [`EventLoop::as_fd`], [`EventLoop::as_fd_with_deadline`] | One descriptor for the host to watch. |
//! | [`EventLoop::next_deadline`], [`EventLoop::turn_now`] | One deadline, and one call that never waits. |
//! | [`poll`] | The pollers alone, without a loop. |
//! | [`spi`] | For authors of pollers, kernels and tools for tests. |
//!
//! **What goes wrong, and tests**
//!
//! | name | use |
//! |---|---|
//! | [`Error`], [`JoinError`] | Why a call of the loop failed, and why a task has no result. |
//! | [`PanicPolicy`], [`LoopHandle::on_unhandled`], [`Unhandled`] | What happens to a panic or an error that no caller sees. |
//! | [`LoopHandle::set_debug`] | Report slow callbacks, deadlocks and more. |
//! | [`clock::Manual`] | Time that a test moves; the crate `readily-testing` has a simulated kernel. |
//!
//! # Which type for what
//!
//! | type | is | where |
//! |---|---|---|
//! | [`EventLoop`], [`Runner`] | the loop itself: they turn it | its thread |
//! | [`LoopHandle`] | everything that a loop does except turning; the others dereference to it | its thread |
//! | [`Cx`] | the same, and I/O on the callback's own descriptor | in a callback |
//! | [`WeakHandle`] | a weak reference to it, to be stored | its thread |
//! | [`RemoteHandle`] | sends it a closure, a future to make, a stop | any thread |
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

#[allow(unreachable_pub)] // what the modules above use; the clock alone is public, below
mod base;
#[cfg(doc)]
pub mod book;
pub mod combine;
pub mod event_loop;
pub mod group;
pub mod io;
pub mod poll;
mod run;
pub mod spi;
pub mod sync;
pub mod task;
pub mod time;

// What nearly every program uses. A name that is public here has no other public path, and what is
// not here has one in its module (`tests/tidy`).
#[doc(inline)]
pub use base::clock;
#[doc(inline)]
pub use combine::{
    as_completed::as_completed,
    gather::{gather, try_gather},
    race::race,
    select::select,
    shield::shield,
    wait::wait,
};
#[doc(inline)]
pub use event_loop::{
    callbacks::{Callbacks, Closures},
    cx::Cx,
    error::Error,
    event_loop::EventLoop,
    loop_handle::LoopHandle,
    panics::PanicPolicy,
    registry::Key,
    remote::RemoteHandle,
    timer_handles::{CallHandle, TimerHandle},
    unhandled::Unhandled,
    weak_handle::WeakHandle,
};
#[doc(inline)]
pub use group::{join_set::JoinSet, task_group::TaskGroup, token::CancellationToken};
#[doc(inline)]
pub use poll::interest::{Interest, Readiness, Trigger};
#[doc(inline)]
pub use run::{Runner, RunnerBuilder, run};
#[doc(inline)]
pub use sync::{event::Event, lock::Lock, queue::Queue, semaphore::Semaphore};
// The name that asyncio and the notes give to `spawn` (N18).
#[doc(no_inline)]
pub use task::handle::spawn as create_task;
#[doc(inline)]
pub use task::{
    current::{all_tasks, current_task},
    handle::{Task, spawn},
    join::JoinError,
};
#[doc(inline)]
pub use time::{
    interval::interval,
    sleep::{sleep, yield_now},
    timeout::timeout,
    wait_for::{Elapsed, wait_for, wait_until},
};

/// What [`iscoroutinefunction!`] expands to.
#[doc(hidden)]
pub mod coroutine_probe {
    pub use crate::task::{CoroutineProbe, IsCoroutine, IsNotCoroutine};
}
