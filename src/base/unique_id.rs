//! Numbers that are unique within the process.
//!
//! An address identifies an object only while the object lives: the next one may get the same
//! address. An object that has to be distinguished from all others of its kind, past ones included,
//! gets a number from this counter, which all threads share.
//!
//! Processors of 32 bits may lack an atomic of 64 (MIPS, PowerPC, ARM before the seventh): there a lock
//! protects the counter. A counter of 32 bits could run out.

#[cfg(target_has_atomic = "64")]
use atomic::Counter;
#[cfg(not(target_has_atomic = "64"))]
use locked::Counter;

/// Returns a number that was never returned before, and never will be again.
pub(crate) fn next() -> u64 {
    static NEXT: Counter = Counter::new();
    NEXT.next()
}

#[cfg(target_has_atomic = "64")]
mod atomic {
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(super) struct Counter(AtomicU64);

    impl Counter {
        pub(super) const fn new() -> Self {
            Self(AtomicU64::new(0))
        }

        pub(super) fn next(&self) -> u64 {
            // 2⁶⁴ of them do not run out. Nothing is published by it, so the order does not matter.
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }
}

#[cfg(any(test, not(target_has_atomic = "64")))]
mod locked {
    use std::sync::{Mutex, PoisonError};

    pub(super) struct Counter(Mutex<u64>);

    impl Counter {
        pub(super) const fn new() -> Self {
            Self(Mutex::new(0))
        }

        pub(super) fn next(&self) -> u64 {
            let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let number = *next;
            *next += 1;
            number
        }
    }
}

#[cfg(test)]
mod tests {
    fn no_number_is_given_twice_by(number: impl Fn() -> u64 + Copy + Send + 'static) {
        let numbers = move || (0..100).map(|_| number()).collect::<Vec<_>>();
        let other = std::thread::spawn(numbers);
        let mut all = numbers();
        all.extend(other.join().unwrap());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
    }

    #[test]
    fn no_number_is_given_twice() {
        no_number_is_given_twice_by(super::next);
    }

    /// As it is where there is no atomic of 64 bits.
    #[test]
    fn no_number_is_given_twice_under_a_lock() {
        static NEXT: super::locked::Counter = super::locked::Counter::new();
        no_number_is_given_twice_by(|| NEXT.next());
    }
}
