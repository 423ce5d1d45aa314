//! Child processes: starts them, exchanges bytes with them through pipes, and waits for their ends.
//!
//! ```
//! use readily::process::Command;
//!
//! readily::run(async {
//!     let output = Command::new("sort").communicate(b"b\na\n").await?;
//!     assert!(output.status.success() && output.is_complete);
//!     assert_eq!(output.stdout, b"a\nb\n");
//!     Ok::<_, readily::process::ChildError>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - The loop takes the status of each of its children, and of no other process: other code of the program
//!   may have children of its own.
//! - A child whose handles are dropped is reaped in the background, by its loop. [`Command::kill_on_drop`]
//!   also kills it. Children that a closed loop leaves are reaped when a loop of the process starts a
//!   child, reaps one, or is closed.
//! - A signal is never sent to a process that has got the process id of a child that has ended:
//!   [`ChildHandle::signal`].
//! - A child starts with an empty signal mask, with the default actions of all signals that are caught
//!   here, and of SIGPIPE, which the Rust runtime ignores. Other signals that this process ignores stay ignored there, as
//!   `nohup` expects; [`Command::reset_ignored_signals`] ends that.
//! - The end of a child and the end of its output are two events: a grandchild may keep the pipe open.
//! - On a kernel in memory a child is a program of the test, if that has set one
//!   ([`VirtualKernel::start_child`](crate::spi::VirtualKernel::start_child)).
//! - [`Command::spawn`] blocks the loop while the system starts the program, which takes longer for a
//!   program on a slow file system.
//!
//! The end of a child is an event of a descriptor: a pidfd on Linux, a kqueue with one `EVFILT_PROC` elsewhere.
//! Without one (an old system, a sandbox, no descriptor left) the loop listens for SIGCHLD; and if that is not
//! possible either, the loop checks the child from time to time.
//!
//! In asyncio: `create_subprocess_exec`. In the notes: other processes for work that would block the
//! loop or its processor ([N3], [N5], [N6]).
//!
//! [N3]: crate::book#n3
//! [N5]: crate::book#n5
//! [N6]: crate::book#n6

mod checks;
mod child;
mod command;
mod error;
mod exit_source;
mod handle;
mod loop_children;
mod orphans;
mod running;
mod simulated;
mod start;

pub use child::{Child, Output};
pub use command::Command;
pub use error::{ChildError, ChildStream};
pub use handle::{ChildHandle, ChildWait};
// For the tests of its ways, as the method that takes it.
#[doc(hidden)]
pub use running::ExitWatch;
