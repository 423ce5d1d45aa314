//! Signals of the system, as streams for coroutines and as callbacks.
//!
//! ```
//! use readily::signal::{Signal, signal};
//! use std::process::Command;
//!
//! readily::run(async {
//!     let usr1 = signal(Signal::USR1)?;
//!     let me = std::process::id().to_string();
//!     Command::new("kill").args(["-USR1", &me]).status()?;
//!     usr1.recv().await?; // open the log again
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - A listener stores a signal that arrives after the listener was made, whether a task waits or not. So make the
//!   listener once, before the `loop` statement in which it is awaited.
//! - Signals are not counted: a listener has one pending bit. If several signals of one number arrive together, a
//!   listener is notified at least once. The same holds for realtime signals, whose values are lost.
//! - A signal notifies all its listeners, on all loops of the process.
//! - While a signal has a listener, its earlier action does not happen: SIGINT does not end the process.
//!   The earlier action is restored with the last listener, unless other code has installed its own.
//! - A signal that the process ignored when the listener was made stays ignored: a program under `nohup` goes on when
//!   its terminal closes. With [`Signal::even_if_ignored`] the listener gets the signal all the same. The Rust
//!   runtime ignores SIGPIPE.
//! - After a fork, a signal to the parent notifies no listener of the child, and a signal to the child notifies no
//!   listener of the parent. In the child, a listener of the parent returns [`Error::Forked`](crate::Error::Forked).
//!   Until the child makes a listener of its own, a signal that had the default action has it again.
//! - The first process of a container (pid 1) has no default actions: a SIGTERM without a listener is
//!   discarded. Make the listeners first.
//!
//! Children of the process get the default action of a signal that has a listener, as always over `exec`.
//!
//! On every system a signal handler writes to a pipe, which the loop watches. `EVFILT_SIGNAL` of kqueue would not
//! replace the handler, because it does not prevent the default action.
//!
//! In asyncio: `loop.add_signal_handler`. In the notes: one more source of callbacks ([N1]).
//!
//! [N1]: crate::book#n1

mod callback;
mod listener;
mod loop_signals;
mod number;
mod pipe;

pub use callback::SignalCallback;
pub use listener::{SignalListener, SignalRecv, ctrl_c, signal};
pub(crate) use loop_signals::deliver;
pub use number::{Signal, SignalError, SignalRequest};
