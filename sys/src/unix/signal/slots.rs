//! The slots of the loops that listen: what the handler writes to.
//!
//! Everything here is atomic, because a handler may interrupt anything.
//!
//! In the notes: one more thing that a loop waits for (N1).

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use crate::{cvt_size, uninterrupted};

/// No system has a larger number.
pub const MAX: c_int = 127;
const WORDS: usize = 4;

/// A bit for each number.
pub(super) struct Bits([AtomicU32; WORDS]);

impl Bits {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; WORDS])
    }

    /// The word and the bit of a number from 0 to [`MAX`].
    fn place(&self, number: c_int) -> (&AtomicU32, u32) {
        let number = (number & MAX).unsigned_abs();
        (&self.0[(number / 32) as usize], 1 << (number % 32))
    }

    pub(super) fn has(&self, number: c_int) -> bool {
        let (word, bit) = self.place(number);
        word.load(Ordering::Acquire) & bit != 0
    }

    /// Returns whether it was set.
    pub(super) fn set(&self, number: c_int) -> bool {
        let (word, bit) = self.place(number);
        word.fetch_or(bit, Ordering::AcqRel) & bit != 0
    }

    /// Returns whether it was set.
    pub(super) fn clear(&self, number: c_int) -> bool {
        let (word, bit) = self.place(number);
        word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    pub(super) fn clear_all(&self) {
        for word in &self.0 {
            word.store(0, Ordering::Release);
        }
    }
}

/// The place of one loop that listens.
pub(super) struct Slot {
    /// Set only under the lock of the table of actions.
    pub(super) taken: AtomicBool,
    /// The writing end of the loop's pipe; -1 while handlers must not write.
    writer: AtomicI32,
    /// How many handlers are inside.
    inside: AtomicU32,
    pub(super) wanted: Bits,
    pub(super) pending: Bits,
    pub(super) next: OnceLock<Box<Slot>>,
}

impl Slot {
    pub(super) const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            writer: AtomicI32::new(CLOSED),
            inside: AtomicU32::new(0),
            wanted: Bits::new(),
            pending: Bits::new(),
            next: OnceLock::new(),
        }
    }

    /// In the handler.
    pub(super) fn notify(&self, number: c_int) {
        // `SeqCst`, with `close`: either this sees that it is closed, or `close` sees this inside.
        self.inside.fetch_add(1, Ordering::SeqCst);
        let writer = self.writer.load(Ordering::SeqCst);
        if writer != CLOSED && self.wanted.has(number) && !self.pending.set(number) {
            let byte = [number as u8];
            let written = uninterrupted(|| {
                // SAFETY: one byte is read from a live local. The number is that of an open pipe: its owner
                // does not close it while a handler is inside.
                cvt_size(unsafe { libc::write(writer, byte.as_ptr().cast(), 1) })
            });
            if written.is_err() {
                self.pending.clear(number); // so that the next signal tries again
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn open(&self, writer: &OwnedFd) {
        self.wanted.clear_all();
        self.pending.clear_all();
        self.writer.store(writer.as_raw_fd(), Ordering::SeqCst);
    }

    /// In a forked child: the pipe is the parent's, and so were the handlers inside.
    pub(super) fn reset(&self) {
        self.writer.store(CLOSED, Ordering::SeqCst);
        self.inside.store(0, Ordering::SeqCst);
        self.taken.store(false, Ordering::Release);
    }

    /// From here on no handler writes.
    pub(super) fn close(&self) {
        self.writer.store(CLOSED, Ordering::SeqCst);
        // A handler is a few instructions and a write that does not wait.
        while self.inside.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
    }
}

const CLOSED: c_int = -1;

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

static FIRST: Slot = Slot::new();

/// The list of slots, for the handler too: reading a `OnceLock` is one load.
pub(super) fn slots() -> impl Iterator<Item = &'static Slot> {
    std::iter::successors(Some(&FIRST), |slot| slot.next.get().map(|next| &**next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_bit_of_its_own() {
        let bits = Bits::new();
        for number in 0..=MAX {
            assert!(!bits.has(number) && !bits.set(number) && bits.set(number));
        }
        for number in 0..=MAX {
            assert!(bits.clear(number) && !bits.has(number));
        }
    }
}
