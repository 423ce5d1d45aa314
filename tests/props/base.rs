//! The slab against a map, and the timer heap against a sorted list.
//!
//! Invariants: L1, L5, C2 to C4.

use crate::base_sources::slab::{Slab, SlabKey};
use crate::base_sources::timer_heap::{TimerKey, Timers};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    /// L1: a key names one entry for its life, and none afterwards, however often its slot is
    /// reused.
    #[test]
    fn a_slab_is_a_map_whose_keys_are_never_used_again(ops in vec((0u8..3, 0usize..8), 0..64)) {
        let mut slab = Slab::default();
        let mut model: BTreeMap<SlabKey, usize> = BTreeMap::new();
        let mut all: Vec<SlabKey> = Vec::new();
        for (n, (op, pick)) in ops.into_iter().enumerate() {
            let key = all.get(pick % all.len().max(1)).copied();
            match (op, key) {
                (0, _) | (_, None) => {
                    let key = slab.insert(n);
                    prop_assert!(!all.contains(&key), "{key:?} was given out before");
                    all.push(key);
                    model.insert(key, n);
                }
                (1, Some(key)) => prop_assert_eq!(slab.remove(key), model.remove(&key)),
                (_, Some(key)) => prop_assert_eq!(slab.get(key), model.get(&key)),
            }
            slab.verify();
            prop_assert_eq!(slab.len(), model.len());
        }
        let left: BTreeMap<SlabKey, usize> = slab.iter().map(|(key, &n)| (key, n)).collect();
        prop_assert_eq!(left, model);
    }

    /// C2, C3, C4: timers fire by deadline, then in the order of arming; a cancelled timer never
    /// fires; and the heap has at most as many dead nodes as live ones, and a few more. L5: no
    /// timer fires in the round in which it was armed. Some timers are armed and cancelled while
    /// others fire. Many are armed and few fire, so that the heap has more than two levels.
    #[test]
    fn timers_fire_in_deadline_then_arming_order(ops in vec((0u8..9, 0u64..16, 0usize..64), 0..256)) {
        let mut timers: Timers<usize> = Timers::default();
        let mut model: BTreeSet<(u64, usize)> = BTreeSet::new();
        let mut keys: Vec<(TimerKey, u64)> = Vec::new();
        let mut fence = 0;
        for (op, deadline, pick) in ops {
            match op {
                0..=3 => {
                    model.insert((deadline, keys.len()));
                    keys.push((timers.arm(deadline, keys.len()), deadline));
                }
                4 | 5 => if let Some(&(key, deadline)) = keys.get(pick) {
                    let live = model.remove(&(deadline, pick));
                    prop_assert_eq!(timers.cancel(key), live.then_some(pick), "C3");
                },
                6 => for &(key, deadline) in keys.iter().skip(pick).take(60) {
                    let n = keys.iter().position(|&(other, _)| other == key).unwrap();
                    let live = model.remove(&(deadline, n));
                    prop_assert_eq!(timers.cancel(key), live.then_some(n), "C3");
                },
                7 => {
                    timers.begin_round();
                    fence = keys.len();
                }
                _ => {
                    let due = |&&(at, n): &&(u64, usize)| at <= deadline / 2 && n < fence;
                    let next = model.iter().find(due).copied();
                    next.map(|next| model.remove(&next));
                    prop_assert_eq!(timers.pop_due(deadline / 2), next.map(|(_, n)| n), "C2, L5");
                    if next.is_none() {
                        timers.begin_round();
                        fence = keys.len();
                    }
                }
            }
            timers.verify();
            prop_assert_eq!(timers.len(), model.len());
            prop_assert!(timers.nodes() <= 2 * timers.len() + 64, "C4");
            let next = model.first().map(|&(at, _)| at);
            if pick % 3 == 0 {
                prop_assert_eq!(timers.next_ns(), next);
                // The start of a round is a fence too: all timers that are armed now may be due.
                timers.begin_round();
                fence = keys.len();
            }
        }
    }
}
