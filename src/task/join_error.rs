//! The error of a task that gave no value: it was cancelled, or has panicked.
//!
//! In asyncio: `CancelledError`, or the exception of the coroutine. In the notes: N16.

use crate::event_loop::{Payload, stderr};
use std::borrow::Cow;
use std::fmt;

/// The reason given to the call that cancelled a task.
pub(crate) type Reason = Cow<'static, str>;

/// Why a task gave no value.
#[doc(alias = "CancelledError")]
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The task was cancelled: its future was dropped at the point where it waited.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task was cancelled with this reason: see
    /// [`Task::cancel_with`](crate::Task::cancel_with).
    #[error("the task was cancelled: {0}")]
    CancelledFor(Cow<'static, str>),
    /// The task panicked with this payload.
    #[error("the task panicked: {}", stderr::message(.0))]
    Panicked(Payload),
}

impl JoinError {
    /// Whether the task was cancelled, with a reason or without.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledFor(_))
    }

    /// The reason for the cancellation, if one was given.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    pub(super) fn into_reason(self) -> Option<Reason> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("Cancelled"),
            Self::CancelledFor(reason) => write!(f, "CancelledFor({reason:?})"),
            Self::Panicked(payload) => write!(f, "Panicked({:?})", stderr::message(payload)),
        }
    }
}
