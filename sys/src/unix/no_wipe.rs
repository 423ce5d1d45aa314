//! No page that a fork clears: macOS can only leave a page out of a child, and DragonFly
//! neither. The twin of `linux/wipe.rs` and `bsd/wipe.rs`.

use std::ffi::c_void;

/// `false`: there is no such page.
///
/// # Safety
///
/// Always: nothing is done with it.
pub(crate) unsafe fn wipe_at_fork(_page: *mut c_void, _len: usize) -> bool {
    false
}
