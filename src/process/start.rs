//! Starting a child: the process, its pipes, and what reports its end.
//!
//! In asyncio: `BaseSubprocessTransport`.

use super::child::{Child, OutputOptions};
use super::error::ChildError;
use super::handle::ChildHandle;
use super::loop_children::watch;
use super::running::{ChildOptions, ExitWatch, Process};
use crate::event_loop::{Error, LoopHandle};
use crate::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::Command;

/// Starts a child on `handle`: all of it, or nothing.
pub(super) fn start(
    handle: &LoopHandle,
    command: &mut Command,
    (options, exit_watch, output): (ChildOptions, ExitWatch, OutputOptions),
    site: &'static Location<'static>,
) -> Result<Child, ChildError> {
    check_usable(handle)?;
    // Dropping the standard library's handle neither waits nor kills.
    let mut child = command.spawn()?;
    let watched = watch(
        handle,
        Process::System(child.id()),
        options,
        exit_watch,
        site,
    );
    let handle = ChildHandle::new(watched);
    let reader = |end: Option<OwnedFd>| end.map(PipeReader::new).transpose();
    let pipes = (|| {
        let stdin = child.stdin.take().map(PipeWriter::new).transpose()?;
        let stdout = reader(child.stdout.take().map(OwnedFd::from))?;
        let stderr = reader(child.stderr.take().map(OwnedFd::from))?;
        Ok((stdin, stdout, stderr))
    })();
    with_pipes(handle, output, pipes)
}

/// Whether children can be started on `handle`.
pub(super) fn check_usable(handle: &LoopHandle) -> Result<(), Error> {
    match handle {
        _ if handle.is_closed() => Err(Error::Closed),
        _ if handle.inbox().forked() => Err(Error::Forked),
        _ => Ok(()),
    }
}

/// The loop's ends of the pipes of a child.
pub(super) type Pipes = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

/// Returns a child with its pipes, unless these could not be registered.
pub(super) fn with_pipes(
    handle: ChildHandle,
    output: OutputOptions,
    pipes: Result<Pipes, ChildError>,
) -> Result<Child, ChildError> {
    match pipes {
        Ok((stdin, stdout, stderr)) => Ok(Child::new(handle, stdin, stdout, stderr, output)),
        Err(error) => {
            // The caller has no child, so it must not run on.
            let _ended = handle.kill();
            Err(error)
        }
    }
}
