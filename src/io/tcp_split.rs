//! The two halves of a connection: borrowed by two futures of a task, or owned by two tasks.
//!
//! A half is a view, not a copy: both share one registration. The owned writing
//! half shuts its side down when dropped, because a peer that reads to the end would
//! otherwise wait for a writer that is gone.
//!
//! asyncio hands out a reader and a writer in the first place (`open_connection`).

use super::tcp::TcpStream;
use std::net::Shutdown;
use std::rc::Rc;

/// The reading side of a borrowed [`TcpStream`].
#[derive(Debug)]
pub struct ReadHalf<'a>(pub(super) &'a TcpStream);

/// The writing side of a borrowed [`TcpStream`].
#[derive(Debug)]
pub struct WriteHalf<'a>(pub(super) &'a TcpStream);

/// The reading side of a [`TcpStream`], for a task of its own.
#[derive(Debug)]
pub struct OwnedReadHalf(pub(super) Rc<TcpStream>);

/// The writing side of a [`TcpStream`], for a task of its own. Dropping it shuts the side
/// down.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    pub(super) stream: Rc<TcpStream>,
    shuts_down: bool,
}

impl<'a> ReadHalf<'a> {
    pub(super) fn pair(stream: &'a mut TcpStream) -> (Self, WriteHalf<'a>) {
        (Self(stream), WriteHalf(stream))
    }
}

impl OwnedReadHalf {
    pub(super) fn pair(stream: Rc<TcpStream>) -> (Self, OwnedWriteHalf) {
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
    pub fn reunite(self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.shuts_down = false;
        drop(write);
        Ok(Rc::try_unwrap(self.0).expect("there are two halves, and the other is gone"))
    }
}

/// The two halves are not of one stream; here they are.
#[derive(Debug, thiserror::Error)]
#[error("these are halves of two streams")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shuts_down {
            // An error means that the connection is gone, and with it the side.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}
