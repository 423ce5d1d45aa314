//! Which file a descriptor stands for, by `fstat(2)`.
//!
//! A number that is closed and opened again looks the same; device and inode distinguish the two files.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use crate::cvt;

/// Device and inode of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// What a system reports that has no number for a file of this kind: some BSDs, for sockets.
    pub const NONE: Self = Self {
        device: 0,
        inode: 0,
    };

    /// A number that files made one after the other mostly have in a row, so that tables which are sorted by it grow
    /// at their end.
    pub(crate) fn group(self) -> u16 {
        self.inode as u16
    }

    /// A hash of what is not in its [`group`](Self::group): device, and the other bits of the inode.
    pub(crate) fn rest(self) -> u16 {
        let odd = 0x9e37_79b9_7f4a_7c15; // spreads each bit over those above it
        let hash =
            (self.inode >> 16).wrapping_mul(odd) ^ self.device.wrapping_mul(odd).rotate_left(7);
        (hash >> 48) as u16
    }

    /// Of `fd`, with its type and mode (`st_mode`).
    ///
    /// # Errors
    ///
    /// `EBADF` for a number that is not open.
    pub(crate) fn of(fd: RawFd) -> io::Result<(Self, libc::mode_t)> {
        let stat = stat(fd)?;
        // The widths differ from system to system; no bit is lost in 64.
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
        let id = Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        };
        Ok((id, stat.st_mode))
    }
}

/// What `fstat(2)` reports.
///
/// # Errors
///
/// `EBADF` for a number that is not open.
pub(crate) fn stat(fd: RawFd) -> io::Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has space for the structure that is written; a number that is not open
    // gives `EBADF`.
    cvt(unsafe { libc::fstat(fd, stat.as_mut_ptr()) })?;
    // SAFETY: the call above has succeeded, so all of it is written.
    Ok(unsafe { stat.assume_init() })
}
