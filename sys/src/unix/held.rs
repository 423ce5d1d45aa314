//! What is listed of a file that is kept non-blocking (`nonblocking.rs`).
//!
//! Each descriptor that came from elsewhere has an entry for as long as it is registered, so an entry is small.

use std::os::fd::RawFd;

use crate::unix::file_id::FileId;

/// An open file, as far as `fstat(2)` and the access mode identify it: the two ends of a pipe are one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// [`FileId::NONE`] where the system gives files of this kind no identity.
    pub(super) id: FileId,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// One of `O_RDONLY`, `O_WRONLY` and `O_RDWR`.
    pub(super) access: u8,
    /// A file without a type, such as an eventfd: many that have nothing in common are one inode.
    pub(super) is_anonymous: bool,
}

impl File {
    /// All of it but the [`group`](FileId::group), in 15 bits, and whether it is anonymous in the lowest one. None
    /// but that of a file without identity is zero.
    pub(super) fn check(self) -> u16 {
        if self.id == FileId::NONE {
            return 0;
        }
        let hash = (self.id.rest() ^ u16::from(self.kind.access) << 13) & 0x7fff;
        hash.max(1) << 1 | u16::from(self.kind.is_anonymous)
    }
}

/// What is listed of a hold, in six bytes: one for each descriptor that came from elsewhere.
///
/// Device, inode and access mode are not kept. Group and check recognise the file but for one case in two thousand
/// million; the file of another number is asked for.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(2))] // as the keys, so that no entry has unused bytes
pub(super) struct Held {
    pub(super) check: u16,
    /// The descriptor, with all bits inverted if the flag is to be cleared when the hold ends: it has set it, or has
    /// taken that over.
    pub(super) fd: RawFd,
}

impl Held {
    pub(super) fn new(file: File, fd: RawFd, owes: bool) -> Self {
        let check = file.check();
        Self {
            check,
            fd: if owes { !fd } else { fd },
        }
    }

    pub(super) fn fd(self) -> RawFd {
        self.fd.max(!self.fd)
    }

    pub(super) fn owes(self) -> bool {
        self.fd < 0
    }

    pub(super) fn has_identity(self) -> bool {
        self.check != 0
    }

    pub(super) fn is_anonymous(self) -> bool {
        self.check & 1 != 0
    }
}
