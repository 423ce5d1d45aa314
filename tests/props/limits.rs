//! Timeouts that are moved, ticks, slack, and the system clock.
//!
//! Invariants: T6, T9, C6 to C8, L8.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::combine::Either;
use readily::sync::oneshot;
use readily::task::create_future;
use readily::time::{
    MissedTick, ScopeEnded, TimeoutScope, fresh_now, interval_at, sleep_until, sleep_until_system,
    timeout_at,
};
use readily::{
    Elapsed, PanicPolicy, Task, gather, interval, select, sleep, spawn, timeout, wait_for,
    yield_now,
};
use readily_testing::{Action, SimLoop, in_one_turn, manual_poll, orders, spy, wakers};
use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A timeout that is never reached, in virtual time.
const HOUR: Duration = Duration::from_secs(3600);

/// The next step of the code in a scope.
#[derive(Clone, Copy, Debug)]
enum Step {
    Sleep(u32),
    /// Moves the limit to this many milliseconds from now; into the past if negative.
    Move(i32),
    NoLimit,
    Yield,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..9).prop_map(Step::Sleep),
        2 => (-3i32..12).prop_map(Step::Move),
        1 => Just(Step::NoLimit),
        1 => Just(Step::Yield),
    ]
}

fn from_now(ms: i32) -> Instant {
    let span = ms.unsigned_abs() * MS;
    match ms < 0 {
        true => fresh_now().checked_sub(span).unwrap_or(fresh_now()),
        false => fresh_now() + span,
    }
}

/// When such code ends, in milliseconds, and whether by itself. At the deadline the code wins if it
/// has ended, and is dropped if it waits for more. A limit that was moved into the past (`moved`)
/// ends the code in the next turn, before which it may have taken steps without a delay; a second
/// move into the past (`was_past`) does not give it another turn.
fn model(limit: u32, steps: &[Step]) -> (u32, bool) {
    let (mut now, mut limit, mut moved, mut was_past) = (0u32, Some(limit), true, false);
    for step in steps {
        let takes = match *step {
            Step::Sleep(ms) => ms,
            Step::Yield => 0,
            Step::Move(ms) => {
                (limit, moved) = (Some(now.saturating_add_signed(ms)), true);
                continue;
            }
            Step::NoLimit => {
                (limit, moved) = (None, true);
                continue;
            }
        };
        match limit {
            Some(limit) if limit <= now && (!moved || was_past) => return (now, false),
            Some(limit) if takes > 0 && limit < now + takes => return (limit.max(now), false),
            _ => {}
        }
        if moved {
            was_past = limit.is_some_and(|limit| limit <= now);
        }
        (now, moved) = (now + takes, false);
    }
    (now, true)
}

