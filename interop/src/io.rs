//! A stream with the traits of other crates.

use super::stream::Stream;
use send_wrapper::SendWrapper;
use std::fmt;

/// The methods for writing, which the traits of hyper and of tokio have in common.
#[cfg(any(feature = "hyper", feature = "tokio"))]
macro_rules! write_methods {
    () => {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            self.get_ref().poll_write(cx, bytes)
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(self.get_ref().shutdown())
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_write_vectored(
            self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffers: &[std::io::IoSlice<'_>],
        ) -> std::task::Poll<std::io::Result<usize>> {
            self.get_ref().poll_write_vectored(cx, buffers)
        }
    };
}
#[cfg(any(feature = "hyper", feature = "tokio"))]
pub(crate) use write_methods;

/// A stream of `readily` that has the I/O traits of hyper (`hyper::rt::Read` and `Write`) and of tokio
/// (`tokio::io::AsyncRead` and `AsyncWrite`). It is `Send`, and panics on another thread than the one that made
/// it.
///
/// Its reads and writes pass each call on, and have no buffer of their own. Flushing does nothing, because the
/// stream keeps nothing back; shutting down ends the writing side.
///
/// # Examples
///
/// ```
/// use readily::io::{TcpListener, TcpStream};
/// use readily_interop::Io;
///
/// readily::run(async {
///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
///     let stream = TcpStream::connect(listener.local_addr()?).await?;
///     let mut io = Io::new(stream);
///     io.get_ref().set_nodelay(true)?;
///     let (mut other, _) = listener.accept().await.map(|(stream, peer)| (Io::new(stream), peer))?;
///     # #[cfg(feature = "tokio")]
///     tokio::io::AsyncWriteExt::write_all(&mut io, b"hello").await?;
///     # #[cfg(feature = "tokio")]
///     tokio::io::AsyncReadExt::read_exact(&mut other, &mut [0; 5]).await?;
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Io<S> {
    stream: SendWrapper<S>,
}

impl<S: Stream> Io<S> {
    /// Adapts a stream, for the thread that calls this.
    pub fn new(stream: S) -> Self {
        Self {
            stream: SendWrapper::new(stream),
        }
    }

    /// The stream.
    ///
    /// # Panics
    ///
    /// On another thread than the one that made this.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Takes the stream back.
    ///
    /// # Panics
    ///
    /// As [`Io::get_ref`].
    pub fn into_inner(self) -> S {
        self.stream.take()
    }
}

impl<S: fmt::Debug> fmt::Debug for Io<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stream.valid() {
            true => f.debug_tuple("Io").field(&*self.stream).finish(),
            false => f.write_str("Io(of another thread)"),
        }
    }
}
