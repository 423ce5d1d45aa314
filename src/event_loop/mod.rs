//! The event loop: wait for events, then run what became ready ([N1], [N7]).
//!
//! Read [`EventLoop::turn`] first, then `turn.rs` and `dispatch.rs`, which are the notes' pseudocode.
//! The files are in four layers, and their imports point down:
//!
//! - *A turn*: the loop, and the steps of a turn in their order.
//! - *Operations*: each file has the methods of [`LoopHandle`] about one subject, and the handles that
//!   they return.
//! - *The types that are recursive* (`loop_handle.rs`): the handle with its data, and what a loop stores
//!   and calls with the handle, such as [`Callbacks`](loop_handle::Callbacks).
//! - *Parts*, which know no loop: the callback table (`registry`), the queue of ready work
//!   (`ready_queue`), timers (`loop_time`), the queue for other threads (`inbox`). What they store is a
//!   parameter of their type.
//!
//! None of them knows what a future is: a scheduler is plugged in through the trait `Scheduler`.
//!
//! Rules: [L1] to [L8], [C1] to [C5], [W1] to [W3] in `docs/invariants.md`.
//!
//! [N1]: crate::book#n1
//! [N7]: crate::book#n7
//! [L1]: crate::book::invariants#l1
//! [L8]: crate::book::invariants#l8
//! [C1]: crate::book::invariants#c1
//! [C5]: crate::book::invariants#c5
//! [W1]: crate::book::invariants#w1
//! [W3]: crate::book::invariants#w3

// A turn, and the loop that makes it.
mod dispatch;
mod dispatch_source;
#[allow(clippy::module_inception)] // it is the loop, and this the folder of its parts
pub(crate) mod event_loop;
mod hangup;
mod observed;
mod plain_round;
mod turn;

// Operations: the methods of `LoopHandle`, and handles.
mod accept;
pub(crate) mod accept_backoff;
mod arming;
mod attachment;
mod by_key;
pub(crate) mod call_handles;
pub(crate) mod callbacks;
mod close;
mod closed_outside;
pub(crate) mod current;
mod cx;
mod deadline;
mod debug;
pub(crate) mod futurelock;
mod host;
mod loops;
mod open_error;
mod receive;
mod register;
mod register_source;
pub(crate) mod remote;
mod replay;
mod scheduling;
mod source_callback;
mod stats;
pub(crate) mod timer;
mod unhandled;
pub(crate) mod user_code;
pub(crate) mod weak_handle;

// The types that are recursive.
pub(crate) mod loop_handle;

// Parts, which know no loop.
mod action;
mod classify;
mod descriptor;
pub(crate) mod error;
mod inbox;
mod loop_stack;
mod loop_time;
mod origin;
pub(crate) mod panics;
mod ready_queue;
mod registration;
pub(crate) mod registry;
pub(crate) mod report;
mod row;
mod rows;
mod shuffle;
mod source_registration;
pub(crate) mod stderr;
mod stopwatch;

pub use accept::{BACKLOG, listen_tcp};
pub(crate) use accept_backoff::{AcceptError, Backoff, BrokenInARow, FdWaitKey, ReportLimit};
pub(crate) use attachment::after_each_close;
pub(crate) use call_handles::{WakeTimer, WakeTimerState};
pub use classify::{Branch, Role};
pub use close::CloseReport;
pub use descriptor::{Accepted, Descriptor};
pub(crate) use error::Error;
pub use error::{LoopClosed, RegisterError};
pub(crate) use event_loop::EventLoop;
pub use event_loop::{EnterGuard, ExitReason};
#[cfg(all(loom, test))]
pub(crate) use inbox::models::Fixture;
pub(crate) use loop_handle::{Attachment, Inbox, LoopHandle, Scheduler};
pub(crate) use loop_time::TimeSource;
pub use origin::Origin;
pub(crate) use panics::PanicPolicy;
pub use panics::Payload;
pub(crate) use registration::FdState;
pub(crate) use registry::Key;
pub(crate) use remote::{CrossLoopWait, RemoteHandle};
pub(crate) use report::Unhandled;
pub use report::{Futurelock, UnhandledHook};
pub(crate) use rows::{Kind, Rows};
pub(crate) use source_registration::{RegisteredSource, SourceRegistration, Watch};
pub use stats::Stats;
pub(crate) use weak_handle::WeakHandle;