async fn run_steps(scope: TimeoutScope, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Sleep(ms) => sleep(ms * MS).await,
            Step::Move(ms) => scope
                .reschedule(from_now(ms))
                .expect("the scope has not ended"),
            Step::NoLimit => scope.reschedule(None).expect("the scope has not ended"),
            Step::Yield => yield_now().await,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// T6, T9: code whose limit moves ends when the model says, and with the predicted result.
    #[test]
    fn a_limit_that_moves_ends_the_code_when_it_should(
        limit in 0u32..12,
        steps in vec(step(), 0..8),
        seed in 0u64..4,
    ) {
        let mut sim = SimLoop::new(seed);
        let (ends, by_itself) = model(limit, &steps);
        let kept: Rc<RefCell<Option<TimeoutScope>>> = Rc::default();
        let keep = Rc::clone(&kept);
        let code = timeout(limit * MS, async |scope: TimeoutScope| {
            keep.replace(Some(scope.clone()));
            run_steps(scope, steps.clone()).await;
        });
        let ended = sim.run(wait_for(HOUR, code)).unwrap().expect("no task hangs");
        prop_assert_eq!(ended.is_ok(), by_itself);
        prop_assert_eq!(sim.elapsed(), ends * MS);
        let scope = kept.take().unwrap();
        prop_assert_eq!(scope.expired(), !by_itself, "T9");
        prop_assert_eq!(scope.reschedule(None), Err(ScopeEnded));
        sim.run_until_stalled().unwrap();
        prop_assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
    }

    /// T9: of nested limits each reports its own expiry, and if both have passed, the code between
    /// them gets the inner one's.
    #[test]
    fn nested_limits_report_their_own_expiry(outer in 1u32..8, inner in 1u32..8, work in 1u32..8) {
        let mut sim = SimLoop::new(1);
        let both = timeout(outer * MS, async |outer: TimeoutScope| {
            let result = timeout(inner * MS, async |_| sleep(work * MS).await).await;
            assert!(!outer.expired(), "expired code does not run");
            result
        });
        let result = sim.run(both).unwrap();
        let expected = match (work <= inner, work <= outer, inner <= outer) {
            (true, true, _) => Ok(Ok(())),
            (false, _, true) => Ok(Err(Elapsed)),
            _ => Err(Elapsed),
        };
        prop_assert_eq!(result, expected);
        prop_assert_eq!(sim.elapsed(), work.min(inner).min(outer) * MS);
    }

    /// C6: a tick is never early, is a multiple of the period, and comes at most once a turn; and
    /// each rule gives its number of ticks.
    #[test]
    fn ticks_keep_to_their_series_whatever_is_missed(
        period in 1u32..6,
        busy in vec(0u32..20, 1..12),
        missed in prop_oneof![
            Just(MissedTick::Skip), Just(MissedTick::Delay), Just(MissedTick::Burst)
        ],
        at_once in any::<bool>(),
        given_up in any::<bool>(),
    ) {
        let mut sim = SimLoop::new(1);
        let period = period * MS;
        sim.run(wait_for(HOUR, async {
            let start = fresh_now();
            let ticks = match at_once {
                true => interval_at(start, period),
                false => interval(period),
            };
            let mut ticks = ticks.missed(missed);
            let mut expected = match at_once {
                true => start,
                false => start + period,
            };
            for &busy in &busy {
                let tick = loop {
                    if !given_up {
                        break ticks.tick().await;
                    }
                    // Dropped each millisecond, which loses no tick.
                    if let Either::Left(tick) = select((ticks.tick(), sleep(MS))).await {
                        break tick;
                    }
                };
                assert_eq!(tick, expected, "{missed:?}");
                let now = fresh_now();
                assert!(now >= tick, "a timer is never early");
                expected = match missed {
                    MissedTick::Burst => tick + period,
                    MissedTick::Delay => now + period,
                    MissedTick::Skip => {
                        let mut next = tick;
                        while next <= now {
                            next += period;
                        }
                        next
                    }
                    other => unreachable!("not drawn: {other:?}"),
                };
                sleep(busy * MS).await;
            }
        })).unwrap().expect("no task hangs");
        prop_assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
    }

    /// C8: with slack, a timer is late by less than the slack; timers with the same slack end in as
    /// few turns as there are multiples of it.
    #[test]
    fn slack_makes_late_by_less_than_itself_and_brings_together(
        delays in vec(0u32..50, 1..12),
        slack in 0u32..9,
    ) {
        let mut sim = SimLoop::new(1);
        let ends: Rc<RefCell<Vec<Duration>>> = Rc::default();
        let begin = sim.fresh_now();
        let naps = delays.iter().map(|&delay| {
            let ends = Rc::clone(&ends);
            async move {
                sleep(delay * MS).slack(slack * MS).await;
                let end = fresh_now() - begin;
                assert!(end >= delay * MS, "a timer is never early");
                assert!(end - delay * MS < (slack * MS).max(Duration::from_nanos(1)));
                ends.borrow_mut().push(end);
            }
        });
        sim.run(gather(naps)).unwrap();
        if slack > 0 {
            let on_time = |end: &Duration| end.as_nanos() % (slack * MS).as_nanos() == 0;
            prop_assert!(ends.borrow().iter().all(on_time), "{ends:?}");
        }
    }

    /// C7: a sleep does not end while the system clock is earlier, however the clock is set; and it
    /// ends at most a second after the clock was set.
    #[test]
    fn a_sleep_by_the_wall_follows_it_forward_and_back(
        at in 0u32..300,
        sets in vec((0u32..80, 0u32..600), 0..5),
    ) {
        let mut sim = SimLoop::new(1);
        let clock = sim.kernel().clock();
        // In tenths of a second.
        let wall = |tenths: u32| UNIX_EPOCH + tenths * SECOND / 10;
        let setting = clock.clone();
        let late = sim.run(wait_for(HOUR, async move {
            let times: Rc<RefCell<Vec<(Instant, SystemTime)>>> = Rc::default();
            let set_times = Rc::clone(&times);
            drop(spawn(async move {
                for (pause, to) in sets {
                    sleep(pause * SECOND / 10).await;
                    setting.set_system(wall(to));
                    set_times.borrow_mut().push((fresh_now(), wall(to)));
                }
            }));
            let begin = fresh_now();
            sleep_until_system(wall(at)).await;
            let handle = readily::WeakHandle::current().unwrap();
            assert!(handle.with(|handle| handle.system_now()).unwrap() >= wall(at), "C7: early");
            // The time since which the clock has been late enough without a break.
            let mut since = begin + at * SECOND / 10;
            let times = times.borrow();
            let mut now_at = |since_set: Instant, set_to: SystemTime| {
                since = match wall(at).duration_since(set_to) {
                    Ok(left) => since_set + left,
                    Err(_) => since_set,
                };
            };
            for &(when, to) in times.iter() {
                now_at(when, to);
            }
            fresh_now().saturating_duration_since(since)
        })).unwrap().expect("no task hangs");
        prop_assert!(late <= SECOND, "late by {late:?}");
    }
}

