//! The size of the buffer for the events of one wait.
//!
//! A small buffer costs a busy loop extra system calls, a large one costs an idle loop
//! memory. So it doubles when a batch fills it, up to a cap, and is halved again after a
//! long run of batches that hardly touched it: one burst must not fix the size for life.

/// The first size, and the smallest.
pub(crate) const FIRST: usize = 64;
const CAP: usize = 1024;
const QUIET: u32 = 256;

/// The size of a buffer of events, adapted to what the kernel puts into it.
#[derive(Debug)]
pub(crate) struct BufferSize {
    size: usize,
    quiet: u32,
    /// A wait that brings so many events or more, but is not full, changes nothing.
    fitting_from: usize,
}

impl BufferSize {
    pub(crate) const fn new() -> Self {
        Self {
            size: FIRST,
            quiet: 0,
            fitting_from: 0,
        }
    }

    /// For how many events the next wait should have room.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Whether [`filled`](Self::filled) would change nothing.
    #[inline]
    pub(crate) const fn is_fitting(&self, n: usize) -> bool {
        n >= self.fitting_from && n < self.size
    }

    /// Takes note of a wait that brought `n` events. Returns whether the size is smaller now.
    pub(crate) fn filled(&mut self, n: usize) -> bool {
        let before = self.size;
        if n >= self.size {
            self.size = (self.size * 2).min(CAP);
            self.quiet = 0;
        } else if n > self.size / 4 || self.size == FIRST {
            self.quiet = 0;
        } else {
            self.quiet += 1;
            if self.quiet == QUIET {
                self.size /= 2;
                self.quiet = 0;
            }
        }
        self.fitting_from = match self.quiet {
            _ if self.size == FIRST => 0,
            0 => self.size / 4 + 1,
            _ => usize::MAX, // a larger batch ends the quiet
        };
        self.size < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_batch_doubles_the_room_up_to_the_cap() {
        let mut room = BufferSize::new();
        for _ in 0..20 {
            room.filled(room.size());
        }
        assert_eq!(room.size(), CAP);
    }

    #[test]
    fn a_burst_is_given_back_after_a_long_quiet() {
        let mut room = BufferSize::new();
        for _ in 0..20 {
            room.filled(room.size());
        }
        for _ in 0..10 * QUIET {
            room.filled(1);
        }
        assert_eq!(room.size(), FIRST);
    }

    #[test]
    fn one_larger_batch_starts_the_quiet_anew() {
        let mut room = BufferSize::new();
        room.filled(FIRST);
        for _ in 0..QUIET - 1 {
            room.filled(0);
        }
        room.filled(FIRST);
        room.filled(0);
        assert_eq!(room.size(), 2 * FIRST);
    }

    /// The short cut of a wait: it must not be taken where the size or the count would change.
    #[test]
    fn a_batch_that_fits_would_change_nothing() {
        let mut room = BufferSize::new();
        let batches = [
            0, 63, 64, 5, 40, 127, 128, 64, 65, 255, 256, 512, 1024, 300, 3,
        ];
        let quiet = [1; 300];
        for &n in batches.iter().chain(&quiet) {
            let (size, count) = (room.size, room.quiet);
            let fits = room.is_fitting(n);
            let shrunk = room.filled(n);
            assert!(!fits || (room.size, room.quiet) == (size, count), "{n}");
            assert_eq!(shrunk, room.size < size);
        }
        assert_eq!((room.size, room.is_fitting(300)), (CAP / 2, false));
    }
}
