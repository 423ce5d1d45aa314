//! Requests a page that a fork clears: `minherit(2)` with zeroes, of FreeBSD 12, NetBSD and
//! OpenBSD. The twin of `linux/wipe.rs` and `unix/no_wipe.rs`.

use crate::INHERIT_ZERO;
use std::ffi::c_void;

/// Lets a child find zeroes at `page`; `false` where the kernel is too old.
///
/// # Safety
///
/// There are `len` bytes of a private, anonymous mapping of the caller's own.
pub(crate) unsafe fn wipe_at_fork(page: *mut c_void, len: usize) -> bool {
    // SAFETY: the page is the caller's own, by the contract; in this process nothing changes.
    unsafe { libc::minherit(page, len, INHERIT_ZERO) == 0 }
}
