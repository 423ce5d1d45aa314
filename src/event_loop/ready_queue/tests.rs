//! Tests of the ready queue alone: order, batch and count, and the effect of a seed.
//!
//! Each test is a few pushes and a round. The queue inside a loop is tested in `tests/props`. Each
//! closure has a number, which it adds to a list when it runs: the list is what they are called with.
//!
//! Rules: L5, L9; the *callbacks* of the notes (N1).

use super::*;
use crate::base::rng::Rng;
use crate::base::shrink::MIN_CAPACITY;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::Location;

/// The numbers of the closures that have run.
type Ran = RefCell<Vec<u32>>;

fn push_task(ready: &ReadyQueue<Ran>) {
    ready.rows.push(Kind::Task);
}

fn push_call(ready: &ReadyQueue<Ran>, number: u32) -> CallKey {
    let run = move |ran: &Ran| ran.borrow_mut().push(number);
    ready.push_call(Call::new(Location::caller(), run))
}

/// Runs the first closure, and returns its number; `None` if it was cancelled.
fn run_call(ready: &ReadyQueue<Ran>) -> Option<u32> {
    let ran = Ran::default();
    ready.calls.run_first(&ran, &Cell::new(None));
    ran.into_inner().pop()
}

#[test]
fn tasks_come_in_any_order_and_closures_in_theirs() {
    let mut seen = BTreeSet::new();
    for seed in 0..2000 {
        let ready = ReadyQueue::default();
        ready.shuffle.set_seed(Some(Rng::seeded(seed)));
        for call in 0..3 {
            push_call(&ready, call);
        }
        push_task(&ready);
        push_task(&ready);
        let mut tasks = Vec::new();
        let count = ready.begin_batch(|order| tasks.extend_from_slice(order));
        assert_eq!(count, 5, "however many rows");
        let (mut order, mut calls) = (Vec::new(), Vec::new());
        let mut in_order = tasks.iter();
        while let Some(next) = ready.rows.pop() {
            order.push(match next {
                Kind::Task => in_order.next(),
                _ => None,
            });
            if next == Kind::Closure {
                calls.extend(run_call(&ready));
            }
        }
        assert_eq!((calls, in_order.next()), (vec![0, 1, 2], None));
        assert_eq!((ready.len(), ready.is_empty()), (0, true));
        let place = |task: usize| order.iter().position(|&it| it == Some(&task));
        seen.insert((place(0), place(1)));
    }
    assert_eq!(seen.len(), 20, "each of two tasks in each of five places");
}

/// L5, L9: a row of several closures counts as many.
#[test]
fn closures_between_tasks_keep_their_places_and_are_counted_one_by_one() {
    use Kind::{Closure, Main, Task};
    let ready = ReadyQueue::default();
    let begin = || ready.begin_batch(|_| unreachable!("no seed was set"));
    let round = || {
        let pop = || {
            let next = ready.rows.pop()?;
            if next == Closure {
                run_call(&ready);
            }
            Some(next)
        };
        std::iter::from_fn(pop).collect::<Vec<_>>()
    };
    push_call(&ready, 0);
    push_call(&ready, 0);
    push_task(&ready);
    push_call(&ready, 0);
    assert_eq!((ready.len(), ready.rows.rows.borrow().len()), (4, 2));
    assert_eq!(begin(), 4);
    // What the batch adds is behind it, also a closure behind a closure.
    push_call(&ready, 0);
    push_call(&ready, 0);
    push_task(&ready);
    assert_eq!(round(), [Closure, Closure, Task, Closure]);
    assert_eq!(begin(), 3);
    ready.rows.push(Main);
    push_call(&ready, 0);
    assert!(ready.has_call_or_main());
    assert_eq!(round(), [Closure, Closure, Task]);
    assert_eq!(begin(), 2);
    assert_eq!(round(), [Main, Closure]);
    assert!(ready.is_empty() && begin() == 0);
}

/// L5: what a batch of one kind adds waits for the next round.
#[test]
fn a_task_that_is_queued_by_a_batch_of_tasks_is_not_in_it() {
    let ready = ReadyQueue::default();
    push_task(&ready);
    push_task(&ready);
    assert_eq!(ready.begin_batch(|_| {}), 2);
    assert_eq!(ready.rows.pop(), Some(Kind::Task));
    push_task(&ready);
    assert_eq!(
        (ready.rows.pop_same(), ready.rows.pop_same()),
        (true, false)
    );
    assert_eq!((ready.rows.pop(), ready.len()), (None, 1));
    assert_eq!(ready.begin_batch(|_| {}), 1);
    assert_eq!(ready.rows.pop(), Some(Kind::Task));
}

/// L6: the closures behind one that panics run in the same batch.
#[test]
fn a_row_of_closures_is_continued_where_it_was_left() {
    let ready = ReadyQueue::default();
    for call in 0..3 {
        push_call(&ready, call);
    }
    push_task(&ready);
    ready.begin_batch(|_| {});
    let next = || (ready.rows.pop(), run_call(&ready));
    assert_eq!(next(), (Some(Kind::Closure), Some(0)));
    push_call(&ready, 3);
    // A new batch begins, as after a panic outside of every `catch_unwind`.
    assert_eq!(ready.begin_batch(|_| {}), 4);
    assert_eq!(ready.rows.pop(), Some(Kind::Closure));
    // A row that ends with its first closure.
    let row = ready.take_calls();
    assert_eq!(
        (row.end - ready.calls.first_key(), ready.rows.pop_same()),
        (2, false)
    );
    assert_eq!(run_call(&ready), Some(1));
    drop(row);
    assert_eq!(next(), (Some(Kind::Closure), Some(2)));
    assert!(!ready.rows.pop_same(), "the next one is a task");
    // L5: this batch does not include what it adds.
    push_task(&ready);
    assert_eq!(ready.rows.pop(), Some(Kind::Task));
    assert_eq!(next(), (Some(Kind::Closure), Some(3)));
    assert_eq!((ready.rows.pop_same(), ready.rows.pop()), (false, None));
}

#[test]
fn a_cancelled_closure_leaves_the_others_their_places_and_its_key_finds_nothing_more() {
    let ready = ReadyQueue::default();
    let keys = [1, 2, 3].map(|call| push_call(&ready, call));
    let take = |key| {
        let ran = Ran::default();
        ready.calls.take(key)?.call(&ran);
        ran.into_inner().pop()
    };
    assert_eq!(take(keys[1]), Some(2));
    assert_eq!(take(keys[1]), None);
    assert_eq!((ready.calls.keys().count(), ready.len()), (2, 3));
    assert_eq!(run_call(&ready), Some(1));
    assert_eq!(run_call(&ready), None, "it was cancelled");
    assert_eq!(take(keys[0]), None, "it has run");
    let next = push_call(&ready, 4);
    assert_eq!(take(keys[2]), Some(3));
    assert_eq!(take(next), Some(4));
    assert!(ready.pop_call().is_none());
}

/// R126.
#[test]
fn the_memory_of_a_burst_is_given_back_within_a_few_turns() {
    let ready = ReadyQueue::default();
    for n in 0..100_000 {
        push_call(&ready, n);
        push_task(&ready);
    }
    ready.begin_batch(|_| {});
    while let Some(next) = ready.rows.pop() {
        if next == Kind::Closure {
            run_call(&ready);
        }
    }
    for _ in 0..40 {
        ready.shrink();
    }
    assert!(ready.rows.rows.borrow().capacity() <= MIN_CAPACITY);
    assert!(ready.calls.room() <= MIN_CAPACITY);
}
