//! The interface to child processes of a kernel other than the system's.
//!
//! A loop that starts a child on such a kernel gets a [`VirtualChild`] in place of a process, and descriptors
//! of the kernel in place of pipes. What the child does is the kernel's affair.
//!
//! In the notes: other processes (N3, N5, N6), on one more system below the selector (N2).

use std::ffi::c_int;
use std::fmt;
use std::io;

/// A child process of a [`VirtualKernel`](super::VirtualKernel), as its loop sees it.
pub trait VirtualChild: fmt::Debug {
    /// Returns its number.
    fn id(&self) -> u32;

    /// Takes the status if it has ended, in the form of `waitpid(2)`; `None` if it runs.
    ///
    /// # Errors
    ///
    /// `ECHILD` if the status was taken before.
    fn take_status(&self) -> io::Result<Option<c_int>>;

    /// Sends it a signal, as `pidfd_send_signal(2)`. The loop does not call this after
    /// [`take_status`](Self::take_status) has returned a status or an error ([P13]): the number may be that of another
    /// process then.
    ///
    /// [P13]: crate::book::invariants#p13
    ///
    /// # Errors
    ///
    /// `ESRCH` if other code has taken its status.
    fn send_signal(&self, signal: c_int) -> io::Result<()>;

    /// Calls `reported` once, when the child has ended. The call must be short: it may come in the middle of
    /// another operation.
    fn on_exit(&self, reported: Box<dyn FnOnce()>);
}
