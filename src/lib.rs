//! A single-threaded event loop on epoll or kqueue, with callbacks and coroutines.
//!
//! The loop has three kinds of work: I/O, timers, and closures that are queued to run soon
//! (*callbacks* in [N1], and in the documentation of asyncio's `call_soon`).
//! One thread waits until work of any kind is ready, and then runs it. Numbers such as `N7` refer
//! to [the study notes](crate::book#the-notes) on asyncio that the project began with, and numbers
//! such as `L2` or `T1` to [the invariants](crate::book::invariants).
//!
//! A program can be written in two styles, callbacks and coroutines. Both use the same
//! loop, the same order of execution, and the same table of *registrations* (a registration is a
//! descriptor, the events that the program asks for, and their callbacks).
//!
//! # Coroutines
//!
//! [`run`](run()) runs one future to completion, and [`spawn`] starts further futures as tasks.
//! [`gather`] waits for several futures, and [`wait_for`] waits for one future for a limited time.
//! [`io`] contains the sockets, and [`sync`] contains the locks, queues and channels with which
//! coroutines wait for each other. Most names are those of Python's asyncio.
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
//! An [`EventLoop`] runs the callbacks of a registered descriptor when the descriptor has an event.
//! [`Callbacks`] has one method for each kind of event ([N7]: connect, read, write, hangup, and
//! anything else), and a few more, for instance for a deadline. [`Closures`] implements it with
//! closures. Each callback receives a [`Cx`], with which it can do everything except run the loop
//! itself.
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
//! event_loop.run()?; // returns, because no registration is left
//! # Ok::<(), readily::Error>(())
//! ```
//!
//! # Where to find what
//!
//! **A program of coroutines**
//!
//! | name | use |
//! |---|---|
//! | [`run`](run()), [`Runner`] | Run one future to completion, or several, one after another, on one loop. |
//! | [`spawn`], [`create_task`] | Run a future as a [`Task`], concurrently with the caller. |
//! | [`current_task`], [`all_tasks`] | Get the task that is running, or all tasks that have not ended. |
//! | [`task`] | Futures whose result other code sets, task-local variables, and references to tasks. |
//!
//! **A TCP server or client**
//!
//! | name | use |
//! |---|---|
//! | [`io::TcpListener`], [`io::TcpStream`] | Accept, connect, read and write, in coroutines. |
//! | [`io::Async`] | Read, write and wait for any other descriptor, and for files. |
//! | [`io::stdin`], [`io::stdout`] | Read and write the standard streams: a terminal, a pipe, a socket or a file. |
//! | [`LoopHandle::listen`], [`LoopHandle::connect`] | Accept and connect with callbacks; [`event_loop::listen_tcp`] makes the listening socket. |
//!
//! **Time and time limits**
//!
//! | name | use |
//! |---|---|
//! | [`sleep`], [`yield_now`] | Wait for a time, or let the other ready tasks run once. |
//! | [`interval`] | Tick at a fixed rate. |
//! | [`wait_for`], [`wait_until`] | Wait for a future for a limited time; after that, drop it and return [`Elapsed`]. |
//! | [`timeout`] | Run a block of code that can change its own time limit. |
//! | [`time`] | Deadlines, slack (by how much a timer may be late), and the system's clock. |
//!
//! **Several things at once**
//!
//! | name | use |
//! |---|---|
//! | [`gather`], [`try_gather`] | Wait for all of several futures. |
//! | [`race`], [`select`] | Wait for the first of several futures. |
//! | [`wait`], [`as_completed`] | Wait until one of several tasks has ended, one has failed, or all have ended; or take the result of each task when it ends. |
//! | [`shield`] | Let a future continue if its waiter is cancelled. |
//! | [`TaskGroup`], [`JoinSet`] | Wait for all tasks of a group, or cancel all of them; take the results of a set one by one. |
//! | [`CancellationToken`] | A request to end, which many tasks and callbacks share; child tokens form a tree. |
//!
//! **Coroutines that wait for each other**
//!
//! | name | use |
//! |---|---|
//! | [`Lock`], [`Semaphore`], [`Event`] | Protect a value, limit the number of concurrent users, or wait for a flag. |
//! | [`Queue`] | Pass items between tasks; a bounded queue makes the producers wait. |
//! | [`sync`] | Conditions, barriers, and channels for one value (`oneshot`), the latest value (`watch`) or every value (`broadcast`, `channel`). |
//!
//! **Signals and child processes**
//!
//! | name | use |
//! |---|---|
//! | [`process::Command`], [`process::Child`] | Start a program, talk to it through pipes, wait for its end and signal it. |
//! | [`io::PipeReader`], [`io::PipeWriter`] | Read and write pipes and FIFOs, in coroutines. |
//! | [`signal::signal`], [`signal::ctrl_c`] | Wait for a signal of the system, in coroutines. |
//! | [`LoopHandle::on_signal`] | Run a callback for each signal. |
//! | [`RunnerBuilder::cancel_on_sigint`] | Let Ctrl-C cancel a run. |
//!
//! **Code that blocks**
//!
//! | name | use |
//! |---|---|
//! | [`run_blocking`](run_blocking()), [`LoopHandle::run_blocking_with`] | Run a closure on a thread of the loop's pool, and await its result or get it in a callback. |
//! | [`ThreadPool`] | A pool of your own, with bounds, lanes and a shutdown. |
//! | [`blocking`] | The futures and errors of pools, and threads for jobs that never end. |
//!
//! **More than one core**
//!
//! | name | use |
//! |---|---|
//! | [`cores::Cores`] | One loop on each core, in threads: spawn on a core, serve connections on all, end all together. |
//!
//! **Callbacks**
//!
//! | name | use |
//! |---|---|
//! | [`EventLoop`] | The loop itself. `run` runs it until it has no work; `turn` waits once and runs what is ready. |
//! | [`LoopHandle::register`], [`Key`] | Watch a descriptor; the key names the registration. |
//! | [`Interest`], [`Trigger`], [`Readiness`] | The conditions that a program asks for, how often they are reported, and the conditions that the kernel reports. |
//! | [`transport::Protocol`], [`transport::Transport`] | A connection with a buffer for what is written; asyncio's protocols. [`LoopHandle::create_server`] and [`LoopHandle::create_connection`] make them. |
//! | [`LoopHandle::call_soon`], [`call_later`](LoopHandle::call_later), [`call_at`](LoopHandle::call_at) | Queue a closure to run soon, after a delay or at a given time; [`CallHandle`] and [`TimerHandle`] cancel it. |
//! | [`LoopHandle::timer`] | Make a [`Timer`], whose callback is given once: it is started, moved and stopped without an allocation. |
//!
//! **From another thread**
//!
//! | name | use |
//! |---|---|
//! | [`RemoteHandle`] | Send the loop a closure, or a closure that makes a future; or stop the loop. |
//! | [`sync::channel`] | Send values from any thread to a coroutine. |
//!
//! **Embedding in another loop**
//!
//! | name | use |
//! |---|---|
//! | [`EventLoop::as_fd`], [`EventLoop::as_fd_with_deadline`] | One descriptor that the host (the program with the other loop) watches. |
//! | [`EventLoop::next_deadline`], [`EventLoop::turn_now`] | The deadline for a host that watches `as_fd`, and the call that runs one turn without sleeping. |
//! | [`poll`] | The pollers (readily's interfaces to epoll, kqueue and `poll(2)`), without a loop. |
//! | [`spi`] | The service provider interface: for authors of pollers, simulated kernels and test tools. |
//!
//! **Errors, reports and tests**
//!
//! | name | use |
//! |---|---|
//! | [`Error`], [`JoinError`] | Why a call of the loop failed, and why a task has no result. |
//! | [`PanicPolicy`], [`LoopHandle::on_unhandled`], [`Unhandled`] | What happens to a panic or an error that no caller sees. |
//! | [`LoopHandle::set_debug`] | Report slow callbacks, deadlocks and more. |
//! | [`clock::Manual`] | A clock that a test advances. (For a simulated kernel see the crate `readily-testing`.) |
//!
//! # Which type for what
//!
//! | type | is | where |
//! |---|---|---|
//! | [`EventLoop`], [`Runner`] | the owner of the loop; the only types that can run it | its thread |
//! | [`LoopHandle`] | all operations except running the loop; `EventLoop`, `Runner` and `Cx` dereference to it | its thread |
//! | [`Cx`] | the argument of a callback: a `LoopHandle`, and I/O on the callback's own descriptor | in a callback |
//! | [`WeakHandle`] | a weak reference to a `LoopHandle`, which a program can store | its thread |
//! | [`RemoteHandle`] | sends the loop a closure, a closure that makes a future, or a stop request | any thread |
//!
//! # Reading on
//!
//! The [`book`] explains, in thirteen chapters, how the loop works: from one `epoll_wait(2)` to tasks,
//! queues and testing. It also has [asyncio and readily side by side](crate::book::side_by_side),
//! and [the layers and modules of the source](crate::book::architecture).
//!
//! readily is tested on Linux. For macOS, FreeBSD and NetBSD it is type-checked and linted, but it
//! has never run on them.
//!
//! [N1]: crate::book#n1
//! [N7]: crate::book#n7
#![deny(unsafe_code)]

