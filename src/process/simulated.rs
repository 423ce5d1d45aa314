//! Starting a child on a kernel in memory, where it is a program of the test.
//!
//! asyncio has no counterpart.

use super::child::{Child, OutputOptions};
use super::error::ChildError;
use super::handle::ChildHandle;
use super::loop_children::watch;
use super::running::{ChildOptions, ExitWatch, Process};
use super::start::{check_usable, with_pipes};
use crate::event_loop::LoopHandle;
use crate::io::{PipeReader, PipeWriter};
use crate::poll::{VirtualKernel, VirtualProcess};
use std::panic::Location;
use std::process::Command;

/// Starts a child on `handle`: all of it, or nothing. Which streams of a [`Command`] are pipes cannot be asked, so
/// each that was set is one.
pub(super) fn start_simulated(
    handle: &LoopHandle,
    kernel: &dyn VirtualKernel,
    (command, is_set): (&Command, [bool; 3]),
    (options, exit_watch, output): (ChildOptions, ExitWatch, OutputOptions),
    site: &'static Location<'static>,
) -> Result<Child, ChildError> {
    check_usable(handle)?;
    let started = kernel.start_child(command, is_set);
    let VirtualProcess { child, pipes } = started.ok_or(ChildError::NoProcesses)??;
    let watched = watch(handle, Process::Simulated(child), options, exit_watch, site);
    let [stdin, stdout, stderr] = pipes;
    let pipes = (|| {
        let stdin = stdin.map(PipeWriter::from_kernel).transpose()?;
        let stdout = stdout.map(PipeReader::from_kernel).transpose()?;
        let stderr = stderr.map(PipeReader::from_kernel).transpose()?;
        Ok((stdin, stdout, stderr))
    })();
    with_pipes(ChildHandle::new(watched), output, pipes)
}
