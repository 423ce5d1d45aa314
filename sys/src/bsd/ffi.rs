//! The interface to the system's kqueue: the structure, the numbers, the two calls.
//!
//! This file alone knows which kqueue lies below. Its twin `ffi_extern.rs`
//! takes a kqueue from a library instead, so that the same poller can be run against the
//! kernel code of another system.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

pub(super) use libc::kevent;

use crate::kq_abi::{self, Filter, Personality};

#[cfg(target_vendor = "apple")]
pub(super) const PERSONALITY: Personality = Personality::Apple;
#[cfg(target_os = "freebsd")]
pub(super) const PERSONALITY: Personality = Personality::FreeBsd;
#[cfg(target_os = "netbsd")]
pub(super) const PERSONALITY: Personality = Personality::NetBsd;
#[cfg(target_os = "openbsd")]
pub(super) const PERSONALITY: Personality = Personality::OpenBsd;
#[cfg(target_os = "dragonfly")]
pub(super) const PERSONALITY: Personality = Personality::DragonFly;

/// A kqueue's descriptor.
#[derive(Debug)]
pub(super) struct Descriptor(Option<OwnedFd>);

impl Descriptor {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes nothing, touches no memory.
        let fd = crate::cvt(unsafe { libc::kqueue() })?;
        // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // kqueue1 and kqueuex, which do it in one step, are not on all of these systems. A
        // child that is forked in between does not inherit a kqueue in any case.
        // SAFETY: takes numbers, touches no memory.
        crate::cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(Self(Some(fd)))
    }

    pub(super) fn number(&self) -> RawFd {
        self.0.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Forgets the number without closing it: in a child it may stand for another file.
    pub(super) fn forget(&mut self) {
        let _ = self.0.take().map(IntoRawFd::into_raw_fd);
    }
}

/// See [`crate::poll::file_kind`].
pub(super) use crate::poll::file_kind;

/// What ends a wait where the kqueue has no `EVFILT_USER`.
#[derive(Debug)]
pub(super) struct Pipe(crate::unix::pipe::Notifier);

impl Pipe {
    pub(super) fn number(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    pub(super) fn notify(&self) {
        self.0.notify();
    }

    pub(super) fn drain(&self) {
        self.0.drain();
    }
}

pub(super) fn pipe() -> io::Result<Pipe> {
    crate::unix::pipe::Notifier::new().map(Pipe)
}

// The types are of other widths on each system.
#[allow(clippy::unnecessary_cast)]
const _: () = {
    assert!(Filter::Read.number(PERSONALITY) == libc::EVFILT_READ as i32);
    assert!(Filter::Write.number(PERSONALITY) == libc::EVFILT_WRITE as i32);
    assert!(Filter::User.number(PERSONALITY) == libc::EVFILT_USER as i32);
    assert!(Filter::Timer.number(PERSONALITY) == libc::EVFILT_TIMER as i32);
    assert!(kq_abi::EV_ADD == libc::EV_ADD as u32);
    assert!(kq_abi::EV_DELETE == libc::EV_DELETE as u32);
    assert!(kq_abi::EV_ENABLE == libc::EV_ENABLE as u32);
    assert!(kq_abi::EV_DISABLE == libc::EV_DISABLE as u32);
    assert!(kq_abi::EV_ONESHOT == libc::EV_ONESHOT as u32);
    assert!(kq_abi::EV_CLEAR == libc::EV_CLEAR as u32);
    assert!(kq_abi::EV_RECEIPT == libc::EV_RECEIPT as u32);
    assert!(kq_abi::EV_DISPATCH == libc::EV_DISPATCH as u32);
    assert!(kq_abi::EV_ERROR == libc::EV_ERROR as u32);
    assert!(kq_abi::EV_EOF == libc::EV_EOF as u32);
    assert!(kq_abi::NOTE_LOWAT == libc::NOTE_LOWAT);
    assert!(kq_abi::NOTE_TRIGGER == libc::NOTE_TRIGGER);
};
