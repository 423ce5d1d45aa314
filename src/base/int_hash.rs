//! A hash for keys that are small numbers, as those of descriptors are.
//!
//! The kernel hands out the lowest number that is free. Multiplied by an odd number, consecutive
//! numbers still go to places of their own in a table, and differ in their upper bits too, which a
//! table compares next. The standard library's hash is made for keys that an attacker may choose, and
//! costs ten times as much; a tree costs three times as much.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table of words by small numbers. One type for all tables: each type of table has to be compiled.
pub(crate) type IntMap = HashMap<i32, u64, BuildHasherDefault<IntHasher>>;

/// Sorts by the first number of each pair. One function for all: to sort has five hundred lines, for each
/// type and each order.
#[inline(never)]
pub(crate) fn sort_pairs(pairs: &mut [(u64, u64)]) {
    pairs.sort_unstable_by_key(|pair| pair.0);
}

#[derive(Default)]
pub(crate) struct IntHasher(u64);

impl IntHasher {
    /// The golden ratio of 2 to the 64th: odd, and without a pattern in its bits.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn add(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(Self::FACTOR);
    }
}

impl Hasher for IntHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.add(byte.into()));
    }

    fn write_i32(&mut self, number: i32) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hash(number: i32) -> u64 {
        let mut hasher = IntHasher::default();
        hasher.write_i32(number);
        hasher.finish()
    }

    #[test]
    fn numbers_in_a_row_have_places_of_their_own_and_upper_bits_of_many_kinds() {
        let places: BTreeSet<u64> = (5..1029).map(|number| hash(number) % 1024).collect();
        assert_eq!(places.len(), 1024);
        let uppers: BTreeSet<u64> = (5..1029).map(|number| hash(number) >> 57).collect();
        assert_eq!(uppers.len(), 128);
    }
}
