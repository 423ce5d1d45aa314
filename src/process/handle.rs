//! A handle to a child, apart from its pipes: to wait for it, and to send it signals.
//!
//! In asyncio: `Process.wait`, `send_signal`, `terminate`, `kill`, `pid`, `returncode`.

use super::error::ChildError;
use super::running::{OnExit, Running, resume};
use crate::event_loop::panics::FirstPanic;
use crate::event_loop::{Error, LoopHandle};
use crate::signal::Signal;
use crate::task::budget;
use crate::task::waiters::WaiterKey;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::process::ExitStatus;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The last of a child's handles kills it, if that was asked for.
struct Owner(Rc<Running>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.kill_dropped();
    }
}

/// A handle to a child, to wait for it and to send it signals.
///
/// It can be cloned, so that one task waits for the child while another one kills it. When all handles are dropped, the
/// child runs on, unless it was started with
/// [`kill_on_drop`](super::Command::kill_on_drop).
#[derive(Clone)]
pub struct ChildHandle {
    owner: Rc<Owner>,
}

impl ChildHandle {
    pub(super) fn new(child: Rc<Running>) -> Self {
        let owner = Rc::new(Owner(child));
        Self { owner }
    }

    fn child(&self) -> &Rc<Running> {
        &self.owner.0
    }

    /// Returns the process id of the child. `None` after its status was taken, because another process may have the
    /// number then.
    #[doc(alias = "pid")]
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        let child = self.child();
        child.is_running().then_some(child.pid)
    }

    /// Waits until the child has ended, and returns its status. Any number of tasks may wait, and each gets
    /// the status. A child whose standard output or standard error is a pipe that is not read may never end: see
    /// [`Child::communicate`](super::Child::communicate).
    ///
    /// # Errors
    ///
    /// [`ChildError::StatusLost`], if other code of this process has waited for the child; or
    /// [`ChildError::Loop`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn wait(&self) -> ChildWait {
        ChildWait {
            handle: self.clone(),
            key: None,
        }
    }

    /// Returns the status if the child has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](ChildHandle::wait).
    #[doc(alias = "returncode")]
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ChildError> {
        let mut panic = FirstPanic::default();
        self.child().reap(&mut panic);
        resume(panic);
        match self.child().result() {
            Some(result) => result.map(Some),
            None => self.child().check_process().map(|()| None),
        }
    }

    /// Sends a signal to the child, and never to another process: until the child's status is taken, no other process
    /// can have its process id, and after that this returns an error. (On systems without pidfd, other code that
    /// waits for all children of the process breaks this.)
    ///
    /// # Errors
    ///
    /// [`ChildError::Ended`] if the child has ended; [`ChildError::Loop`]; [`ChildError::Io`] if the child may not be
    /// sent signals, for instance because it has become another user.
    #[doc(alias = "send_signal")]
    #[doc(alias = "terminate")]
    pub fn signal(&self, signal: Signal) -> Result<(), ChildError> {
        self.child().send_signal(signal.raw())
    }

    /// Sends SIGKILL to the child.
    ///
    /// # Errors
    ///
    /// As [`signal`](ChildHandle::signal).
    pub fn kill(&self) -> Result<(), ChildError> {
        self.signal(Signal::KILL)
    }

    /// Sends a signal to the child's process group: to the child, and to the processes that it has started and that
    /// have not left the group.
    ///
    /// # Errors
    ///
    /// [`ChildError::NoGroup`] if the child was not started with [`own_group`](super::Command::own_group). After the end
    /// of the child [`ChildError::Ended`], though members of the group may live:
    /// [`kill_group_at_exit`](super::Command::kill_group_at_exit) ends these. As [`signal`](ChildHandle::signal).
    #[doc(alias = "killpg")]
    pub fn signal_group(&self, signal: Signal) -> Result<(), ChildError> {
        self.child().send_signal_to_group(signal.raw())
    }

    /// Queues `f` on the loop when the child has ended; at once, if it has ended already. If the loop is
    /// closed before, `f` is dropped. `f` runs even if all handles are dropped.
    #[doc(alias = "add_child_handler")]
    #[doc(alias = "process_exited")]
    #[track_caller]
    pub fn on_exit(&self, f: impl FnOnce(&LoopHandle, Result<ExitStatus, ChildError>) + 'static) {
        let f: OnExit = Box::new(f);
        self.child().on_exit(Location::caller(), f);
    }
}

impl fmt::Debug for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// The future of [`ChildHandle::wait`]. It contains a handle, so [`kill_on_drop`](super::Command::kill_on_drop) does
/// not kill the child before this is dropped.
#[must_use = "nothing is waited for before it is awaited"]
pub struct ChildWait {
    handle: ChildHandle,
    key: Option<WaiterKey>,
}

impl fmt::Debug for ChildWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChildWait").field(&self.handle).finish()
    }
}

impl Future for ChildWait {
    type Output = Result<ExitStatus, ChildError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { handle, key } = &mut *self;
        let child = handle.child();
        budget::budgeted(cx, |cx| {
            if let Some(result) = child.result() {
                return Poll::Ready(result);
            }
            if child.handle.is_other_loop() {
                return Poll::Ready(Err(ChildError::Loop(Error::OtherLoop)));
            }
            if let Err(error) = child.check_process() {
                return Poll::Ready(Err(error));
            }
            child.waiters.wait(key, cx.waker());
            // Cloning the waker may have run user code.
            child.result().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl Drop for ChildWait {
    fn drop(&mut self) {
        self.handle.owner.0.waiters.leave(&mut self.key);
    }
}
