//! The reads and writes of a stream, and its two sides.
//!
//! Each stream type has the same methods, which this macro and those of `stream_poll.rs` and
//! `stream_try.rs` define; what they do is in `stream_ops.rs`, compiled once.
//!
//! In the notes: the connection behind `await` (N4, N10); asyncio's `sock_recv`, `sock_sendall`.

/// Implements the methods of a stream, a type with a field `source`. For the examples: what they import,
/// and the lines that make `here` and `there`, which are connected.
macro_rules! byte_stream {
    ($Stream:ident, $uses:literal, $pair:literal) => {
        use super::split::{
            ByteStream, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf, sealed,
        };
        use super::stream_poll::stream_poll;
        use super::stream_try::stream_try;
        use super::watched::Direction;
        use std::io::{IoSlice, IoSliceMut};
        use std::mem::MaybeUninit;
        use std::net::Shutdown;
        use std::os::fd::{AsFd, BorrowedFd};
        use std::task::{Context, Poll};

        stream_poll!($Stream, $uses, $pair);
        stream_try!($Stream, $uses, $pair);

        impl $Stream {
            /// Waits until there are bytes, and reads them into `buffer`. Returns their number: zero at the end of the
            /// stream, or if `buffer` is empty.
            ///
            /// # Errors
            ///
            /// As `recv(2)`, for instance a reset.
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either bytes were read and this has returned, or none were.
            #[doc(alias = "sock_recv_into")]
            #[doc(alias = "sock_recv")]
            pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                self.source.read(buffer)
            }

            /// Reads until `buffer` is full.
            ///
            /// # Errors
            ///
            /// `UnexpectedEof` if the stream ends before; as [`read`](Self::read).
            ///
            /// # Cancellation
            ///
            /// Bytes that were read are at the front of `buffer`, but their number is lost.
            #[doc(alias = "readexactly")]
            pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
                self.source.read_exact(buffer).await
            }

            /// Waits until there is room, writes as many of `bytes` as fit, and returns their number.
            ///
            /// # Errors
            ///
            /// As `send(2)`: `BrokenPipe` or a reset if the peer is gone. There is no `SIGPIPE`.
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either bytes were written and this has returned, or none were.
            pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
                self.source.write(bytes)
            }

            /// Writes all of `bytes`.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write); some of the bytes may have been written.
            ///
            /// # Cancellation
            ///
            /// Some of the bytes may have been written; their number is lost.
            #[doc(alias = "sock_sendall")]
            pub fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
                self.source.write_all(bytes)
            }

            /// Shuts down one or both directions. After a shutdown of the writing side, the peer reads the end of the
            /// stream, and this side can still read.
            ///
            /// # Errors
            ///
            /// As `shutdown(2)`.
            #[doc(alias = "write_eof")]
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.source.shutdown(how)
            }

            /// Returns the reading and the writing half, borrowed: for two futures of one task.
            pub fn split(&mut self) -> (ReadHalf<'_, Self>, WriteHalf<'_, Self>) {
                ReadHalf::pair(self)
            }

            /// Returns the reading and the writing half, owned: for two tasks. Dropping the writing half
            /// shuts down the writing side.
            pub fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
                OwnedReadHalf::pair(Rc::new(self))
            }
        }

        #[allow(private_interfaces)] // as the trait's
        impl sealed::Sealed for $Stream {
            fn source(&self) -> &Watched<Socket> {
                &self.source
            }
        }

        impl ByteStream for $Stream {}

        impl AsFd for $Stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.as_fd()
            }
        }
    };
}
pub(super) use byte_stream;
