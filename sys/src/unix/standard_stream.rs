//! Descriptors for the standard streams of the process.
//!
//! The open files behind the numbers 0, 1 and 2 mostly belong to other processes as well: to the shell, and to the
//! programs that it has started. If one of them is made non-blocking, a write of the shell's fails, and so does a
//! `println!` of this program. A terminal and a pipe without a name can be opened once more: then the flag belongs to
//! the new open file alone. Other files cannot, because the new open file would have a position of its own, or (a
//! FIFO whose writers have gone) would not report the end.
//!
//! In the notes this is part of "what the operating system offers" (N2).

use std::ffi::{CStr, OsStr};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::cvt;
use crate::unix::file_id::FileId;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StandardStream {
    /// Number 0.
    Input = libc::STDIN_FILENO as isize,
    /// Number 1.
    Output = libc::STDOUT_FILENO as isize,
    /// Number 2.
    Error = libc::STDERR_FILENO as isize,
}

impl StandardStream {
    /// A duplicate, whose number is not that of a standard stream: the standard library sees to that.
    fn duplicate(self) -> io::Result<OwnedFd> {
        match self {
            Self::Input => io::stdin().as_fd().try_clone_to_owned(),
            Self::Output => io::stdout().as_fd().try_clone_to_owned(),
            Self::Error => io::stderr().as_fd().try_clone_to_owned(),
        }
    }
}

/// Returns a descriptor for a standard stream, with a number above those of the standard streams. `true` with it if
/// it is an open file of its own, which is non-blocking: otherwise it shares that of the stream.
///
/// # Errors
///
/// `EBADF` if the stream is closed, also if its number is another file's by now: one that is close-on-exec, as a
/// stream that a program was started with cannot be. `EMFILE`.
pub fn open(stream: StandardStream) -> io::Result<(OwnedFd, bool)> {
    let number = stream as RawFd;
    // SAFETY: takes numbers, touches no memory.
    let flags = cvt(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    match open_again(stream) {
        Ok(Some(own)) => Ok((own, true)),
        // For instance a terminal of another user, or one that was hung up.
        Ok(None) | Err(_) => Ok((stream.duplicate()?, false)),
    }
}

/// Opens the file of a stream once more, if that makes no difference but for the flag.
fn open_again(stream: StandardStream) -> io::Result<Option<OwnedFd>> {
    let number = stream as RawFd;
    let Some(path) = terminal(number).or_else(|| pipe(number)) else {
        return Ok(None);
    };
    let reads = stream == StandardStream::Input;
    let mut options = OpenOptions::new();
    options.read(reads).write(!reads);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let mut own = OwnedFd::from(options.open(path)?);
    if own.as_raw_fd() <= libc::STDERR_FILENO {
        own = own.try_clone()?; // as above
    }
    let is_same = FileId::of(own.as_raw_fd())?.0 == FileId::of(number)?.0;
    Ok(is_same.then_some(own))
}

/// The path of a terminal.
fn terminal(number: RawFd) -> Option<PathBuf> {
    let mut name = [0u8; 256];
    // SAFETY: `name` has space for the bytes that are written, of which there are at most its length.
    let failed = unsafe { libc::ttyname_r(number, name.as_mut_ptr().cast(), name.len()) };
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    (failed == 0).then(|| OsStr::from_bytes(name.to_bytes()).into())
}

/// The path of a pipe without a name, on systems that have one.
fn pipe(number: RawFd) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/self/fd/{number}"));
    let leads_to = fs::read_link(&path).ok()?;
    (leads_to.as_os_str().as_bytes().starts_with(b"pipe:[")).then_some(path)
}
