//! The errors of queues and channels: full, empty, closed. A value that was refused comes back.
//!
//! Queues and channels share them. None of them is the loop's [`LoopClosed`](crate::event_loop::LoopClosed), which
//! means that no closure will ever run on that loop again.
//!
//! In asyncio: `QueueFull`, `QueueEmpty`, `QueueShutDown`.

use std::fmt;

/// The error of a queue or a channel that is closed, with the item that was not accepted.
#[doc(alias = "QueueShutDown")]
#[doc(alias = "SendError")]
#[doc(alias = "RecvError")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Closed<T = ()>(pub T);

/// Why an item could not be put without waiting. Contains the item.
#[doc(alias = "TrySendError")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PutError<T> {
    /// There is no room now, or it is reserved for waiters.
    #[doc(alias = "QueueFull")]
    Full(T),
    /// The queue or the channel is closed.
    Closed(T),
}

impl<T> PutError<T> {
    /// Returns the item.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl PutError<()> {
    /// The same of `item`.
    pub(super) fn with<T>(self, item: T) -> PutError<T> {
        match self {
            Self::Full(()) => PutError::Full(item),
            Self::Closed(()) => PutError::Closed(item),
        }
    }
}

/// Why nothing could be got without waiting.
#[doc(alias = "TryRecvError")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GetError {
    /// There is no item now, or it is reserved for waiters.
    #[error("there is no item now, or it is reserved for waiters")]
    #[doc(alias = "QueueEmpty")]
    Empty,
    /// There is no item, and no more will come.
    #[error("there is nothing, and nothing more will come")]
    Closed,
}

// By hand: what they carry need not be `Debug`.
impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(..)")
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is closed: nothing more is taken, and nothing more will come")
    }
}

impl<T> std::error::Error for Closed<T> {}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "there is no room now, or it is reserved for waiters",
            Self::Closed(_) => "it is closed: nothing more is taken",
        })
    }
}

impl<T> std::error::Error for PutError<T> {}
