//! `race`, `select` and `as_completed`: the order of the outputs, and that none is lost.
//!
//! Invariants: T7, T8, L8.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::combine::{Either, race_fair};
use readily::task::{BUDGET, Future, Promise, consume_budget, create_future};
use readily::{as_completed, gather, race, select, sleep, spawn, try_gather, wait_for, yield_now};
use readily_testing::{Action, SimLoop, in_one_turn, manual_poll, orders, spy, wakers};
use std::cell::RefCell;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A timeout that is never reached, in virtual time.
const HOUR: Duration = Duration::from_secs(3600);

type Pairs = (Vec<Option<Promise<usize>>>, Vec<Future<usize>>);

fn promised(n: usize) -> Pairs {
    (0..n)
        .map(|_| {
            let (promise, future) = create_future();
            (Some(promise), future)
        })
        .unzip()
}

/// Settles the promises of each batch in one turn, in the order of the batch.
async fn settle(mut promises: Vec<Option<Promise<usize>>>, batches: Vec<Vec<usize>>) {
    for batch in batches {
        // Two turns: a task that the last batch has woken is polled before this batch.
        yield_now().await;
        yield_now().await;
        for n in batch {
            if let Some(promise) = promises[n].take() {
                promise
                    .set_result(n)
                    .expect("the promise is not settled yet");
            }
        }
    }
    // A promise that is not settled is not dropped either: its future waits forever.
    pending::<()>().await;
    drop(promises);
}

fn flat(batches: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    for &n in batches.iter().flatten() {
        if !order.contains(&n) {
            order.push(n);
        }
    }
    order
}

const MANY: usize = 5;

