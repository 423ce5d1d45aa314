//! The interface to a kqueue of a linked library; chosen by `--cfg readily_kqueue_extern`.
//!
//! With it the kqueue poller can be run on Linux, over the kernel code of a BSD built as a
//! library, or over an emulation. Descriptors are the library's: nothing here, or above, may take
//! such a number for one of Linux's, so there is no closing, no flag to set and no `fstat` in this file.
//!
//! The layout is FreeBSD 13's; with `--cfg 'readily_kqueue_extern="netbsd"'` beside the other it is
//! NetBSD 10's, and with `"apple"` that of macOS, and so are the numbers of the filters. Where the
//! library has no `EVFILT_USER`, `"bell"` ends waits by a pipe of the library's own, for which it has
//! to offer three functions more.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use crate::kq_abi::Personality;
use crate::poll::FileKind;

#[cfg(not(any(readily_kqueue_extern = "netbsd", readily_kqueue_extern = "apple")))]
mod layout {
    use super::{Personality, c_int, c_void};

    pub(in super::super) const PERSONALITY: Personality = Personality::FreeBsd;
    pub(super) type Count = c_int;

    /// FreeBSD 13's structure.
    #[repr(C)]
    #[derive(Clone, Copy)]
    #[allow(non_camel_case_types)]
    pub(in super::super) struct kevent {
        pub(in super::super) ident: usize,
        pub(in super::super) filter: i16,
        pub(in super::super) flags: u16,
        pub(in super::super) fflags: u32,
        pub(in super::super) data: i64,
        pub(in super::super) udata: *mut c_void,
        pub(in super::super) ext: [u64; 4],
    }
}

#[cfg(readily_kqueue_extern = "netbsd")]
mod layout {
    use super::{Personality, c_void};

    pub(in super::super) const PERSONALITY: Personality = Personality::NetBsd;
    pub(super) type Count = usize;

    /// NetBSD's structure.
    #[repr(C)]
    #[derive(Clone, Copy)]
    #[allow(non_camel_case_types)]
    pub(in super::super) struct kevent {
        pub(in super::super) ident: usize,
        pub(in super::super) filter: u32,
        pub(in super::super) flags: u32,
        pub(in super::super) fflags: u32,
        pub(in super::super) data: i64,
        pub(in super::super) udata: *mut c_void,
    }
}

#[cfg(readily_kqueue_extern = "apple")]
mod layout {
    use super::{Personality, c_int, c_void};

    pub(in super::super) const PERSONALITY: Personality = Personality::Apple;
    pub(super) type Count = c_int;

    /// The structure of macOS.
    #[repr(C, packed(4))]
    #[derive(Clone, Copy)]
    #[allow(non_camel_case_types)]
    pub(in super::super) struct kevent {
        pub(in super::super) ident: usize,
        pub(in super::super) filter: i16,
        pub(in super::super) flags: u16,
        pub(in super::super) fflags: u32,
        pub(in super::super) data: isize,
        pub(in super::super) udata: *mut c_void,
    }
}

use layout::Count;
pub(super) use layout::{PERSONALITY, kevent};

unsafe extern "C" {
    safe fn kqueue() -> c_int;
    pub(super) fn kevent(
        kq: c_int,
        changelist: *const kevent,
        nchanges: Count,
        eventlist: *mut kevent,
        nevents: Count,
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

/// What ends a wait where the library's kqueue has no `EVFILT_USER`.
#[cfg(readily_kqueue_extern = "bell")]
mod bell {
    use super::{RawFd, c_int, io};

    unsafe extern "C" {
        /// Makes a pipe of the library's: the reading and the writing end, neither of which ever waits.
        fn readily_extern_pipe(ends: *mut c_int) -> c_int;
        /// Writes one byte, from any thread; that there is no room is no error.
        safe fn readily_extern_ring(writer: c_int);
        /// Reads until nothing is left.
        safe fn readily_extern_drain(reader: c_int);
    }

    /// A pipe of the library's. It is left to the library to close it.
    #[derive(Debug)]
    pub(in super::super) struct Pipe([RawFd; 2]);

    impl Pipe {
        pub(in super::super) fn number(&self) -> RawFd {
            self.0[0]
        }

        pub(in super::super) fn notify(&self) {
            readily_extern_ring(self.0[1]);
        }

        pub(in super::super) fn drain(&self) {
            readily_extern_drain(self.0[0]);
        }
    }

    pub(in super::super) fn pipe() -> io::Result<Pipe> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` is a live local with space for the two numbers that are written.
        crate::cvt(unsafe { readily_extern_pipe(ends.as_mut_ptr()) })?;
        Ok(Pipe(ends))
    }
}

/// A pipe of Linux would mean nothing to the library.
#[cfg(not(readily_kqueue_extern = "bell"))]
mod bell {
    use super::{RawFd, io};

    /// There is none.
    #[derive(Debug)]
    pub(in super::super) enum Pipe {}

    impl Pipe {
        pub(in super::super) fn number(&self) -> RawFd {
            match *self {}
        }

        pub(in super::super) fn notify(&self) {
            match *self {}
        }

        pub(in super::super) fn drain(&self) {
            match *self {}
        }
    }

    pub(in super::super) fn pipe() -> io::Result<Pipe> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(super) use bell::{Pipe, pipe};
