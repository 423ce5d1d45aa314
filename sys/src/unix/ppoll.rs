//! `poll(2)` with a limit in nanoseconds. The twin of `apple/ppoll.rs`.

use std::ffi::c_int;
use std::io;
use std::ptr;
use std::time::Duration;

use crate::cvt;

/// Waits until an entry has something to report, for less than a second; how many do. `None` if the
/// kernel or the sandbox will not have the call: then `poll(2)` returns the error, if something else is wrong.
pub(crate) fn wait(list: &mut [libc::pollfd], limit: Duration) -> Option<io::Result<c_int>> {
    let limit = libc::timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos() as _,
    };
    let (entries, len) = (list.as_mut_ptr(), list.len() as libc::nfds_t);
    // SAFETY: `list` has `len` entries, which are ours alone until the call returns; `limit` is a live local;
    // a null mask leaves the signals alone. Dead numbers are reported, not used.
    let answer = cvt(unsafe { libc::ppoll(entries, len, &raw const limit, ptr::null()) });
    match answer {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => None,
        answer => Some(answer),
    }
}
