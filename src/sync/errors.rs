//! What can go wrong with something that is handed over: full, empty, shut. What was to be handed
//! over comes back.
//!
//! One set for queues and channels, for the same things happen to both. None of them is the loop's
//! [`LoopClosed`](crate::LoopClosed), which means that nobody will ever run there again.
//!
//! In asyncio: `QueueFull`, `QueueEmpty`, `QueueShutDown`.

use std::fmt;

/// Nothing more is taken, or nothing more will come; here is what came too late.
#[doc(alias = "QueueShutDown")]
#[doc(alias = "SendError")]
#[doc(alias = "RecvError")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Closed<T = ()>(pub T);

/// Why something could not be put without waiting; it is in here.
#[doc(alias = "TrySendError")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PutError<T> {
    /// There is no room just now, or it is for those who wait.
    #[doc(alias = "QueueFull")]
    Full(T),
    /// Nothing more is taken.
    Closed(T),
}

impl<T> PutError<T> {
    /// What could not be put.
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
    /// There is nothing just now, or it is for those who wait.
    #[error("there is nothing just now, or it is for those who wait")]
    #[doc(alias = "QueueEmpty")]
    Empty,
    /// There is nothing, and nothing more will come.
    #[error("there is nothing, and nothing more will come")]
    Closed,
}

// By hand: what they carry need not be `Debug`.
impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shut(..)")
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is shut: nothing more is taken, and nothing more will come")
    }
}

impl<T> std::error::Error for Closed<T> {}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Shut(..)",
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "there is no room just now, or it is for those who wait",
            Self::Closed(_) => "it is shut: nothing more is taken",
        })
    }
}

impl<T> std::error::Error for PutError<T> {}