// The kqueue of `readily_testing::emulated` is compiled into this crate by `.ci/kqueue-on-linux`; its
// sources name this crate as all do.
#[cfg(readily_emulated)]
extern crate self as readily;

#[allow(unreachable_pub)] // used by the higher layers; only `clock` is public, see below
mod base;
pub mod blocking;
pub mod book;
pub mod combine;
pub mod cores;
pub mod event_loop;
pub mod group;
pub mod io;
pub mod poll;
pub mod process;
pub mod process_pool;
mod run;
pub mod signal;
pub mod spi;
pub mod sync;
pub mod task;
pub mod time;
pub mod transport;

// What nearly every program uses. A name that is public here has no other public path, and what is
// not here has one in its module (`tests/tidy`).
#[doc(inline)]
pub use base::clock;
#[doc(inline)]
pub use blocking::{loop_pool::run_blocking, pool::ThreadPool};
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
    call_handles::{CallHandle, TimerHandle},
    callbacks::Closures,
    error::Error,
    event_loop::EventLoop,
    loop_handle::{Callbacks, Cx, LoopHandle},
    panics::PanicPolicy,
    registry::Key,
    remote::RemoteHandle,
    report::Unhandled,
    timer::Timer,
    weak_handle::WeakHandle,
};
#[doc(inline)]
pub use group::{join_set::JoinSet, task_group::TaskGroup, token::CancellationToken};
#[doc(inline)]
pub use poll::interest::{Interest, Trigger};
#[doc(inline)]
pub use readily_sys::readiness::Readiness;
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
    join_error::JoinError,
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
