//! Numbers that are given out once.
//!
//! An address is no name: when its owner goes, the next one may get the same. Where something is
//! to be told from all others of its kind, past ones included, it gets a number from here. This
//! counter is the one thing in the crate that all threads share.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that nobody had before, and nobody will have after.
pub(crate) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // 2⁶⁴ of them do not run out. Nothing is published by it, so the order does not matter.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_number_is_given_twice() {
        let numbers = || (0..100).map(|_| super::number()).collect::<Vec<_>>();
        let other = std::thread::spawn(numbers);
        let mut all = numbers();
        all.extend(other.join().unwrap());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
    }
}
