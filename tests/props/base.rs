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

    /// C2, C3, C4, L5: kept timers, which are started, moved and stopped again and again, among others that
    /// are armed once; and some that fire are started again at once.
    #[test]
    fn kept_timers_are_ordered_by_their_last_start(ops in vec((0u8..9, 0u64..16, 0usize..12), 0..256)) {
        let mut timers: Timers<usize> = Timers::default();
        let mut kept: Vec<TimerKey> = (0..8).map(|n| timers.keep(n)).collect();
        // By deadline and order of arming: whose it is, and whether a round has begun since.
        let mut model: BTreeMap<(u64, usize), usize> = BTreeMap::new();
        let (mut starts, mut fence) = (0, 0);
        for (op, deadline, pick) in ops {
            let armed_at = |model: &BTreeMap<(u64, usize), usize>, n| {
                model.iter().find(|&(_, &other)| other == n).map(|(&at, _)| at)
            };
            match (op, kept.get(pick).copied()) {
                (0..=3, Some(key)) => {
                    if let Some(before) = armed_at(&model, pick) {
                        model.remove(&before);
                    }
                    let is_there = timers.get_mut(key).is_some();
                    prop_assert_eq!(timers.start(key, deadline), is_there);
                    if is_there {
                        model.insert((deadline, starts), pick);
                        starts += 1;
                    }
                }
                (4 | 5, Some(key)) => {
                    let before = armed_at(&model, pick);
                    prop_assert_eq!(timers.is_armed(key), before.is_some());
                    prop_assert_eq!(timers.stop(key), before.is_some(), "C3");
                    before.map(|before| model.remove(&before));
                }
                (6, Some(key)) if deadline == 0 => {
                    armed_at(&model, pick).map(|before| model.remove(&before));
                    timers.remove(key);
                    prop_assert_eq!(timers.remove(key), None, "it is gone");
                    prop_assert!(!timers.stop(key) && !timers.start(key, 0));
                }
                (6, Some(_)) if deadline == 1 => {
                    let live = timers.get_mut(kept[pick]).is_some();
                    if !live {
                        kept[pick] = timers.keep(pick);
                    }
                }
                (_, None) => {
                    timers.arm(deadline, 100);
                    model.insert((deadline, starts), 100);
                    starts += 1;
                }
                _ => {
                    let due = |&(&(at, start), _): &(&(u64, usize), &usize)| at <= deadline && start < fence;
                    let next = model.iter().find(due).map(|(&at, &n)| (at, n));
                    next.map(|(at, _)| model.remove(&at));
                    let fired = timers.pop_due(deadline);
                    prop_assert_eq!(fired, next.map(|(_, n)| n), "C2, L5");
                    match next {
                        Some((_, n)) if n < 8 => {
                            kept[n] = timers.keep(n);
                            if pick % 2 == 0 {
                                timers.start(kept[n], 0);
                                model.insert((0, starts), n);
                                starts += 1;
                            }
                        }
                        Some(_) => {}
                        None => {
                            timers.begin_round();
                            fence = starts;
                        }
                    }
                }
            }
            timers.verify();
            prop_assert_eq!((timers.len(), timers.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(timers.nodes() <= 2 * timers.len() + 64, "C4");
            if pick == 3 {
                prop_assert_eq!(timers.next_ns(), model.keys().next().map(|&(at, _)| at), "C5");
                timers.begin_round();
                fence = starts;
            }
        }
        while timers.pop_any().is_some() {}
        prop_assert!(timers.is_empty());
        timers.verify();
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
