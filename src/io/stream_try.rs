//! The methods of a stream for code that waits and tries in two steps, that has several buffers, or that
//! looks ahead.
//!
//! In the notes: the I/O of coroutines (N4, N10).

/// A part of `byte_stream!`.
macro_rules! stream_try {
    ($Stream:ident, $uses:literal, $pair:literal) => {
        /// # Operations that do not wait
        ///
        /// To be tried after [`readable`](Self::readable) or [`writable`](Self::writable), or at any time. A server of many
        /// connections that are idle needs a buffer only while it reads, then.
        impl $Stream {
            /// Waits until a read is worth trying: bytes have come, or the end, or an error. The read may still
            /// return `WouldBlock`.
            ///
            /// # Errors
            ///
            /// If the loop has been closed ([`Error::Closed`](crate::Error::Closed)), or is another than the one that runs
            /// here ([`Error::OtherLoop`](crate::Error::OtherLoop)).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $uses]
            /// use std::io::ErrorKind::WouldBlock;
            ///
            /// readily::run(async {
            #[doc = $pair]
            ///     there.write_all(b"hello").await?;
            ///     let bytes = loop {
            ///         here.readable().await?; // without a buffer
            ///         let mut buffer = [0; 512];
            ///         match here.try_read(&mut buffer) {
            ///             Err(error) if error.kind() == WouldBlock => continue,
            ///             read => break buffer[..read?].to_vec(),
            ///         }
            ///     };
            ///     assert_eq!(bytes, b"hello");
            ///     std::io::Result::Ok(())
            /// })??;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub async fn readable(&self) -> io::Result<()> {
                self.source.wait(Direction::Read).await
            }

            /// Waits until a write is worth trying: there is room, or an error. The write may still return
            /// `WouldBlock`.
            ///
            /// # Errors
            ///
            /// As [`readable`](Self::readable).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.source.wait(Direction::Write).await
            }

            /// Reads the bytes that are there, without waiting. Returns zero at the end, or if `buffer` is empty.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing is there; as [`read`](Self::read).
            pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.source.try_read(buffer)
            }

            /// Reads into several buffers, one after the other, without waiting.
            ///
            /// # Errors
            ///
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.source.try_read_vectored(buffers)
            }

            /// Writes as many of `bytes` as fit, without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room; as [`write`](Self::write).
            pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                self.source.try_write(bytes)
            }

            /// Writes several buffers, one after the other, as far as there is room, without waiting.
            ///
            /// # Errors
            ///
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.source.try_write_vectored(buffers)
            }

            /// Runs `operation`, which uses the descriptor ([`AsFd`](std::os::fd::AsFd)), now and without waiting; again
            /// only if a signal interrupted it. After a `WouldBlock` the next wait lasts until the kernel reports
            /// something new.
            ///
            /// `O_NONBLOCK` is set again first, if another process that shares the open file has cleared it.
            ///
            /// # Errors
            ///
            /// The error of `operation`, or that of `fcntl(2)`.
            pub fn try_io<R>(
                &self,
                direction: Direction,
                operation: impl FnMut() -> io::Result<R>,
            ) -> io::Result<R> {
                self.source.try_outside(direction, operation)
            }
        }

        /// # Several buffers, and bytes that stay
        impl $Stream {
            /// Waits until there are bytes, and reads them into several buffers, one after the other.
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either bytes were read and this has returned, or none were.
            pub async fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.source.read_vectored(buffers).await
            }

            /// Waits until there is room, and writes as many bytes of several buffers, one after the other, as fit.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost: either bytes were written and this has returned, or none were.
            pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.source.write_vectored(buffers).await
            }

            /// Waits until there are bytes, and copies them into `buffer` without removing them: the next read returns
            /// the same bytes. Returns zero at the end of the stream, or if `buffer` is empty.
            ///
            /// A second call returns at once if the bytes of the first one were not read, even if no more have arrived.
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            ///
            /// # Cancellation
            ///
            /// Nothing is lost.
            pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.source.peek(buffer).await
            }
        }
    };
}
pub(super) use stream_try;
