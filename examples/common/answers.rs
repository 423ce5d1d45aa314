//! The answers of an example server that wait to be written.

use readily::io::{BufReader, TcpStream};
use readily::{CancellationToken, wait_for};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How many bytes of answers are collected before they are written.
const FULL: usize = 64 << 10;

/// Answers that wait to be written: many small ones are one write.
pub(crate) struct Answers<'a> {
    pub(crate) bytes: Vec<u8>,
    stream: &'a TcpStream,
    idle: Duration,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(stream: &'a TcpStream, idle: Duration) -> Self {
        Self {
            bytes: Vec::new(),
            stream,
            idle,
        }
    }

    /// Waits for the first byte of the next request, and writes the answers before. `false` if there is no
    /// next request: the client has ended the stream, or the server is to stop.
    pub(crate) async fn next(
        &mut self,
        reader: &mut BufReader<&TcpStream>,
        stop: &CancellationToken,
    ) -> io::Result<bool> {
        if !reader.buffer().is_empty() {
            return Ok(true);
        }
        self.write().await?;
        // It is safe to cancel this: no byte is lost.
        let first = wait_for(self.idle, reader.fill_buf());
        let bytes = stop
            .run_until_cancelled(first)
            .await
            .transpose()?
            .transpose()?;
        Ok(bytes.is_some_and(|bytes| !bytes.is_empty()))
    }

    /// Writes them all. A client that does not read is an error, after a while.
    pub(crate) async fn write(&mut self) -> io::Result<()> {
        for part in self.bytes.chunks(FULL) {
            wait_for(self.idle, self.stream.write_all(part)).await??;
        }
        self.bytes.clear();
        self.bytes.shrink_to(FULL);
        Ok(())
    }

    /// Writes them if there are many.
    pub(crate) async fn write_if_full(&mut self) -> io::Result<()> {
        match self.bytes.len() >= FULL {
            true => self.write().await,
            false => Ok(()),
        }
    }

    /// Awaits the rest of a request, for as long as a client may be idle. If it has not come yet, the
    /// answers are written before: the client may wait for them.
    pub(crate) async fn before<F: Future>(
        &mut self,
        mut rest: Pin<&mut F>,
    ) -> io::Result<F::Output> {
        let now = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await;
        if let Poll::Ready(request) = now {
            return Ok(request);
        }
        self.write().await?;
        Ok(wait_for(self.idle, rest).await?)
    }
}