async fn spend(times: u32) {
    for _ in 0..times {
        consume_budget().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// T7: the winner is the first in the list among those that were settled first, in any order of
    /// settling; for a list, a tuple, and a choice among borrowed futures. The others are kept.
    #[test]
    fn the_first_named_of_those_that_are_ready_wins(
        batches in vec(vec(0..MANY, 0..4), 1..6),
        seed in 0u64..8,
    ) {
        let Some(first) = batches.iter().find(|batch| !batch.is_empty()) else { return Ok(()) };
        let expected = *first.iter().min().unwrap();
        let mut sim = SimLoop::new(seed);
        sim.run(wait_for(HOUR, async {
            let (promises, futures) = promised(MANY);
            let settled = spawn(settle(promises, batches.clone()));
            assert_eq!(race(futures).await, Ok(expected));
            settled.cancel();

            let (promises, futures) = promised(MANY);
            let settled = spawn(settle(promises, batches.clone()));
            let [a, b, c, d, e] = futures.try_into().ok().unwrap();
            assert_eq!(race((a, b, c, d, e)).await, Ok(expected));
            settled.cancel();

            let (promises, mut futures) = promised(MANY);
            drop(spawn(settle(promises, batches.clone())));
            let mut order = Vec::new();
            let mut waiting: Vec<usize> = (0..MANY).collect();
            for _ in 0..flat(&batches).len() {
                let (place, output) = select(&mut futures).await;
                let whose = waiting.remove(place);
                assert_eq!(output, Ok(whose));
                drop(futures.remove(place));
                order.push(whose);
            }
            assert_eq!(order[0], expected);
            order.sort_unstable();
            let mut all = flat(&batches);
            all.sort_unstable();
            assert_eq!(order, all, "T8: none is lost");
        })).unwrap().expect("no task hangs");
    }

    /// T7: the same, for each budget that is left, and for each cost of the futures before it.
    #[test]
    fn the_first_named_wins_whatever_is_left_of_the_budget(
        spent in 0..=BUDGET,
        kinds in vec((0u32..=24, any::<bool>()), MANY),
    ) {
        let Some(expected) = kinds.iter().position(|&(_, ends)| ends) else { return Ok(()) };
        let all = || kinds.clone().into_iter().enumerate().map(|(n, (costs, ends))| async move {
            spend(costs).await;
            if !ends {
                pending::<()>().await;
            }
            n
        });
        let begun = || async {
            yield_now().await;
            spend(spent).await;
        };
        let mut sim = SimLoop::new(1);
        sim.run(wait_for(HOUR, async {
            begun().await;
            assert_eq!(race(all()).await, expected);
            begun().await;
            assert_eq!(select(all()).await, (expected, expected));
            // `as_completed` returns the first in time, so only the first poll depends on the
            // order.
            yield_now().await;
            spend(spent / BUDGET * BUDGET).await;
            let failing = all().map(|one| async { Err::<(), _>(one.await) });
            assert_eq!(try_gather(failing.collect::<Vec<_>>()).await, Err(expected));
            let five = || <[_; MANY]>::try_from(all().collect::<Vec<_>>()).ok().unwrap();
            let [a, b, c, d, e] = five();
            begun().await;
            assert_eq!(race((a, b, c, d, e)).await, expected);
            let [a, b, c, d, e] = five().map(|one| async { Err::<(), _>(one.await) });
            begun().await;
            assert_eq!(try_gather((a, b, c, d, e)).await, Err(expected));
            let [a, b, ..] = five();
            if expected < 2 {
                begun().await;
                let first = select((a, b)).await;
                assert_eq!(first.into_inner(), expected);
            }
        })).unwrap().expect("no task hangs");
    }

    /// T8: outputs come in the order of their ends, each once; each future is polled once at the
    /// start and once for each wake of its own, however often the wait for the next output is
    /// dropped.
    #[test]
    fn outputs_come_in_the_order_of_their_ends(
        batches in vec(vec(0..MANY, 0..4), 1..6),
        given_up in vec(any::<bool>(), 1..6),
    ) {
        let order = flat(&batches);
        let mut sim = SimLoop::with(readily_testing::Faults::none());
        sim.run(wait_for(HOUR, async {
            let (promises, futures) = promised(MANY);
            let (futures, seen): (Vec<_>, Vec<_>) = futures.into_iter().map(spy).unzip();
            let mut done = as_completed(futures);
            drop(spawn(settle(promises, batches)));
            let mut given_up = given_up.iter().cycle();
            for (n, &expected) in order.iter().enumerate() {
                assert_eq!(done.left(), MANY - n);
                let mut turns = 0;
                let next = loop {
                    turns += 1;
                    assert!(turns < 100, "the future was woken, and its output is not returned");
                    if !given_up.next().unwrap() {
                        break done.next().await;
                    }
                    // Polled once, then dropped.
                    if let Either::Left(next) = select((done.next(), ready(()))).await {
                        break next;
                    }
                    yield_now().await;
                };
                assert_eq!(next, Some((expected, Ok(expected))));
            }
            assert_eq!(done.left(), MANY - order.len());
            for (n, seen) in seen.iter().enumerate() {
                let ended = order.contains(&n);
                assert_eq!((seen.finished(), seen.drops()), (ended, u32::from(ended)));
                assert!(seen.polls() <= 1 + u32::from(ended), "polled without a wake");
            }
            drop(done);
            assert!(seen.iter().all(|seen| seen.drops() == 1));
        })).unwrap().expect("no task hangs");
    }
}

/// T7 and R092: of two futures that are always ready, the second never wins a biased race, and wins
/// half of the fair ones; two tasks that race in turn do not get into step.
#[test]
fn a_fair_race_starves_no_future() {
    for list in [false, true] {
        let mut sim = SimLoop::new(5);
        let wins: Rc<RefCell<[u32; 4]>> = Rc::default();
        let racer = |at: usize| {
            let wins = Rc::clone(&wins);
            async move {
                for _ in 0..1000 {
                    let winner = match list {
                        true => race_fair([ready(0), ready(1)]).await,
                        false => race_fair((ready(0), ready(1))).await,
                    };
                    wins.borrow_mut()[at + winner] += 1;
                    assert_eq!(race((ready(0), ready(1))).await, 0);
                    yield_now().await;
                }
            }
        };
        sim.run(async { gather((racer(0), racer(2))).await })
            .unwrap();
        assert!(wins.borrow().iter().all(|&n| n > 400), "{wins:?}");
    }
    // Outside a loop there is no generator of random numbers.
    let mut alone = manual_poll(race_fair([ready(0), ready(1)]));
    assert_eq!(alone.assert_ready(), 0);
}

/// The losers are dropped before the race returns; borrowed ones are kept.
#[test]
fn losers_are_dropped_before_the_race_returns_unless_they_were_lent() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (slow, seen) = spy(pending::<u8>());
        assert_eq!(race((slow, ready(1))).await, 1);
        seen.assert_dropped();
        let held: Vec<_> = (0..3).map(|n| spy(sleep(n * MS))).collect();
        let (naps, seen): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        race(naps).await;
        assert!(seen.iter().all(|seen| seen.drops() == 1));
        let (slow, seen) = spy(sleep(MS));
        let mut slow = pin!(slow);
        let chosen = select((slow.as_mut(), ready(7))).await;
        assert_eq!(chosen, Either::Right(7));
        seen.assert_alive();
        assert_eq!(select((slow, pending::<()>())).await, Either::Left(()));
        assert_eq!(Either::<u8, u8>::Right(3).into_inner(), 3);
    })
    .unwrap();
    assert_eq!(sim.event_loop().next_deadline(), None);
}

