//! The seam to a kqueue that a linked library offers; chosen by `--cfg readily_kqueue_extern`.
//!
//! With it the kqueue poller can be run on Linux, over the kernel code of FreeBSD built as a
//! library, or over an emulation. The layout is FreeBSD 13's. Descriptors are the library's:
//! nothing here, or above, may take such a number for one of Linux's, so there is no
//! closing, no flag to set and no `fstat` in this file.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use crate::kq_abi::Personality;
use crate::poll::FileKind;

pub(super) const PERSONALITY: Personality = Personality::FreeBsd;

/// FreeBSD 13's structure.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub(super) struct kevent {
    pub(super) ident: usize,
    pub(super) filter: i16,
    pub(super) flags: u16,
    pub(super) fflags: u32,
    pub(super) data: i64,
    pub(super) udata: *mut c_void,
    pub(super) ext: [u64; 4],
}

unsafe extern "C" {
    safe fn kqueue() -> c_int;
    pub(super) fn kevent(
        kq: c_int,
        changelist: *const kevent,
        nchanges: c_int,
        eventlist: *mut kevent,
        nevents: c_int,
        timeout: *const libc::timespec,
    ) -> c_int;
}

/// A kqueue's descriptor, in the library's numbering. It is left to the library to close it:
/// the number may be another file's here.
#[derive(Debug)]
pub(super) struct Descriptor(RawFd);

impl Descriptor {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(crate::cvt(kqueue())?))
    }

    pub(super) fn number(&self) -> RawFd {
        self.0
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(super) fn forget(&mut self) {
        self.0 = -1;
    }
}

/// Not asked of Linux, which would speak of another descriptor.
pub(super) fn file_kind(_fd: RawFd) -> io::Result<FileKind> {
    Ok(FileKind::Other)
}

/// A pipe of Linux would mean nothing to the library.
pub(super) fn pipe() -> io::Result<crate::unix::pipe::Notifier> {
    Err(io::ErrorKind::Unsupported.into())
}
