//! A sort that is compiled once.

use std::collections::BinaryHeap;

/// Sorts by the first number of each pair, then by the second. One function for all callers, by a heap: the
/// standard library's sorts cost eight times as much to compile, for each type and each order.
#[inline(never)]
pub(crate) fn sort_pairs(pairs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    BinaryHeap::from(pairs).into_sorted_vec()
}
