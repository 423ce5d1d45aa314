//! The processors that a thread may run on (`pthread_getaffinity_np(3)`). The twin of `linux/affinity.rs`.
//!
//! In the notes: several cores (N12).

use crate::unix::cpu_bits::{self, Words};
use std::ffi::c_int;
use std::io;

/// These calls return the error number.
fn checked(error: c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Returns the numbers of the processors that the calling thread may run on, in ascending order.
///
/// # Errors
///
/// Those of `pthread_getaffinity_np(3)`.
pub fn allowed() -> io::Result<Vec<usize>> {
    cpu_bits::read(|words: &mut Words| {
        let (size, set) = (size_of_val(&**words), words.as_mut_ptr().cast());
        // SAFETY: takes nothing, touches no memory.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: the call writes at most `size` bytes to `set`, which has that many, aligned for the
        // words that a set consists of; the thread is the calling one.
        checked(unsafe { libc::pthread_getaffinity_np(this, size, set) })
    })
}

/// Pins the calling thread to one processor.
///
/// # Errors
///
/// Those of `pthread_setaffinity_np(3)`.
pub fn pin(cpu: usize) -> io::Result<()> {
    let words = cpu_bits::only(cpu);
    let (size, set) = (size_of_val(&*words), words.as_ptr().cast());
    // SAFETY: takes nothing, touches no memory.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the call reads `size` bytes at `set`, which has that many, aligned for the words that a
    // set consists of; the thread is the calling one.
    checked(unsafe { libc::pthread_setaffinity_np(this, size, set) })
}