/// T7, T8: two values in one turn, in every order, and a third event that ends the waiter: the
/// first in the list is returned, and the other one afterwards.
#[test]
fn two_values_of_one_turn_are_given_in_every_order() {
    for order in orders(2) {
        for seed in 0..4 {
            let mut sim = SimLoop::new(seed);
            let entered = sim.event_loop().enter();
            let (mut promises, mut futures) = promised(2);
            let mut waiter = spawn(async move {
                let first = select(&mut futures).await;
                let second = futures.pop().unwrap().await;
                (first, second)
            });
            drop(entered);
            sim.run_until_stalled().unwrap();
            let action = |n: usize, promise: Promise<usize>| -> Action {
                Box::new(move || promise.set_result(n).unwrap())
            };
            let actions = promises
                .iter_mut()
                .enumerate()
                .map(|(n, promise)| action(n, promise.take().unwrap()))
                .collect();
            in_one_turn(&sim.weak_handle(), &order, actions);
            sim.run_until_stalled().unwrap();
            let (first, second) = waiter.result().unwrap().unwrap();
            assert_eq!((first, second), ((0, Ok(0)), Ok(1)), "{order:?}");
        }
    }
}

/// T8: a choice may be dropped after each of its polls: no timer is left, and a borrowed future can
/// be used again.
#[test]
fn a_choice_may_be_dropped_after_each_of_its_polls() {
    let mut sim = SimLoop::new(3);
    let polls = sim.drop_everywhere(|| race([sleep(9 * MS), sleep(MS / 2)]));
    assert!(polls > 2, "racing waits");
    let polls = sim.drop_everywhere(|| race((sleep(9 * MS), sleep(MS / 2))));
    assert!(polls > 2, "racing waits");
    let polls = sim.drop_everywhere(|| select((sleep(9 * MS), sleep(MS / 2))));
    assert!(polls > 2, "choosing waits");
    let polls = sim.drop_everywhere(|| async {
        let mut done = as_completed((1..4).map(|n| sleep(n * MS / 2)));
        while done.next().await.is_some() {}
    });
    assert!(polls > 4, "completing waits");
    assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");

    // A value is ready, and the choice is dropped before it is polled.
    let entered = sim.event_loop().enter();
    let (promises, mut futures) = promised(3);
    let mut given_up = manual_poll(select(&mut futures));
    assert!(given_up.poll().is_pending());
    promises[1].as_ref().unwrap().set_result(1).unwrap();
    given_up.assert_woken(1);
    drop(given_up);
    let mut again = manual_poll(select(&mut futures));
    assert_eq!(again.assert_ready(), (1, Ok(1)));
    drop(entered);
}

