//! One end of a pipe or a FIFO, in either direction.
//!
//! In the notes: the I/O of coroutines (N4, N10).

use super::watched::{Io, Watched};
use crate::event_loop::{Error, FdState, current};
use crate::poll::{FdOwned, FdRef};
use readily_sys::transfer::Transfer;
use std::cell::Cell;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::Location;
use std::path::Path;

/// One end, of the system or of another kernel.
#[derive(Debug)]
pub(super) struct PipeEnd {
    fd: FdOwned,
    /// Which calls do not wait even if another process makes a shared FIFO blocking.
    pub(super) known: Cell<Transfer>,
}

impl Io for PipeEnd {
    fn fd_ref(&self) -> FdRef<'_> {
        match &self.fd {
            FdOwned::System(fd) => FdRef::System(fd.as_fd()),
            FdOwned::Virtual(fd) => FdRef::Virtual(&**fd),
        }
    }
}

impl PipeEnd {
    /// Registers an end that the loop has not made, if it is one.
    pub(super) fn watch(
        fd: FdOwned,
        fd_state: FdState,
        site: &'static Location<'static>,
    ) -> io::Result<Watched<Self>> {
        let known = Cell::new(Transfer::FILE);
        let end = Self { fd, known };
        let fd_ref = end.fd_ref();
        if !fd_ref.is_pipe()? {
            return Err(Error::NotPipe { fd: fd_ref.raw() }.into_io());
        }
        Watched::new(end, fd_state, site)
    }

    /// The system's descriptor; `None` if it is another kernel's.
    pub(super) fn into_system(self) -> Option<OwnedFd> {
        match self.fd {
            FdOwned::System(fd) => Some(fd),
            FdOwned::Virtual(_) => None,
        }
    }

    /// The descriptor as the loop that runs here has it.
    pub(super) fn import(fd: OwnedFd) -> FdOwned {
        let kernel = current::with(|handle| handle.kernel().cloned()).flatten();
        let Some(kernel) = kernel else {
            return FdOwned::System(fd);
        };
        kernel
            .import(fd)
            .map_or_else(FdOwned::System, FdOwned::Virtual)
    }
}

/// Opens a FIFO without waiting for its other end.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<OwnedFd> {
    let file = options.custom_flags(readily_sys::O_NONBLOCK).open(path)?;
    Ok(file.into())
}

/// What [`PipeEnd::read_some`] has found.
#[derive(Debug)]
pub(crate) enum ReadSome {
    Bytes,
    End,
    /// There is more than the limit.
    TooMany,
}

impl PipeEnd {
    /// Appends what is there, up to `limit` bytes.
    pub(super) fn read_some(&self, into: &mut Vec<u8>, limit: usize) -> io::Result<ReadSome> {
        let mut buffer = [0; 1 << 13];
        if limit == 0 && self.fd_ref().bytes_available()? > 0 {
            return Ok(ReadSome::TooMany);
        }
        // One byte may have come meanwhile, and must not be lost.
        let room = limit.clamp(1, buffer.len());
        let n = self.fd_ref().try_read(&mut buffer[..room], &self.known)?;
        into.extend_from_slice(&buffer[..n]);
        Ok(match n {
            0 => ReadSome::End,
            n if n > limit => ReadSome::TooMany,
            _ => ReadSome::Bytes,
        })
    }
}