/// T6, T9: the value, the limit, a new limit and a cancel in one turn, in every order.
#[test]
fn a_value_a_limit_and_a_later_limit_in_one_turn_end_in_every_order() {
    type Waits = Task<Result<u8, Elapsed>>;
    let waiting = || {
        let mut sim = SimLoop::new(2);
        let entered = sim.event_loop().enter();
        let (promise, future) = create_future::<u8>();
        let (given, mut scope) = create_future::<TimeoutScope>();
        let waiter: Waits = spawn(timeout(MS, async move |scope| {
            given.set_result(scope).unwrap();
            future.await.unwrap()
        }));
        drop(entered);
        sim.run_until_stalled().unwrap();
        let scope = scope.result().unwrap().unwrap();
        (sim, promise, scope, waiter)
    };
    for order in orders(3) {
        let (mut sim, promise, scope, mut waiter) = waiting();
        let clock = sim.kernel().clock();
        let (kept, when) = (scope.clone(), sim.fresh_now() + 9 * MS);
        in_one_turn(
            &sim.weak_handle(),
            &order,
            vec![
                Box::new(move || promise.set_result(7).unwrap()),
                Box::new(move || clock.advance(MS)),
                Box::new(move || scope.reschedule(when).unwrap()),
            ],
        );
        sim.run_until_stalled().unwrap();
        assert_eq!(waiter.result().unwrap().unwrap(), Ok(7), "{order:?}");
        assert!(!kept.expired());
        assert_eq!(sim.event_loop().next_deadline(), None, "{order:?}");
    }
    for order in orders(3) {
        let (mut sim, promise, scope, waiter) = waiting();
        let clock = sim.kernel().clock();
        let (kept, when) = (scope.clone(), sim.fresh_now() + 9 * MS);
        let task = waiter.task_ref();
        let cancels = order[0] == 0;
        let end: Action = match cancels {
            true => Box::new(move || assert!(task.cancel())),
            false => Box::new(|| ()),
        };
        in_one_turn(
            &sim.weak_handle(),
            &order,
            vec![
                end,
                Box::new(move || clock.advance(MS)),
                // Refused if the task has been cancelled.
                Box::new(move || assert_eq!(scope.reschedule(when).is_err(), cancels)),
            ],
        );
        sim.run_until_stalled().unwrap();
        // The limit is moved before the code is polled.
        assert_eq!(waiter.done(), cancels, "{order:?}");
        sim.advance(9 * MS).unwrap();
        assert!(waiter.done());
        assert_eq!(
            kept.expired(),
            !cancels,
            "{order:?}: a cancel is not an expiry"
        );
        drop(promise);
    }
}

