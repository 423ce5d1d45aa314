//! The two halves of a connection: borrowed by two futures of a task, or owned by two tasks.
//!
//! A half is a view, not a copy: both share one registration. The owned writing
//! half shuts its side down when dropped, because a peer that reads to the end would
//! otherwise wait for a writer that is gone.
//!
//! asyncio hands out a reader and a writer in the first place (`open_connection`).

use super::tcp::TcpStream;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

/// The reading side of a borrowed [`TcpStream`].
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The writing side of a borrowed [`TcpStream`].
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

/// The reading side of a [`TcpStream`], for a task of its own.
#[derive(Debug)]
pub struct OwnedReadHalf(Rc<TcpStream>);

/// The writing side of a [`TcpStream`], for a task of its own. Dropping it shuts the side
/// down.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
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

/// What is asked of the connection and not of one of its sides: each half may.
macro_rules! both_halves {
    ($half:ty, $stream:tt) => {
        impl $half {
            /// See [`TcpStream::local_addr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.$stream.local_addr()
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.$stream.peer_addr()
            }

            /// See [`TcpStream::set_nodelay`]. It is an option of the connection: the other half
            /// has it too.
            ///
            /// # Errors
            ///
            /// As there.
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.$stream.set_nodelay(nodelay)
            }
        }
    };
}

macro_rules! read_half {
    ($half:ty) => {
        both_halves!($half, 0);

        impl $half {
            /// See [`TcpStream::read`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                self.0.read(buffer)
            }

            /// See [`TcpStream::read_exact`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: bytes may be lost.
            pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
                self.0.read_exact(buffer).await
            }
        }
    };
}

macro_rules! write_half {
    ($half:ty, $stream:tt) => {
        both_halves!($half, $stream);

        impl $half {
            /// See [`TcpStream::write`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: nothing is lost.
            pub fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
                self.$stream.write(bytes)
            }

            /// See [`TcpStream::write_all`].
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancellation
            ///
            /// As there: some bytes may have been written.
            pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
                self.$stream.write_all(bytes)
            }

            /// Ends this side: the peer reads the end.
            ///
            /// # Errors
            ///
            /// As `shutdown(2)`.
            pub fn shutdown(&mut self) -> io::Result<()> {
                self.$stream.shutdown(Shutdown::Write)
            }
        }
    };
}

read_half!(ReadHalf<'_>);
read_half!(OwnedReadHalf);
write_half!(WriteHalf<'_>, 0);
write_half!(OwnedWriteHalf, stream);
