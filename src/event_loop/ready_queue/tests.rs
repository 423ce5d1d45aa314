//! Tests of the ready queue alone: order, batch and count, and the effect of a seed.
//!
//! Each test is a few pushes and a round. The queue inside a loop is tested in `tests/props`. The
//! closures are numbers here: the queue stores anything.
//!
//! Rules: L5, L9; the *callbacks* of the notes (N1).

use super::*;
use crate::base::rng::Rng;
use crate::base::shrink::MIN_CAPACITY;
use std::collections::BTreeSet;

#[test]
fn tasks_come_in_any_order_and_closures_in_theirs() {
    let mut seen = BTreeSet::new();
    for seed in 0..2000 {
        let ready = ReadyQueue::default();
        ready.shuffle.set_seed(Some(Rng::seeded(seed)));
        for call in 0..3 {
            ready.push_call(call);
        }
        ready.push_task(0);
        ready.push_task(1);
        assert_eq!(ready.begin_batch(), 5, "however many entries");
        let (mut order, mut calls) = (Vec::new(), Vec::new());
        while let Some(next) = ready.pop() {
            order.push(next);
            if next == CALL {
                calls.extend(ready.pop_next_call());
            }
        }
        assert_eq!(calls, [0, 1, 2]);
        assert_eq!((ready.len(), ready.is_empty()), (0, true));
        let place = |task_id| order.iter().position(|&it| it == task_id);
        seen.insert((place(0), place(1)));
    }
    assert_eq!(seen.len(), 20, "each of two tasks in each of five places");
}

/// L5, L9: an entry for several closures counts as many.
#[test]
fn closures_between_tasks_keep_their_places_and_are_counted_one_by_one() {
    let ready = ReadyQueue::default();
    let round = || {
        let pop = || {
            let next = ready.pop()?;
            if next == CALL {
                ready.pop_next_call();
            }
            Some(next)
        };
        std::iter::from_fn(pop).collect::<Vec<_>>()
    };
    ready.push_call(());
    ready.push_call(());
    ready.push_task(1);
    ready.push_call(());
    assert_eq!((ready.len(), ready.entries.borrow().len()), (4, 2));
    assert_eq!(ready.begin_batch(), 4);
    // What the batch adds is behind it, also a closure behind a closure.
    ready.push_call(());
    ready.push_call(());
    ready.push_task(2);
    assert_eq!(round(), [CALL, CALL, 1, CALL]);
    assert_eq!(ready.begin_batch(), 3);
    ready.push_task(MAIN_TASK);
    ready.push_call(());
    assert_eq!(round(), [CALL, CALL, 2]);
    assert_eq!(ready.begin_batch(), 2);
    assert_eq!(round(), [MAIN_TASK, CALL]);
    assert!(ready.is_empty() && ready.begin_batch() == 0);
}

/// L6: the closures behind one that panics run in the same batch.
#[test]
fn a_row_of_closures_is_continued_where_it_was_left() {
    let ready = ReadyQueue::default();
    (0..3).for_each(|call| {
        ready.push_call(call);
    });
    ready.push_task(1);
    ready.begin_batch();
    assert_eq!((ready.pop(), ready.pop_next_call()), (Some(CALL), Some(0)));
    assert!(!ready.is_empty() && ready.pop_task().is_none());
    ready.push_call(3);
    // A new batch begins, as after a panic outside of every `catch_unwind`.
    assert_eq!(ready.begin_batch(), 4);
    assert_eq!((ready.pop(), ready.pop_next_call()), (Some(CALL), Some(1)));
    assert_eq!((ready.pop(), ready.pop_next_call()), (Some(CALL), Some(2)));
    // L5: this batch does not include what it adds.
    ready.push_task(2);
    assert_eq!((ready.pop_task(), ready.pop()), (Some(1), Some(CALL)));
    assert_eq!((ready.pop_next_call(), ready.pop()), (Some(3), None));
    assert_eq!(ready.pop_task(), None);
}

#[test]
fn a_cancelled_closure_leaves_the_others_their_places_and_its_key_finds_nothing_more() {
    let ready = ReadyQueue::default();
    let keys = [1, 2, 3].map(|call| ready.push_call(call));
    assert_eq!(ready.take_call(keys[1]), Some(2));
    assert_eq!(ready.take_call(keys[1]), None);
    assert_eq!((ready.calls(), ready.len()), (2, 3));
    assert_eq!(ready.pop_next_call(), Some(1));
    assert_eq!(ready.pop_next_call(), None, "it was cancelled");
    assert_eq!(ready.take_call(keys[0]), None, "it has run");
    let next = ready.push_call(4);
    assert_eq!(ready.take_call(keys[2]), Some(3));
    assert_eq!(ready.take_call(next), Some(4));
    assert!(ready.pop_call().is_none());
}

#[test]
fn the_main_task_is_no_row_of_closures() {
    assert_eq!(closures_of(MAIN_TASK), None);
    assert_eq!(closures_of(CALL + 3), Some(3));
    assert_eq!(closures_of(0), None);
}

/// R126.
#[test]
fn the_memory_of_a_burst_is_given_back_within_a_few_turns() {
    let ready = ReadyQueue::default();
    for n in 0..100_000 {
        ready.push_call(n);
        ready.push_task(1);
    }
    ready.begin_batch();
    while let Some(next) = ready.pop() {
        if next == CALL {
            ready.pop_next_call();
        }
    }
    for _ in 0..40 {
        ready.shrink();
    }
    assert!(ready.entries.borrow().capacity() <= MIN_CAPACITY);
    assert!(ready.calls.borrow().queue.capacity() <= MIN_CAPACITY);
}