/// T9: a callback or another task moves the limit, to an earlier and to a later time.
#[test]
fn a_limit_may_be_moved_from_elsewhere() {
    for (to, ends) in [(2, 2), (9, 9)] {
        let mut sim = SimLoop::new(1);
        let begin = sim.fresh_now();
        let result = sim.run(timeout(5 * MS, async |scope: TimeoutScope| {
            assert_eq!(scope.when(), Some(begin + 5 * MS));
            let handle = readily::WeakHandle::current().unwrap();
            handle.with(|handle| {
                handle.call_later(MS, move |_| scope.reschedule(begin + to * MS).unwrap())
            });
            pending::<()>().await
        }));
        assert_eq!(result.unwrap(), Err(Elapsed));
        assert_eq!(sim.elapsed(), ends * MS);
    }
    // Without a limit, until one is set.
    let mut sim = SimLoop::new(1);
    let result = sim.run(timeout_at(None, async |scope: TimeoutScope| {
        assert_eq!(scope.when(), None);
        sleep(60 * SECOND).await;
        scope.reschedule(fresh_now() + MS).unwrap();
        pending::<()>().await
    }));
    assert_eq!(result.unwrap(), Err(Elapsed));
    assert_eq!(sim.elapsed(), 60 * SECOND + MS);
    let never = timeout(Duration::MAX, async |scope: TimeoutScope| scope.when());
    assert_eq!(sim.run(never).unwrap(), Ok(None));
    // The limit had passed before the start: code that is ready wins.
    let past = sim.fresh_now();
    sim.advance(SECOND).unwrap();
    let at_once = timeout_at(past, async |_| 7);
    assert_eq!(sim.run(at_once).unwrap(), Ok(7));
    let waits = timeout_at(past, async |_| pending::<()>().await);
    assert_eq!(sim.run(waits).unwrap(), Err(Elapsed));
}

/// The code is dropped before the caller gets the expiry; it borrows from the caller.
#[test]
fn what_a_timeout_ends_is_dropped_before_it_returns() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let mut count = 0;
        let (slow, seen) = spy(sleep(HOUR));
        let result = timeout(MS, async |_| {
            count += 1;
            slow.await
        })
        .await;
        assert_eq!((result, count), (Err(Elapsed), 1));
        seen.assert_dropped();
        let io: std::io::Error = Elapsed.into();
        assert_eq!(io.kind(), std::io::ErrorKind::TimedOut);
    })
    .unwrap();
}

/// C6: after an hour of suspended sleep there is one tick, and then the next ones on time.
#[test]
fn a_suspend_leads_to_one_tick_and_no_burst() {
    let mut sim = SimLoop::new(1);
    let clock = sim.kernel().clock();
    sim.run(async {
        let mut ticks = interval(SECOND);
        let first = ticks.tick().await;
        clock.advance(HOUR + MS);
        assert_eq!(ticks.tick().await, first + SECOND);
        assert_eq!(ticks.tick().await, first + HOUR + SECOND);
        assert_eq!(ticks.tick().await, first + HOUR + 2 * SECOND);

        let mut ticks = interval(SECOND).missed(MissedTick::Burst);
        let first = ticks.tick().await;
        clock.advance(3 * SECOND);
        let handle = readily::WeakHandle::current().unwrap();
        let turns = || handle.with(|handle| handle.stats().turns).unwrap();
        let before = turns();
        for n in 1..4 {
            assert_eq!(ticks.tick().await, first + n * SECOND);
        }
        assert!(turns() >= before + 2, "one tick per turn");
        assert_eq!(ticks.period(), SECOND);
        ticks.reset();
        let now = fresh_now();
        assert_eq!(ticks.tick().await, now + SECOND);
    })
    .unwrap();
}

/// A ticker that is due is not starved by a choice whose other future is always ready.
#[test]
fn a_tick_that_is_due_is_given_at_once_and_one_in_a_turn() {
    let mut sim = SimLoop::new(1);
    sim.run(wait_for(HOUR, async {
        let mut ticks = interval(MS);
        ticks.tick().await;
        sleep(MS).await;
        let chosen = select((ticks.tick(), ready(()))).await;
        assert!(matches!(chosen, Either::Left(_)), "the tick is due");
        let mut none = interval(Duration::ZERO).missed(MissedTick::Burst);
        let first = none.tick().await;
        for _ in 0..9 {
            assert!(
                none.tick().await > first,
                "a tick of a zero period is later"
            );
        }
        let mut never = interval(Duration::MAX);
        assert!(wait_for(MS, never.tick()).await.is_err());
        never.reset();
        assert!(wait_for(MS, never.tick()).await.is_err());
    }))
    .unwrap()
    .expect("no task hangs");
    // Outside a loop it may be made and set, but not awaited.
    super::scripted::hush();
    let mut ticks = interval(SECOND);
    ticks.reset();
    let polled = catch_unwind(AssertUnwindSafe(|| {
        manual_poll(ticks.tick()).poll().is_pending()
    }));
    assert!(polled.is_err());
}

