//! The processors that a thread may run on (`sched_getaffinity(2)`). The twin of `freebsd/affinity.rs`,
//! `netbsd/affinity.rs`, and of `unix/affinity.rs` where there is no such call.
//!
//! A process may have fewer processors than the machine: a cpuset of a container, or `taskset(1)`. So a
//! processor to pin a thread to is one of [`allowed`], and never one of `0..n`.
//!
//! In the notes: several cores (N12).

use crate::cvt;
use crate::unix::cpu_bits::{self, Words};
use std::io;

/// Returns the numbers of the processors that the calling thread may run on, in ascending order.
///
/// # Errors
///
/// Those of `sched_getaffinity(2)`.
pub fn allowed() -> io::Result<Vec<usize>> {
    cpu_bits::read(|words: &mut Words| {
        let (size, set) = (size_of_val(&**words), words.as_mut_ptr().cast());
        // SAFETY: the call writes at most `size` bytes to `set`, which has that many, aligned for the
        // words that a set consists of. Zero is the calling thread.
        cvt(unsafe { libc::sched_getaffinity(0, size, set) })
    })
}

/// Pins the calling thread to one processor.
///
/// # Errors
///
/// Those of `sched_setaffinity(2)`: `EINVAL` for a processor that is not in the process's cpuset.
pub fn pin(cpu: usize) -> io::Result<()> {
    let words = cpu_bits::only(cpu);
    let (size, set) = (size_of_val(&*words), words.as_ptr().cast());
    // SAFETY: the call reads `size` bytes at `set`, which has that many, aligned for the words that a
    // set consists of. Zero is the calling thread.
    cvt(unsafe { libc::sched_setaffinity(0, size, set) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E13: a thread runs on a processor that it may have, and the others keep theirs.
    #[test]
    fn a_thread_is_pinned_to_one_of_its_processors_and_no_other_thread_is() {
        let before = allowed().unwrap();
        assert!(before.is_sorted() && !before.is_empty());
        let last = *before.last().unwrap();
        let pinned = std::thread::spawn(move || pin(last).and_then(|()| allowed()));
        assert_eq!(pinned.join().unwrap().unwrap(), [last]);
        assert_eq!(allowed().unwrap(), before);
    }

    #[test]
    fn a_processor_that_does_not_exist_is_an_error() {
        let pinned = std::thread::spawn(|| pin(100_000)).join().unwrap();
        assert_eq!(pinned.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
