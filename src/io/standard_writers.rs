//! Standard output and standard error, for coroutines.
//!
//! In asyncio: `connect_write_pipe` with `sys.stdout`, which refuses files. In the notes: the I/O of coroutines (N4, N10).

use super::check::{nothing, write_all};
use super::standard_streams::Stream;
use super::watched::Direction;
use crate::poll::VirtualFd;
use readily_sys::standard_stream::StandardStream;
use std::fmt;
use std::future::poll_fn;
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

        #[doc = concat!("Returns the standard ", $name, " of this process, for coroutines.")]
        ///
        /// It may be a file of any kind, and is opened as [`stdin`](super::stdin()) opens the standard input. A write
        /// waits while a terminal or a pipe is full. A write to a file does not wait for an event; a full disk is an
        /// error. This has no buffer: for small writes, use a [`BufWriter`](super::BufWriter). `print!` has a buffer
        /// of its own, which is written when its line ends.
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
            /// Makes a stream from a descriptor of a virtual kernel: the kernel of the current loop's poller.
            ///
            /// # Errors
            ///
            #[doc = concat!("As [`", stringify!($stream), "`].")]
            #[track_caller]
            pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
                let stream = Stream::of_kernel(fd, Location::caller())?;
                Ok(Self { stream })
            }

            /// Whether this is a file, or a device such as `/dev/null`, whose writes never wait. See
            /// [`Async`](super::Async#files-that-are-always-ready).
            #[must_use]
            pub fn is_always_ready(&self) -> bool {
                self.stream.0.is_always_ready()
            }

            /// Waits until there is room, writes as many of `bytes` as fit, and returns their number. Without bytes it
            /// returns zero at once.
            ///
            /// # Errors
            ///
            /// As `write(2)`, for instance `StorageFull`, or `BrokenPipe` if the pipe has no reader left. In the last
            /// case the system also sends SIGPIPE, which the Rust runtime ignores.
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either bytes were written and this has returned, or none were.
            pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
                if bytes.is_empty() {
                    return poll_fn(nothing).await;
                }
                let write = self.stream.write_of(bytes);
                self.stream.0.transfer(Direction::Write, write).await
            }

            /// Writes all of `bytes`.
            ///
            /// # Errors
            ///
            /// `WriteZero`, if a write accepts no byte; as `write`. Some of `bytes` may have been written.
            ///
            /// # Cancellation
            ///
            /// Some of `bytes` may have been written; their number is lost.
            pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
                write_all(bytes, async |left: &[u8]| self.write(left).await).await
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

            /// Writes as many of `bytes` as fit, without waiting for room. A write to a file may wait for the disk.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room; as `write`.
            pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                if bytes.is_empty() {
                    return Ok(0);
                }
                let write = self.stream.write_of(bytes);
                self.stream.0.try_io(Direction::Write, write)
            }

            /// Polls a write. Of several tasks that poll, only the one that polled last is woken.
            ///
            /// # Errors
            ///
            /// As `write`.
            pub fn poll_write(
                &self,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                if bytes.is_empty() {
                    return nothing(cx);
                }
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