/// Dropped anywhere, it leaves no timer.
#[test]
fn each_wait_for_time_may_be_dropped_after_each_of_its_polls() {
    let mut sim = SimLoop::new(3);
    let polls = sim.drop_everywhere(|| async {
        let result = timeout(5 * MS, async |scope: TimeoutScope| {
            sleep(MS / 4).await;
            scope.reschedule(fresh_now() + MS / 2).unwrap();
            pending::<()>().await
        });
        assert_eq!(result.await, Err(Elapsed));
    });
    assert!(polls > 5, "the future waits");
    let polls = sim.drop_everywhere(|| async {
        let mut ticks = interval(MS / 2);
        ticks.tick().await;
        ticks.tick().await;
    });
    assert!(polls > 5, "the future waits");
    let polls = sim.drop_everywhere(|| async {
        sleep_until(fresh_now() + MS / 2).await;
        sleep(MS / 10).slack(MS / 5).await;
    });
    assert!(polls > 5, "the future waits");
    let polls = sim.drop_everywhere(|| async {
        let handle = readily::WeakHandle::current().unwrap();
        let now = handle.with(|handle| handle.system_now()).unwrap();
        sleep_until_system(now + MS / 2).await;
    });
    assert!(polls > 5, "the future waits");
    assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
}

/// L8: each future that waits for time, with each hostile waker; then with a normal one.
#[test]
fn waiting_for_time_goes_on_after_wakers_that_misbehave() {
    super::scripted::hush();
    let mut sim = SimLoop::new(3);
    sim.set_panic_policy(PanicPolicy::Isolate);
    sim.on_unhandled(|_| ());
    for (name, hostile) in wakers::hostile() {
        let entered = sim.event_loop().enter();
        let mut nap = manual_poll(sleep_until(fresh_now() + 2 * MS).slack(MS));
        let polled = catch_unwind(AssertUnwindSafe(|| nap.poll_with(&hostile).is_ready()));
        assert!(!matches!(polled, Ok(true)), "{name}");
        assert!(nap.poll().is_pending(), "{name}");
        let mut ticks = interval(2 * MS);
        let _may_panic = catch_unwind(AssertUnwindSafe(|| {
            manual_poll(ticks.tick()).poll_with(&hostile)
        }));
        let mut tick = manual_poll(ticks.tick());
        assert!(tick.poll().is_pending(), "{name}");
        let due = fresh_now() + 2 * MS;
        drop(entered);
        sim.advance(3 * MS).unwrap();
        let entered = sim.event_loop().enter();
        nap.assert_woken(1);
        nap.assert_ready();
        tick.assert_woken(1);
        assert_eq!(tick.assert_ready(), due, "{name}");
        drop(entered);
        let _may_panic = catch_unwind(AssertUnwindSafe(|| drop(hostile)));
    }
    assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
}

thread_local! {
    static SCOPE: RefCell<Option<TimeoutScope>> = const { RefCell::new(None) };
}

