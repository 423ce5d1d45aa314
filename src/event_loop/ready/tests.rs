//! Tests of the ready queue alone: order, batch and count, and the effect of a seed.
//!
//! Each test is a few pushes and a turn. The queue inside a loop is tested in `tests/props`.
//!
//! Rules: L5, L9; the *callbacks* of the notes (N1).

use super::*;
use crate::base::shrink::MIN_CAPACITY;
use std::collections::BTreeSet;

#[test]
fn jobs_come_in_any_order_and_closures_in_theirs() {
    let mut seen = BTreeSet::new();
    for seed in 0..2000 {
        let ready = ReadyQueue::default();
        ready.set_seed(Some(Rng::seeded(seed)));
        let sites = [place(), place(), place()];
        for site in sites {
            ready.push_call(Call::new(site, |_| {}));
        }
        ready.push_new(0);
        ready.push_new(1);
        ready.begin();
        ready.end_collecting();
        let (mut order, mut closures) = (Vec::new(), Vec::new());
        while let Some(next) = ready.pop() {
            if next != NEXT_CALL {
                order.push(Some(next));
                continue;
            }
            order.push(None);
            closures.push(ready.pop_next_call().unwrap().site);
        }
        assert_eq!(closures, sites);
        let place = |task_id| order.iter().position(|&it| it == Some(task_id));
        seen.insert((place(0), place(1)));
    }
    assert_eq!(seen.len(), 20, "each of two tasks in each of five places");
}

/// L5, L9: an entry for several closures counts as many.
#[test]
fn closures_between_jobs_keep_their_places_and_are_counted_one_by_one() {
    let ready = ReadyQueue::default();
    let call = || {
        ready.push_call(Call::new(place(), |_| {}));
    };
    let turn = || std::iter::from_fn(|| ready.pop()).collect::<Vec<_>>();
    call();
    call();
    ready.push_new(1);
    call();
    assert_eq!(ready.len(), 4);
    ready.begin();
    // A closure that an event adds is for the next turn; a task that it wakes is for this one.
    call();
    ready.push_woken(2);
    ready.push_new(3);
    call();
    assert!(ready.end_collecting());
    assert_eq!(turn(), [NEXT_CALL, NEXT_CALL, 1, NEXT_CALL, 2]);
    std::iter::repeat_with(|| ready.pop_next_call())
        .take(3)
        .for_each(drop);
    assert_eq!(ready.len(), 3);
    ready.begin_round();
    call();
    assert_eq!(turn(), [NEXT_CALL, 3, NEXT_CALL]);
    ready.begin_round();
    assert_eq!(turn(), [NEXT_CALL]);
    assert!(ready.is_empty());
}

#[test]
fn a_cancelled_closure_leaves_the_others_their_places_and_its_key_finds_nothing_more() {
    let ready = ReadyQueue::default();
    let (here, there) = (Location::caller(), place());
    let keys = [here, there, here].map(|site| ready.push_call(Call::new(site, |_| {})));
    let at = |call: Option<Call>| call.map(|call| call.site);
    assert_eq!(at(ready.take_call(keys[1])), Some(there));
    assert_eq!(at(ready.take_call(keys[1])), None);
    assert_eq!(at(ready.pop_next_call()), Some(here));
    assert_eq!(at(ready.pop_next_call()), None, "it was cancelled");
    assert_eq!(at(ready.take_call(keys[0])), None, "it has run");
    let next = ready.push_call(Call::new(there, |_| {}));
    assert_eq!(at(ready.take_call(keys[2])), Some(here));
    assert_eq!(at(ready.take_call(next)), Some(there));
    assert!(ready.pop_call().is_none());
}

#[track_caller]
fn place() -> &'static Location<'static> {
    Location::caller()
}

/// R126.
#[test]
fn the_memory_of_a_burst_is_given_back_within_a_few_turns() {
    let ready = ReadyQueue::default();
    for _ in 0..100_000 {
        ready.push_call(Call::new(place(), |_| {}));
    }
    ready.begin();
    for _ in 0..100_000 {
        ready.push_new(1);
    }
    ready.end_collecting();
    while ready.pop().is_some() {}
    while ready.calls.borrow_mut().queue.pop_front().is_some() {}
    ready.end_collecting();
    while ready.pop().is_some() {}
    for _ in 0..40 {
        ready.end();
    }
    assert!(ready.entries.borrow().capacity() <= MIN_CAPACITY);
    assert!(ready.next_turn.borrow().capacity() <= MIN_CAPACITY);
    assert!(ready.calls.borrow().queue.capacity() <= MIN_CAPACITY);
}
