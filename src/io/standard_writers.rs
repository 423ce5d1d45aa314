//! Standard output and standard error, for coroutines.
//!
//! In asyncio: `connect_write_pipe` with `sys.stdout`, which refuses files. In the notes: the I/O of coroutines (N4, N10).

use super::check::written;
use super::standard_streams::Stream;
use super::watched::Direction;
use crate::poll::VirtualFd;
use readily_sys::standard_stream::StandardStream;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Implements the methods of a stream that is written to.
macro_rules! standard_writer {
    ($Stream:ident, $stream:ident, $which:ident, $name:literal) => {
        #[doc = concat!("Standard ", $name, ", for coroutines: see [`", stringify!($stream), "`].")]
        pub struct $Stream {
            stream: Stream,
        }

        #[doc = concat!("Returns the standard ", $name, " of this process, whatever it is, as [`stdin`](super::stdin()) does.")]
        ///
        /// A write to a terminal or a pipe that is full waits; one to a file never does, and a full disk is
        /// an error. Nothing is kept back: to write small pieces, use a [`BufWriter`](super::BufWriter). What
        /// `println!` has kept back of a line comes when the line ends.
        ///
        /// # Errors
        ///
        /// As [`stdin`](super::stdin()).
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("use readily::io::", stringify!($stream), ";")]
        ///
        /// readily::run(async {
        #[doc = concat!("    let writer = ", stringify!($stream), "()?;")]
        ///     writer.write_all(b"hello\n").await
        /// })??;
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[track_caller]
        pub fn $stream() -> io::Result<$Stream> {
            let stream = Stream::of_process(StandardStream::$which, Location::caller())?;
            Ok($Stream { stream })
        }

        impl $Stream {
            /// Makes one of a descriptor of another kernel: that of the current loop's poller.
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`", stringify!($stream), "`].")]
            #[track_caller]
            pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
                let stream = Stream::of_kernel(fd, Location::caller())?;
                Ok(Self { stream })
            }

            /// Whether no write ever waits: it is a file, or a device such as `/dev/null`. See
            /// [`Async`](super::Async#files-that-are-always-ready).
            #[must_use]
            pub fn is_always_ready(&self) -> bool {
                self.stream.0.is_always_ready()
            }

            /// Writes as much of `bytes` as there is room for, waiting until there is some.
            ///
            /// # Errors
            ///
            /// As `write(2)`: `BrokenPipe` if there is no reader left, `StorageFull`. Without a reader, SIGPIPE ends a
            /// program that does not ignore it; a Rust program does.
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either bytes were written and this has returned, or none were.
            pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
                let write = self.stream.write_of(bytes);
                self.stream.0.transfer(Direction::Write, write).await
            }

            /// Writes all of `bytes`.
            ///
            /// # Errors
            ///
            /// `WriteZero`, if a write takes nothing; as `write`. Some of `bytes` may have been written.
            ///
            /// # Cancellation
            ///
            /// Some of `bytes` may have been written; it is lost how many.
            pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
                while !bytes.is_empty() {
                    let n = self.write(bytes).await?;
                    bytes = &bytes[written(n, bytes.len())?..];
                }
                Ok(())
            }

            /// Waits until a write is worth trying.
            ///
            /// # Errors
            ///
            /// As [`Async::writable`](super::Async::writable).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.stream.0.wait(Direction::Write).await
            }

            /// Writes as much of `bytes` as there is room for, without waiting, unless for a disk.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room; as `write`.
            pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                let write = self.stream.write_of(bytes);
                self.stream.0.try_io(Direction::Write, write)
            }

            /// Polls a write. Of several tasks that poll, the one that polled last is woken.
            ///
            /// # Errors
            ///
            /// As `write`.
            pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                let write = self.stream.write_of(bytes);
                self.stream.0.poll_transfer(cx, Direction::Write, write)
            }
        }

        impl fmt::Debug for $Stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.stream.fmt(stringify!($Stream), f)
            }
        }
    };
}

standard_writer!(Stdout, stdout, Output, "output");
standard_writer!(Stderr, stderr, Error, "error");
