//! Reading and writing files with a flag per call that forbids waiting (`RWF_NOWAIT`). The twin of
//! `unix/nowait.rs`.
//!
//! The calls go by number, because older C libraries lack their names.

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::transferred;

/// The kernel's; the C library may be older.
const RWF_NOWAIT: c_int = 8;
/// Read and write where the file stands, as `read(2)` and `write(2)` do.
const HERE: c_long = -1;

/// Reads (`preadv2(2)`); `None` if kernel, file or sandbox refuse the flag.
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Option<io::Result<usize>> {
    transfer(fd, libc::SYS_preadv2, buf.as_mut_ptr(), buf.len())
}

/// Writes (`pwritev2(2)`); `None` if kernel, file or sandbox refuse the flag.
pub(crate) fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> Option<io::Result<usize>> {
    transfer(fd, libc::SYS_pwritev2, buf.as_ptr().cast_mut(), buf.len())
}

/// One of the two, of a buffer that the caller has borrowed: for the one that fills it, exclusively.
fn transfer(
    fd: BorrowedFd<'_>,
    call: c_long,
    buf: *mut u8,
    len: usize,
) -> Option<io::Result<usize>> {
    let part = libc::iovec {
        iov_base: buf.cast(),
        iov_len: len,
    };
    let fd = fd.as_raw_fd();
    answer(transferred(|| {
        // SAFETY:
        // - number and order of the arguments are those of preadv2(2) and pwritev2(2): descriptor, parts and
        //   how many, the offset in two halves, flags;
        // - `part` names a buffer that is borrowed for the call, with its length; only preadv2(2), which is
        //   given an exclusive one, writes to it.
        let done = unsafe { libc::syscall(call, fd, &raw const part, 1, HERE, HERE, RWF_NOWAIT) };
        done as isize
    }))
}

/// What is no answer of the file: no such call, no such flag, not for this file, not in this sandbox. Some of
/// them may be meant for the buffer; without the flag the same comes again.
fn answer(done: io::Result<usize>) -> Option<io::Result<usize>> {
    match &done {
        Err(error) if is_refusal(error.raw_os_error()) => None,
        _ => Some(done),
    }
}

fn is_refusal(errno: Option<c_int>) -> bool {
    const REFUSALS: [c_int; 5] = [
        libc::ENOSYS,
        libc::EOPNOTSUPP,
        libc::EINVAL,
        libc::EPERM,
        libc::EACCES,
    ];
    errno.is_some_and(|errno| REFUSALS.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// A device that does not know the flag.
    #[test]
    fn a_file_that_refuses_the_flag_says_so_and_moves_no_byte() {
        let mut terminal = std::fs::File::options();
        let Ok(terminal) = terminal.read(true).write(true).open("/dev/ptmx") else {
            return; // a sandbox without terminals
        };
        assert!(read(terminal.as_fd(), &mut [0; 8]).is_none());
    }

    #[test]
    fn an_end_and_a_missing_byte_are_answers() {
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        let Some(empty) = read(reader.as_fd(), &mut [0; 8]) else {
            return; // a kernel older than 6.5
        };
        assert_eq!(empty.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert_eq!(read(reader.as_fd(), &mut [0; 8]).unwrap().unwrap(), 0);
    }
}
