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
//! - A listener remembers a signal from the moment it is made, whether a task waits or not. So make it
//!   once, before the loop in which it is awaited.
//! - Signals are not counted: a listener has one pending bit. After a signal, however many come at once, a
//!   listener hears of it at least once. The same holds for realtime signals, whose values are lost.
//! - Each listener of each loop of the process hears each signal.
//! - While a signal has a listener, its earlier action does not happen: SIGINT does not end the process.
//!   The earlier action is restored with the last listener, unless other code has installed its own.
//! - A signal that the process ignored when the listener was made stays ignored: a program under `nohup`
//!   goes on when its terminal closes. [`Signal::even_if_ignored`] asks for another answer. The Rust runtime ignores
//!   SIGPIPE.
//! - A forked child does not hear the signals of its parent, and its own do not reach the parent. A
//!   listener of the parent is [`Error::Forked`](crate::Error::Forked) there. Until the child makes a
//!   listener of its own, a signal that had the default action has it again.
//! - The first process of a container (pid 1) has no default actions: a SIGTERM without a listener is
//!   discarded. Make the listeners first.
//!
//! Children of the process get the default action of a signal that has a listener, as always over `exec`.
//!
//! On every system a handler writes to a pipe, which the loop watches. `EVFILT_SIGNAL` of kqueue would not
//! save the handler, because it does not keep the default action from happening.
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
