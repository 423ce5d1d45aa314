//! Whether two numbers are the same open file (`kcmp(2)`). The twin of `unix/same_file.rs`.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The kernel's: compare two open files.
const KCMP_FILE: c_int = 0;

/// Whether `fd` and the number `other` are one open file; a number that is not open is none. `None` if kernel
/// or sandbox refuse the call.
#[must_use]
pub fn is_same(fd: BorrowedFd<'_>, other: RawFd) -> Option<bool> {
    // SAFETY: takes nothing, touches no memory. The thread and not the process: the main thread may have
    // ended, and has no descriptors then.
    let own = unsafe { libc::syscall(libc::SYS_gettid) };
    let (fd, other) = (fd.as_raw_fd(), other);
    // SAFETY: number and order of the arguments are those of kcmp(2): two threads, what is compared, two
    // numbers. It touches no memory of this process.
    match unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, fd, other) } {
        0 => Some(true),
        1.. => Some(false),
        _ => match io::Error::last_os_error().raw_os_error() {
            Some(libc::EBADF) => Some(false),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_duplicate_is_the_same_open_file_and_another_of_its_inode_is_not() {
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        let twin = reader.try_clone().unwrap();
        let same = is_same(reader.as_fd(), twin.as_raw_fd());
        if same.is_none() {
            return; // a sandbox without kcmp(2)
        }
        assert_eq!(same, Some(true));
        assert_eq!(is_same(reader.as_fd(), writer.as_raw_fd()), Some(false));
        assert_eq!(is_same(reader.as_fd(), -1), Some(false));
    }
}
