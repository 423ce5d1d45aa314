//! The interpreters on bytes from a seed: some hundred inputs, without a search, on any compiler.

use crate::{chunking, feed, programs, reading, sim_poller, slab, timers};
use arbitrary::Arbitrary;

/// Inputs of growing length, the same in each run (xorshift64*).
fn inputs(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
    };
    (0..count).map(move |n| (0..2 * n).map(|_| next()).collect())
}

fn smoke<T: for<'a> Arbitrary<'a>>(count: usize, interpret: fn(&T)) {
    inputs(count).for_each(|bytes| feed(&bytes, interpret));
}

#[test]
fn timers_agree_with_a_sorted_map() {
    smoke(500, timers);
}

#[test]
fn a_slab_agrees_with_a_hash_map() {
    smoke(500, slab);
}

#[test]
fn programs_of_any_bytes_run_as_the_model_says() {
    smoke(500, programs);
}

#[test]
fn the_pollers_in_memory_agree() {
    smoke(500, sim_poller);
}

#[test]
fn bytes_arrive_however_they_are_cut() {
    smoke(300, chunking);
}

#[test]
fn what_is_read_through_a_buffer_is_the_bytes() {
    smoke(2000, reading);
}

/// The generator is useful only if most inputs can be decoded.
#[test]
fn bytes_from_a_seed_stand_for_operations() {
    let lengths = inputs(500).filter_map(|bytes| {
        let mut bytes = arbitrary::Unstructured::new(&bytes);
        let ops = crate::TimerOps::arbitrary(&mut bytes).ok()?;
        Some(ops.len())
    });
    let total: usize = lengths.sum();
    assert!(total > 10_000, "{total} operations in all");
}
