//! A core as its own tasks and callbacks see it: its number, its group, and the request to stop.
//!
//! It is attached to its loop, so that code on the core finds it without an argument.
//!
//! In the notes: more than one core (N12).

use super::group::Group;
use super::handle::CoresHandle;
use super::seat::Seat;
use crate::event_loop::{Attachment, LoopHandle, current};
use crate::group::token::CancellationToken;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The core of the current thread: see [`current`](current()). A clone refers to the same core.
#[derive(Clone)]
pub struct Core {
    index: usize,
    seat: Seat,
    group: Arc<Group>,
}

/// Returns the core whose loop is the current one of this thread; `None` on a loop that belongs to no
/// [`Cores`](super::Cores).
///
/// # Examples
///
/// ```
/// use readily::cores::{Cores, current};
///
/// let cores = Cores::builder().count(2).build()?;
/// let mut task = cores.spawn_on(1, || async { current().map(|core| core.index()) })?;
/// assert_eq!(task.wait()?, Some(1));
/// assert!(current().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn current() -> Option<Core> {
    current::with(|handle| handle.if_attached(Core::clone)).flatten()
}

impl Core {
    /// Makes the core of a loop, and attaches it.
    pub(super) fn attach(handle: &LoopHandle, index: usize, group: Arc<Group>) -> Self {
        let seat = Seat::of(handle);
        let make = || Self { index, seat, group };
        handle.attached(make, Self::clone)
    }

    /// Returns the number of the core, from zero.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the processor to which the thread is pinned; `None` if it is not.
    #[must_use]
    pub fn processor(&self) -> Option<usize> {
        self.group.processors[self.index]
    }

    /// Returns a handle to all cores of the group.
    #[must_use]
    pub fn cores(&self) -> CoresHandle {
        CoresHandle::new(Arc::clone(&self.group))
    }

    /// Returns this core's token, which a shutdown of the group cancels. Tasks and callbacks that would
    /// otherwise never end should use it, for instance to close an idle connection. Work that is left at
    /// the limit of the shutdown is dropped.
    ///
    /// There is one token for the whole core. To cancel only some of its tasks, make a
    /// [`child_token`](CancellationToken::child_token).
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.seat.stop_token().clone()
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }
}

impl Attachment for Core {
    fn close(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("index", &self.index)
            .field("processor", &self.processor())
            .field("stopping", &self.seat.deadline().is_some())
            .finish()
    }
}