/// T8: a borrowed future does not wake the task of a choice that was dropped.
#[test]
fn a_dropped_choice_gets_no_wake_and_keeps_no_waker() {
    let mut sim = SimLoop::new(3);
    let _entered = sim.event_loop().enter();
    let (mut promises, mut futures) = promised(2);
    let (waker, count) = wakers::counting();
    let mut choice = manual_poll(select(&mut futures));
    assert!(choice.poll_with(&waker).is_pending());
    drop(choice);
    assert_eq!(count.kept(), 1, "only the test's waker is left");
    promises[0].take().unwrap().set_result(0).unwrap();
    assert_eq!(count.take(), 0);
}

/// A future that panics is dropped; the others are not affected.
#[test]
fn a_panic_among_several_leaves_the_others() {
    super::scripted::hush();
    let mut sim = SimLoop::new(3);
    let _entered = sim.event_loop().enter();
    let parts = (0..4).map(|n| async move {
        if n == 1 {
            std::panic::panic_any(super::scripted::PLANTED);
        }
        n
    });
    let mut done = as_completed(parts);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let mut next = manual_poll(done.next());
        match catch_unwind(AssertUnwindSafe(|| next.assert_ready())) {
            Ok(next) => seen.push(next.map(|(n, _)| n)),
            Err(_) => seen.push(Some(99)),
        }
    }
    assert_eq!(seen, [Some(0), Some(99), Some(2), Some(3), None]);
}

#[test]
fn an_empty_race_would_never_end_and_panics() {
    super::scripted::hush();
    let no_task = || race(Vec::<std::future::Ready<()>>::new());
    assert!(catch_unwind(AssertUnwindSafe(|| manual_poll(no_task()).assert_ready())).is_err());
    let nothing = || select(Vec::<std::future::Ready<()>>::new());
    assert!(catch_unwind(AssertUnwindSafe(|| manual_poll(nothing()).assert_ready())).is_err());
    let mut none = as_completed(Vec::<std::future::Ready<()>>::new());
    assert_eq!(manual_poll(none.next()).assert_ready(), None);
}

/// L8: with each hostile waker; afterwards the choice works for others.
#[test]
fn a_choice_works_for_others_after_wakers_that_misbehave() {
    super::scripted::hush();
    let mut sim = SimLoop::new(3);
    sim.on_unhandled(|_| ());
    let _entered = sim.event_loop().enter();
    for (name, hostile) in wakers::hostile() {
        let (mut promises, mut futures) = promised(2);
        {
            let mut first = manual_poll(select(&mut futures));
            let _may_panic = catch_unwind(AssertUnwindSafe(|| first.poll_with(&hostile)));
            drop(first);
            let mut done = manual_poll(select(&mut futures));
            assert!(done.poll().is_pending(), "{name}");
            promises[1].take().unwrap().set_result(1).unwrap();
            done.assert_woken(1);
            assert_eq!(done.assert_ready(), (1, Ok(1)), "{name}");
        }
        let (mut promises, futures) = promised(2);
        let mut done = manual_poll(race(futures));
        let polled = catch_unwind(AssertUnwindSafe(|| done.poll_with(&hostile)));
        // A coroutine that has panicked is not polled again.
        if polled.is_ok() {
            assert!(done.poll().is_pending(), "{name}");
            promises[0].take().unwrap().set_result(0).unwrap();
            done.assert_woken(1);
            assert_eq!(done.assert_ready(), Ok(0), "{name}");
        }
        let _may_panic = catch_unwind(AssertUnwindSafe(|| drop(hostile)));
    }
}