/// L8: a waker that moves the limit when it is cloned, and each hostile waker.
#[test]
fn a_scope_bears_wakers_that_misbehave_and_a_clone_that_moves_its_limit() {
    super::scripted::hush();
    let mut sim = SimLoop::new(3);
    sim.on_unhandled(|_| ());
    sim.set_panic_policy(PanicPolicy::Isolate);
    let entered = sim.event_loop().enter();
    for (name, hostile) in wakers::hostile() {
        let kept: Rc<RefCell<Option<TimeoutScope>>> = Rc::default();
        let keep = Rc::clone(&kept);
        let mut limited = manual_poll(timeout(HOUR, async move |scope: TimeoutScope| {
            keep.replace(Some(scope));
            pending::<()>().await
        }));
        let polled = catch_unwind(AssertUnwindSafe(|| limited.poll_with(&hostile)));
        let scope = kept.take().expect("the code has begun");
        // A coroutine that has panicked has ended.
        let moved = scope.reschedule(fresh_now() + 2 * HOUR);
        assert_eq!(moved.is_ok(), polled.is_ok(), "{name}");
        if polled.is_ok() {
            assert!(limited.poll().is_pending(), "{name}");
            scope.reschedule(fresh_now() + MS).unwrap();
            limited.assert_woken(1);
        }
        drop(limited);
        assert_eq!(scope.reschedule(None), Err(ScopeEnded), "{name}");
        assert!(!scope.expired(), "{name}: a drop is not an expiry");
        let _may_panic = catch_unwind(AssertUnwindSafe(|| drop(hostile)));
    }
    // Cloned while the scope waits, it ends the code that it is to wake.
    let moves = wakers::cloning(|| {
        if let Some(scope) = SCOPE.take() {
            scope.reschedule(fresh_now()).unwrap();
        }
        None
    });
    let mut limited = manual_poll(timeout(HOUR, async |scope: TimeoutScope| {
        SCOPE.set(Some(scope));
        pending::<()>().await
    }));
    assert!(limited.poll_with(&moves).is_pending());
    assert!(SCOPE.take().is_none(), "the waker was cloned");
    drop(entered);
    sim.run_until_stalled().unwrap();
    let entered = sim.event_loop().enter();
    assert_eq!(limited.assert_ready(), Err(Elapsed));
    drop(entered);
    sim.run_until_stalled().unwrap();
    assert_eq!(sim.event_loop().next_deadline(), None, "no timer is left");
}

/// T9: a limit in the past ends the code in the next turn, however often it is set again; and so
/// does an absolute limit around an idle limit that is moved with each item.
#[test]
fn a_limit_that_is_moved_again_and_again_is_kept_all_the_same() {
    let mut sim = SimLoop::new(1);
    let clock = sim.kernel().clock();
    let result = sim.run(async move {
        let hard = fresh_now() + 20 * MS;
        let turns = Rc::new(Cell::new(0));
        let count = Rc::clone(&turns);
        let idle = timeout(50 * MS, async move |scope| {
            loop {
                clock.advance(MS);
                yield_now().await;
                count.set(count.get() + 1);
                assert!(count.get() < 1000, "the limit never came");
                scope.reschedule((fresh_now() + 50 * MS).min(hard)).unwrap();
            }
        });
        let result: Result<(), _> = idle.await;
        (result, turns.get())
    });
    let (result, turns) = result.unwrap();
    assert_eq!(result, Err(Elapsed));
    assert!((20..=22).contains(&turns), "{turns} turns");
    // Set by another task, in each turn, while the code waits.
    let result = sim.run(async {
        let (scopes, given) = oneshot::channel();
        let other = spawn(async move {
            let scope: TimeoutScope = given.await.unwrap();
            let mut moved = 0;
            while scope.reschedule(fresh_now()).is_ok() {
                moved += 1;
                assert!(moved < 1000, "the limit never came");
                yield_now().await;
            }
        });
        let result: Result<(), _> = timeout_at(None, async move |scope| {
            scopes.send(scope).ok().unwrap();
            pending().await
        })
        .await;
        other.await.unwrap();
        result
    });
    assert_eq!(result.unwrap(), Err(Elapsed));
}

/// A destructor of the code finds the scope ended, if the code was dropped too.
#[test]
fn a_scope_is_over_for_the_destructors_of_code_that_was_dropped() {
    struct RescheduleOnDrop(TimeoutScope, Rc<Cell<bool>>);
    impl Drop for RescheduleOnDrop {
        fn drop(&mut self) {
            self.1.set(self.0.reschedule(None).is_err());
        }
    }
    let mut sim = SimLoop::new(1);
    let over = Rc::new(Cell::new(false));
    let ended = Rc::clone(&over);
    let code = timeout(HOUR, async move |scope| {
        let _on_drop = RescheduleOnDrop(scope, ended);
        pending::<()>().await
    });
    let task = sim.spawn(code);
    sim.event_loop().turn_now().unwrap();
    sim.event_loop().turn_now().unwrap();
    task.cancel();
    assert!(over.get());
}
