//! The two halves of a connection: borrowed by two futures of a task, or owned by two tasks.
//!
//! A half is a view, not a copy: both share one registration. The owned writing
//! half shuts its side down when dropped, because a peer that reads to the end would
//! otherwise wait for a writer that is gone.
//!
//! asyncio hands out a reader and a writer in the first place (`open_connection`).

use super::socket::Socket;
use super::tcp::TcpStream;
use super::watched::Watched;
use std::net::Shutdown;
use std::rc::Rc;

/// A stream of this crate that can be split, such as a [`TcpStream`].
pub trait ByteStream: sealed::Sealed {}

pub(super) mod sealed {
    use super::{Socket, Watched};

    /// What the halves need of a stream.
    pub trait Sealed {
        #[doc(hidden)]
        #[allow(private_interfaces)] // it cannot be named outside
        fn source(&self) -> &Watched<Socket>;
    }
}

/// The reading side of a borrowed stream.
#[derive(Debug)]
pub struct ReadHalf<'a, S = TcpStream>(pub(super) &'a S);

/// The writing side of a borrowed stream.
#[derive(Debug)]
pub struct WriteHalf<'a, S = TcpStream>(pub(super) &'a S);

/// The reading side of a stream, for a task of its own.
#[derive(Debug)]
pub struct OwnedReadHalf<S = TcpStream>(pub(super) Rc<S>);

/// The writing side of a stream, for a task of its own. Dropping it shuts the side
/// down.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: ByteStream = TcpStream> {
    pub(super) stream: Rc<S>,
    shuts_down: bool,
}

impl<'a, S> ReadHalf<'a, S> {
    pub(super) fn pair(stream: &'a mut S) -> (Self, WriteHalf<'a, S>) {
        (Self(stream), WriteHalf(stream))
    }
}

impl<S: ByteStream> OwnedReadHalf<S> {
    pub(super) fn pair(stream: Rc<S>) -> (Self, OwnedWriteHalf<S>) {
        (
            Self(Rc::clone(&stream)),
            OwnedWriteHalf {
                stream,
                shuts_down: true,
            },
        )
    }

    /// Puts two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] with both, if they are not of one stream.
    pub fn reunite(self, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Rc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.shuts_down = false;
        drop(write);
        Ok(Rc::into_inner(self.0).expect("there are two halves, and the other is gone"))
    }
}

/// The error of a `reunite` of halves of different streams, with both halves.
#[derive(Debug, thiserror::Error)]
#[error("these are halves of two streams")]
pub struct ReuniteError<S: ByteStream = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: ByteStream> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.shuts_down {
            // An error means that the connection is gone, and with it the side.
            let _ = self.stream.source().shutdown(Shutdown::Write);
        }
    }
}
