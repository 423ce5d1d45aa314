//! Why a part of a stream could not be read.
//!
//! In asyncio: `IncompleteReadError`, `LimitOverrunError`.

use std::io;

/// A part could not be read. The bytes that have come are still in the reader
/// ([`BufReader::buffer`](super::BufReader::buffer)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended in the middle of the part.
    #[error("the stream ended in the middle of what was to be read, after {read} bytes")]
    #[doc(alias = "IncompleteReadError")]
    Incomplete {
        /// The number of bytes before the end.
        read: usize,
    },
    /// The part is longer than the limit of the reader.
    #[error("what was to be read is longer than the limit of {limit} bytes")]
    #[doc(alias = "LimitOverrunError")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A line is not UTF-8.
    #[error("a line of {len} bytes is not UTF-8")]
    NotUtf8 {
        /// The length of the line, with its end: so many bytes to
        /// [`consume`](super::BufReader::consume) for the next one.
        len: usize,
    },
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::Io(error) => return error,
            ReadError::Incomplete { .. } => io::ErrorKind::UnexpectedEof,
            ReadError::TooLong { .. } => io::ErrorKind::FileTooLarge,
            ReadError::NotUtf8 { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
