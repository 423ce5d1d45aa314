//! An event loop to be read, embedded and tested: epoll or kqueue, callbacks, coroutines.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod base;
pub mod combine;
pub mod event_loop;
pub mod io;
pub mod poll;
mod run;
pub mod task;
pub mod time;

pub use base::clock;
pub use combine::{gather, try_gather};
pub use event_loop::{
    Accepted, CallHandle, Callbacks, CloseReport, Closed, Closures, Cx, Descriptor, Entered, Error,
    EventLoop, ExitReason, Handle, Key, Local, PanicPolicy, RegisterError, Remote, Stats,
    TimerHandle, Unhandled,
};
pub use poll::{Interest, Readiness, Trigger};
pub use run::{Runner, run};
pub use task::{
    Coro, Future, FutureError, InvalidState, JoinError, Promise, Task, TaskRef, TaskState,
    all_tasks, create_future, current_task, spawn,
};
pub use time::{Elapsed, Sleep, sleep, wait_for, yield_now};

/// What [`iscoroutinefunction!`] expands to.
#[doc(hidden)]
pub mod coroutine_probe {
    pub use crate::task::{CoroutineProbe, IsCoroutine, IsNotCoroutine};
}

#[cfg(doctest)]
mod book {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/01-multiplexing.md")]
    mod ch01 {}
    #[doc = include_str!("../docs/02-the-loop.md")]
    mod ch02 {}
    #[doc = include_str!("../docs/03-callbacks.md")]
    mod ch03 {}
    #[doc = include_str!("../docs/04-timers.md")]
    mod ch04 {}
    #[doc = include_str!("../docs/05-futures.md")]
    mod ch05 {}
    #[doc = include_str!("../docs/06-coroutines.md")]
    mod ch06 {}
    #[doc = include_str!("../docs/07-tasks.md")]
    mod ch07 {}
}
