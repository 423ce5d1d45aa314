//! The methods of a stream for code that is polled.
//!
//! The operations of a stream are futures, each with a place among the waiters. A future that is
//! written by hand, or a library that defines its own trait of streams, has a `poll` function instead and
//! nothing to keep the place in. So the stream keeps one place in each direction for them. They cost no
//! allocation, and the same system calls as the futures.
//!
//! In the notes: `await` on a connection (N10), seen from the code that implements it.

/// A part of `byte_stream!`.
macro_rules! stream_poll {
    ($Stream:ident, $uses:literal, $pair:literal) => {
        /// # Operations that are polled
        ///
        /// For futures written by hand, and for adapters to the stream traits of other crates. Of several tasks
        /// that poll in one direction, the one that polled last is woken. The waits of the futures of this
        /// type ([`read`](Self::read), [`readable`](Self::readable)) are apart from these, and each of them is woken.
        impl $Stream {
            /// Polls a read. Gives zero at the end of the stream, or if `buffer` is empty.
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            ///
            /// # Examples
            ///
            /// ```
            #[doc = $uses]
            /// use std::future::poll_fn;
            ///
            /// readily::run(async {
            #[doc = $pair]
            ///     poll_fn(|cx| there.poll_write(cx, b"hello")).await?;
            ///     let mut buffer = [0; 16];
            ///     let n = poll_fn(|cx| here.poll_read(cx, &mut buffer)).await?;
            ///     assert_eq!(&buffer[..n], b"hello");
            ///     std::io::Result::Ok(())
            /// })??;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn poll_read(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_read(cx, buffer)
            }

            /// Polls a read into memory that need not be initialized. When it is ready with a number, as many
            /// bytes at the front of `buffer` are initialized.
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            pub fn poll_read_uninit(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_read_uninit(cx, buffer)
            }

            /// Polls a read into several buffers, one after the other, as `readv(2)`.
            ///
            /// # Errors
            ///
            /// As [`read`](Self::read).
            pub fn poll_read_vectored(
                &self,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_read_vectored(cx, buffers)
            }

            /// Polls a read that leaves the bytes there: the next read returns them again.
            ///
            /// # Errors
            ///
            /// As [`peek`](Self::peek).
            pub fn poll_peek(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_peek(cx, buffer)
            }

            /// Polls a write of as many of `bytes` as fit.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            pub fn poll_write(
                &self,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_write(cx, bytes)
            }

            /// Polls a write of several buffers, one after the other, as `writev(2)`.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            pub fn poll_write_vectored(
                &self,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_write_vectored(cx, buffers)
            }

            /// Polls whether a read is worth trying, as [`readable`](Self::readable).
            ///
            /// # Errors
            ///
            /// As [`readable`](Self::readable).
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.source.poll_ready(cx, Direction::Read)
            }

            /// Polls whether a write is worth trying, as [`writable`](Self::writable).
            ///
            /// # Errors
            ///
            /// As [`readable`](Self::readable).
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.source.poll_ready(cx, Direction::Write)
            }
        }
    };
}
pub(super) use stream_poll;
