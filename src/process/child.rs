//! A child with its pipes, and collecting what it writes.
//!
//! In asyncio: `Process`, and its `communicate`.

use super::error::{ChildError, ChildStream};
use super::handle::{ChildHandle, ChildWait};
use crate::combine::{Either, gather::try_gather, select::select};
use crate::io::{PipeReader, PipeWriter, ReadSome};
use crate::time::wait_for::wait_for;
use std::io;
use std::ops::Deref;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

/// The limits of [`Child::communicate`].
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputOptions {
    pub(super) limit: usize,
    pub(super) grace: Duration,
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            limit: 64 << 20,
            grace: Duration::from_millis(100),
        }
    }
}

/// A child with the ends of its pipes. Dereferences to its [`ChildHandle`], which can wait for it and send it signals.
///
/// Dropping it closes the pipes, and the child runs on, unless it was started with
/// [`kill_on_drop`](super::Command::kill_on_drop).
#[derive(Debug)]
pub struct Child {
    /// The writing end of its standard input, if that is a pipe.
    pub stdin: Option<PipeWriter>,
    /// The reading end of its standard output, if that is a pipe.
    pub stdout: Option<PipeReader>,
    /// The reading end of its standard error, if that is a pipe.
    pub stderr: Option<PipeReader>,
    handle: ChildHandle,
    options: OutputOptions,
    collected: Collected,
}

/// What [`Child::communicate`] has done so far.
#[derive(Debug, Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// How many bytes of the input were written.
    fed: usize,
}

/// The output of a child, and its status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How the child has ended.
    pub status: ExitStatus,
    /// What it has written to its standard output.
    pub stdout: Vec<u8>,
    /// What it has written to its standard error.
    pub stderr: Vec<u8>,
    /// Whether the output was read to its end. `false` if a grandchild still kept a pipe open when the child had
    /// ended and [`output_grace`](super::Command::output_grace) had passed.
    pub is_complete: bool,
    /// How many bytes of the input were written to the child's pipe. Fewer than the input has, if the child has
    /// closed the pipe.
    pub fed: usize,
}

impl Child {
    pub(super) fn new(
        handle: ChildHandle,
        stdin: Option<PipeWriter>,
        stdout: Option<PipeReader>,
        stderr: Option<PipeReader>,
        options: OutputOptions,
    ) -> Self {
        Self {
            stdin,
            stdout,
            stderr,
            handle,
            options,
            collected: Collected::default(),
        }
    }

    /// Returns a handle without the pipes.
    #[must_use]
    pub fn handle(&self) -> ChildHandle {
        self.handle.clone()
    }

    /// Closes `stdin`, if the program has not taken it, and then waits as [`ChildHandle::wait`] does. With an open
    /// `stdin` a child that reads to the end of its input would never end.
    ///
    /// # Errors
    ///
    /// As [`ChildHandle::wait`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost, but `stdin` is closed.
    pub fn wait(&mut self) -> ChildWait {
        self.stdin = None;
        self.handle.wait()
    }

    /// Writes `input` to the child and closes its standard input, reads its standard output and its standard error, and
    /// waits for its end, all at the same time. Streams that are no pipes, or that the program has taken, are left out.
    ///
    /// If the child ends before its output does, this waits for the rest of the output no longer than
    /// [`output_grace`](super::Command::output_grace): see [`Output::is_complete`]. If the child does not
    /// read its input, that is no error: see [`Output::fed`].
    ///
    /// # Errors
    ///
    /// [`ChildError::TooMuchOutput`] if the output is larger than [`output_limit`](super::Command::output_limit); the
    /// child runs on. As [`ChildHandle::wait`]. An error of `read(2)` or `write(2)`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: what was read stays in the child. Another call, with the same input, goes on.
    pub async fn communicate(&mut self, input: &[u8]) -> Result<Output, ChildError> {
        let OutputOptions { limit, grace } = self.options;
        let Collected {
            stdout: out,
            stderr: err,
            fed,
        } = &mut self.collected;
        let mut exit = pin!(self.handle.wait());
        let (status, is_complete) = {
            let mut pipes = pin!(try_gather((
                feed(&mut self.stdin, input, fed),
                collect(&mut self.stdout, out, limit, ChildStream::Stdout),
                collect(&mut self.stderr, err, limit, ChildStream::Stderr),
            )));
            match select((pipes.as_mut(), exit.as_mut())).await {
                Either::Left(done) => {
                    done?;
                    (exit.await?, true)
                }
                Either::Right(ended) => match wait_for(grace, pipes).await {
                    Ok(done) => done.and_then(|_| Ok((ended?, true)))?,
                    Err(_elapsed) => (ended?, false),
                },
            }
        };
        if !is_complete {
            // What the child itself has written is there by now.
            take_rest(&mut self.stdout, out, limit, ChildStream::Stdout)?;
            take_rest(&mut self.stderr, err, limit, ChildStream::Stderr)?;
        }
        let Collected {
            stdout,
            stderr,
            fed,
        } = std::mem::take(&mut self.collected);
        Ok(Output {
            status,
            stdout,
            stderr,
            is_complete,
            fed,
        })
    }
}

/// Writes the rest of the input, and closes the pipe.
async fn feed(
    stdin: &mut Option<PipeWriter>,
    input: &[u8],
    fed: &mut usize,
) -> Result<(), ChildError> {
    if let Some(writer) = stdin {
        while *fed < input.len() {
            match writer.write(&input[*fed..]).await {
                Ok(n) => *fed += n,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    *stdin = None;
    Ok(())
}

/// Reads to the end, and closes the pipe.
async fn collect(
    pipe: &mut Option<PipeReader>,
    into: &mut Vec<u8>,
    limit: usize,
    stream: ChildStream,
) -> Result<(), ChildError> {
    while let Some(reader) = pipe {
        let left = limit.saturating_sub(into.len());
        match reader.read_some(into, left).await? {
            ReadSome::Bytes => {}
            ReadSome::End => *pipe = None,
            ReadSome::TooMany => return Err(ChildError::TooMuchOutput { stream, limit }),
        }
    }
    Ok(())
}

/// Reads what is there, and closes the pipe.
fn take_rest(
    pipe: &mut Option<PipeReader>,
    into: &mut Vec<u8>,
    limit: usize,
    stream: ChildStream,
) -> Result<(), ChildError> {
    while let Some(reader) = pipe {
        let left = limit.saturating_sub(into.len());
        match reader.try_read_some(into, left) {
            Ok(ReadSome::Bytes) => {}
            Ok(ReadSome::TooMany) => return Err(ChildError::TooMuchOutput { stream, limit }),
            Ok(ReadSome::End) => *pipe = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *pipe = None,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Deref for Child {
    type Target = ChildHandle;

    fn deref(&self) -> &ChildHandle {
        &self.handle
    }
}
