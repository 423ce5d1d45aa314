//! One byte that is zero in a forked child, on systems that can do that.
//!
//! A page that comes up as zeroes in a child, and a byte in it that was set to one, show a fork
//! without a system call, which `getpid(2)` is on every use, and without a number that the system may
//! give to another process later. The request for such a page is in `wipe.rs`, one for each system.

use crate::wipe::wipe_at_fork;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

/// A flag that is raised here, and lowered in every child; or, without a page, never raised.
#[derive(Debug)]
pub(crate) struct WipedPage {
    page: ptr::NonNull<AtomicU8>,
}

/// In place of a page, so that a look at the flag does not ask whether there is one.
static NO_PAGE: AtomicU8 = AtomicU8::new(0);

/// Only asked for as a length; the kernel rounds it up to its page.
const LEN: usize = 1;

impl WipedPage {
    /// `None` where the system has no such page, or will not give one.
    pub(crate) fn new() -> Option<Self> {
        // It knows no advice of the kernel's, and no forks.
        if cfg!(miri) {
            return None;
        }
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
        );
        // SAFETY: a new anonymous mapping at a place of the kernel's choice overlaps no other.
        let page = unsafe { libc::mmap(ptr::null_mut(), LEN, prot, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // From here on `Drop` unmaps it, on the way out as well.
        let wiped = Self {
            page: ptr::NonNull::new(page.cast())?,
        };
        // SAFETY: the page is ours alone, private and anonymous, of this length.
        if !unsafe { wipe_at_fork(page, LEN) } {
            return None;
        }
        wiped.byte().store(1, Ordering::Relaxed);
        Some(wiped)
    }

    /// Without a page.
    pub(crate) fn none() -> Self {
        Self {
            page: ptr::NonNull::from(&NO_PAGE),
        }
    }

    /// Whether there is a page.
    pub(crate) fn exists(&self) -> bool {
        !ptr::eq(self.page.as_ptr(), &NO_PAGE)
    }

    /// Whether this is still the process that made it, if there is a page.
    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.byte().load(Ordering::Relaxed) == 1
    }

    #[inline]
    fn byte(&self) -> &AtomicU8 {
        // SAFETY: the page is mapped, readable and writable for as long as `self` lives; it
        // is aligned, and all its bytes are zero at first, which is a valid `AtomicU8`; and
        // it is reached through this function alone. Without a page, it is a static.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for WipedPage {
    fn drop(&mut self) {
        if self.exists() {
            // SAFETY: `page` came from `mmap` with this length, is unmapped here only, and no
            // reference into it outlives `self`.
            unsafe { libc::munmap(self.page.as_ptr().cast(), LEN) };
        }
    }
}

// SAFETY: it owns its mapping, which belongs to the process and not to a thread.
unsafe impl Send for WipedPage {}
// SAFETY: the byte is atomic, and nothing else can be reached through a shared reference.
unsafe impl Sync for WipedPage {}
