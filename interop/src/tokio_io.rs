//! The I/O traits of tokio: for what is written against them, and needs nothing else of tokio.

use super::io::{Io, write_methods};
use super::stream::Stream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

impl<S: Stream> AsyncRead for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: nothing but the read writes to it, and it writes bytes that are initialized.
        let room = unsafe { buffer.unfilled_mut() };
        let n = ready!(self.get_ref().poll_read_uninit(cx, room))?;
        // SAFETY: the read says that the first `n` bytes are initialized.
        unsafe { buffer.assume_init(n) };
        buffer.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Io<S> {
    write_methods!();
}
