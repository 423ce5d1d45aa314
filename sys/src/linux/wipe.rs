//! Requests a page that a fork clears (`MADV_WIPEONFORK`). The twin of `bsd/wipe.rs` and `unix/no_wipe.rs`.

use std::ffi::c_void;

/// Lets a child find zeroes at `page`; `false` where the kernel is too old (before 4.14).
///
/// # Safety
///
/// There are `len` bytes of a private, anonymous mapping of the caller's own.
pub(crate) unsafe fn wipe_at_fork(page: *mut c_void, len: usize) -> bool {
    // SAFETY: the contract is what the advice requires.
    unsafe { libc::madvise(page, len, libc::MADV_WIPEONFORK) == 0 }
}
