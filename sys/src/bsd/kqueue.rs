//! kqueue: the selector of macOS and the BSDs.
//!
//! Changes and events go through one call. We never mix the two: changes ask for receipts
//! and have room for nothing else, so that no event can be swallowed by a change, and a
//! wait changes nothing, so that its error is only its own.
//!
//! In the notes this is the *selector* of macOS (N2).

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::ffi;
pub use super::notify::Notifier;
use crate::cvt;
use crate::fork::ForkGuard;
use crate::kq_abi::{self, EV_ERROR, EV_RECEIPT, Filter, Kevent, Personality};
use crate::poll::FileKind;
use crate::unix::poll::WAIT_EVENTS;

/// How many changes fit into one call of [`Kqueue::change`].
pub const MAX_CHANGES: usize = 4;

/// The system that this kqueue belongs to.
pub const PERSONALITY: Personality = ffi::PERSONALITY;

/// A kqueue. It can be triggered from any thread while another one waits.
#[derive(Debug)]
pub struct Kqueue {
    fd: ffi::Descriptor,
    owner: ForkGuard,
}

impl Kqueue {
    /// Makes a queue that does not survive `exec`; `fork` it never survives.
    ///
    /// # Errors
    ///
    /// Too many descriptors, or no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: ffi::Descriptor::new()?,
            owner: ForkGuard::new()?,
        })
    }

    /// Applies `changes` in order, and writes the error of each, or zero, to `errors`.
    ///
    /// # Errors
    ///
    /// That of the call as a whole: then nothing is known about the single changes.
    ///
    /// # Panics
    ///
    /// For more than [`MAX_CHANGES`], or if `errors` is shorter than `changes`.
    pub fn change(&self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        self.check_owner()?;
        let errors = &mut errors[..changes.len()];
        errors.fill(0);
        let mut list = [raw(None); MAX_CHANGES];
        for (to, change) in list[..changes.len()].iter_mut().zip(changes) {
            *to = raw(Some(change));
        }
        let at_once = spec(Duration::ZERO);
        let list_out = list.as_mut_ptr();
        let list_in = list_out.cast_const();
        let len = changes.len();
        // SAFETY:
        // - both lists are the local `list`, which has room for `len` entries (the slicing
        //   above would have panicked), all of them initialised; kevent(2) copies a change
        //   in before it writes that change's receipt out, so that they may be one;
        // - `at_once` is alive until the call returns;
        // - the queue is open for as long as `self` lives, and this is its process.
        let n = cvt(unsafe {
            ffi::kevent(
                self.fd.number(),
                list_in,
                len as _,
                list_out,
                len as _,
                &raw const at_once,
            )
        });
        match n {
            // The manual promises that all changes have been applied by then.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            n => {
                if (n? as usize) < len {
                    return Err(io::Error::other(
                        "kevent answered fewer changes than it was given",
                    ));
                }
            }
        }
        for (error, receipt) in errors.iter_mut().zip(&list) {
            let receipt = plain(receipt);
            if receipt.flags & EV_ERROR != 0 {
                *error = receipt.data as i32;
            }
        }
        Ok(())
    }

    /// Waits for events and appends them to `out`. `None` waits without a limit, zero only
    /// looks.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal: the caller knows whether its deadline is over.
    pub fn wait(
        &self,
        buffer: &mut Buffer,
        out: &mut Vec<Kevent>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.check_owner()?;
        buffer.list.clear();
        buffer.list.reserve_exact(WAIT_EVENTS);
        let limit = timeout.map(spec);
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (list, room) = (buffer.list.as_mut_ptr(), WAIT_EVENTS);
        // SAFETY:
        // - no change goes in: null with a length of zero;
        // - `list` has space for `room` entries, and the `&mut` keeps all other readers and writers out;
        // - `limit` is null, or points to a local that is alive until the call returns;
        // - the queue is open for as long as `self` lives, and this is its process.
        let n =
            cvt(unsafe { ffi::kevent(self.fd.number(), ptr::null(), 0, list, room as _, limit) })?
                as usize;
        // SAFETY: the kernel wrote the first `n` entries, and never more than `room`.
        unsafe { buffer.list.set_len(n) };
        out.extend(buffer.list.iter().map(plain));
        Ok(())
    }

    /// The queue's own descriptor: readable while an event waits.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_fd()
    }

    /// Returns what `fd` leads to: see [`crate::poll::file_kind`].
    ///
    /// # Errors
    ///
    /// `EPERM` for a regular file or a directory, `EBADF` for a number that is not open.
    pub fn file_kind(&self, fd: RawFd) -> io::Result<FileKind> {
        ffi::file_kind(fd)
    }

    /// A child does not inherit the queue, and its number may be another file's there.
    fn check_owner(&self) -> io::Result<()> {
        if self.owner.forked() {
            let message = "this kqueue belongs to the process that forked: make another one";
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

impl Drop for Kqueue {
    fn drop(&mut self) {
        if self.owner.forked() {
            self.fd.forget();
        }
    }
}

/// Where a wait puts its events, kept between waits.
pub struct Buffer {
    list: Vec<ffi::kevent>,
}

impl Buffer {
    /// An empty one.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").finish_non_exhaustive()
    }
}

// SAFETY: the pointers in the entries are tokens, never followed.
unsafe impl Send for Buffer {}

/// The kernel's entry for ours; all zero for none.
fn raw(event: Option<&Kevent>) -> ffi::kevent {
    // Not a literal, for some systems have more fields, which must be zero.
    // SAFETY: integers, arrays of them and a pointer, for all of which zero is a value.
    let mut to = unsafe { mem::zeroed::<ffi::kevent>() };
    if let Some(event) = event {
        to.ident = event.ident;
        to.filter = event.filter.number(PERSONALITY) as _;
        to.flags = (event.flags | EV_RECEIPT) as _;
        to.fflags = event.fflags;
        to.data = event.data as _;
        to.udata = ptr::without_provenance_mut::<c_void>(event.udata as usize);
    }
    to
}

/// Our entry for the kernel's.
fn plain(event: &ffi::kevent) -> Kevent {
    // By value throughout: Apple's structure is packed, and has no place for references.
    let udata = event.udata;
    Kevent {
        ident: event.ident,
        filter: Filter::from_number(event.filter as _, PERSONALITY),
        flags: event.flags as _,
        fflags: event.fflags,
        data: event.data as _,
        udata: udata.addr() as u64,
    }
}

/// A timeout in the kernel's form, cut off where a system might refuse it.
fn spec(timeout: Duration) -> libc::timespec {
    let timeout = kq_abi::limited(timeout);
    libc::timespec {
        tv_sec: (timeout.as_secs() as i32).into(),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}
