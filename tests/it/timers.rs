//! Timers by a clock that the test moves, and a few by the real one.
//!
//! Invariants: L3, L5, L6, C1, C2, C4, C5.

use crate::support::{
    Count, Log, collect_unhandled, guard, manual_loop, strict_loop, strict_runner, turn_times,
    turn_until, turns_in, wall,
};
use readily::clock::Clock;
use readily::event_loop::ExitReason;
use readily::spi;
use readily::time::sleep_until;
use readily::{Elapsed, PanicPolicy, Timer, TimerHandle, WeakHandle, gather, sleep, wait_for};
use readily_testing::SimLoop;
use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// R066, R067, R068, R070, C2.
#[test]
fn timers_fire_by_deadline_and_then_in_the_order_of_arming() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    clock.advance(Duration::from_secs(3600));
    let log = Log::default();
    let start = event_loop.now();
    for (name, after_ms) in [("c", 3), ("a", 1), ("b", 2), ("a2", 1), ("z", 0), ("c2", 3)] {
        let note = log.clone();
        event_loop.call_later(after_ms * MS, move |_| note.note(name));
    }
    let note = log.clone();
    event_loop.call_at(start - Duration::from_secs(1800), move |_| {
        note.note("past")
    });
    turn_times(&mut event_loop, 1);
    assert_eq!(
        log.text(),
        "past z",
        "what is past comes first, by its deadline"
    );
    clock.advance(3 * MS);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "past z a a2 b c c2");
}

/// R066: through every way in.
#[test]
fn a_delay_beyond_the_end_of_time_is_never_and_not_now() {
    let _guard = guard!();
    let days = |n: u64| Duration::from_secs(n * 24 * 3600);
    let far = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_millis(u64::MAX),
        Duration::from_nanos(u64::MAX),
        Duration::from_nanos(1 << 63),
        days(50),
        days(25),
        Duration::from_millis(1 << 31),
        Duration::from_millis(u64::from(u32::MAX)),
    ];
    for far in far {
        let (mut event_loop, clock) = manual_loop();
        clock.advance(days(365 * 100));
        let handle = event_loop.call_later(far, |_| panic!("now"));
        drop(event_loop.spawn(sleep(far)));
        drop(event_loop.spawn(wait_for(far, pending::<()>())));
        turn_times(&mut event_loop, 4);
        clock.advance(days(1));
        turn_times(&mut event_loop, 4);
        assert!(handle.cancel(), "{far:?} is still to come");
        // The real kernel is asked for that time, too, and does not come back at once.
        let turns = turns_in(&mut event_loop, Duration::ZERO);
        assert_eq!(turns, 0);
    }
    let mut event_loop = strict_loop();
    event_loop.call_later(Duration::MAX, |_| panic!("now"));
    event_loop.call_later(days(300), |_| panic!("now"));
    let (turns, before) = (event_loop.stats().turns, wall());
    event_loop.turn(Some(20 * MS)).unwrap();
    assert!(before.elapsed() >= 20 * MS);
    assert_eq!(event_loop.stats().turns, turns + 1);
}

/// R067.
#[test]
fn nothing_and_the_smallest_delays_fire_and_do_not_spin() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    for delay in [0, 1, 999, 1_000, 999_999, 1_000_000, 1_900_000] {
        let delay = Duration::from_nanos(delay);
        let log = Log::default();
        let note = log.clone();
        let armed = event_loop.fresh_now();
        let turns = event_loop.stats().turns;
        event_loop.call_later(delay, move |handle| {
            note.note(handle.fresh_now() >= armed + delay);
        });
        turn_until(&mut event_loop, || log.len() > 0);
        assert_eq!(log.text(), "true", "{delay:?}: C1, never early");
        let turns = event_loop.stats().turns - turns;
        assert!(turns <= 2, "{delay:?}: {turns} turns");
    }
    let mut runner = strict_runner();
    assert_eq!(runner.run(sleep(Duration::ZERO)).unwrap(), ());
    let limit = wait_for(Duration::ZERO, pending::<()>());
    assert_eq!(runner.run(limit).unwrap(), Err(Elapsed));
}

/// R069: rounding up is one extra turn at most, not a millisecond of them.
#[test]
fn a_deadline_with_a_fraction_costs_one_wait() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let count = Count::default();
    for n in 0..20_u32 {
        let count = count.clone();
        let delay = Duration::from_micros(1_900) * (n + 1);
        event_loop.call_later(delay, move |_| {
            count.add();
        });
    }
    let before = event_loop.stats().turns;
    turn_until(&mut event_loop, || count.get() == 20);
    let turns = event_loop.stats().turns - before;
    assert!(turns <= 2 * 20, "{turns} turns for 20 deadlines");
}

/// R071.
#[test]
fn a_cancelled_timer_is_freed_at_once_and_wakes_no_task() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let alive = Rc::new(());
    for _ in 0..1000 {
        let kept = Rc::clone(&alive);
        let handle = event_loop.call_later(MS, move |_| drop(kept));
        assert!(handle.cancel());
        assert!(!handle.cancel(), "once");
        assert!(handle.cancelled());
    }
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(event_loop.next_deadline().is_none());
    let turns = turns_in(&mut event_loop, 10 * MS);
    assert!(turns <= 2, "{turns} turns");
    assert!(event_loop.is_idle());
}

/// R071: the timers of those limits that were never reached.
#[test]
fn limits_that_are_not_reached_leave_no_timers() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner
        .run(async {
            for _ in 0..1000 {
                let value = wait_for(Duration::from_secs(3600), async {
                    readily::yield_now().await;
                    7
                });
                assert_eq!(value.await, Ok(7));
            }
        })
        .unwrap();
    assert_eq!(runner.close().timers, 0);
}

/// R041, R076.
#[test]
fn a_timer_may_cancel_itself_a_sibling_that_is_due_and_a_later_one() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let log = Log::default();
    let handles = Rc::new(RefCell::new(Vec::<TimerHandle>::new()));
    let (all, note) = (Rc::clone(&handles), log.clone());
    let first = event_loop.call_later(MS, move |_| {
        let cancelled: Vec<bool> = all.borrow().iter().map(TimerHandle::cancel).collect();
        note.note(format!("{cancelled:?}"));
    });
    let due = log.clone();
    let due = event_loop.call_later(MS, move |_| due.note("DUE"));
    let later = log.clone();
    let later = event_loop.call_later(2 * MS, move |_| later.note("LATER"));
    *handles.borrow_mut() = vec![first, due, later];
    clock.advance(5 * MS);
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "[false, true, true]");
}

/// R041, L5: no recursion, and no endless turn.
#[test]
fn a_timer_that_arms_another_for_now_is_answered_in_the_next_turn() {
    let _guard = guard!();
    let (mut event_loop, _clock) = manual_loop();
    let count = Count::default();
    fn again(handle: &readily::LoopHandle, count: Count) {
        count.add();
        handle.call_later(Duration::ZERO, move |handle| again(handle, count));
    }
    again(&event_loop, count.clone());
    turn_times(&mut event_loop, 5);
    assert_eq!(count.get(), 6);
}

/// R072: a repeating timer is made of single ones, so it drifts rather than bursts.
#[test]
fn a_repeating_timer_that_is_slower_than_its_period_neither_bursts_nor_starves() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let ticks = Count::default();
    fn tick(handle: &readily::LoopHandle, clock: readily::clock::Manual, ticks: Count) {
        ticks.add();
        clock.advance(5 * MS); // five periods of work
        handle.call_later(MS, move |handle| tick(handle, clock, ticks));
    }
    let (moved, counted) = (clock.clone(), ticks.clone());
    event_loop.call_later(MS, move |handle| tick(handle, moved, counted));
    clock.advance(MS);
    for n in 1..10 {
        turn_times(&mut event_loop, 1);
        assert_eq!(
            ticks.get(),
            n,
            "one tick for each turn in which one was due"
        );
        clock.advance(MS);
    }
}

/// R075: `now` is for callbacks that must agree; code outside of a turn gets the present time.
#[test]
fn the_time_of_a_turn_is_read_once_and_between_two_turns_it_is_the_present_time() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    for _ in 0..2 {
        let moved = clock.clone();
        event_loop.call_soon(move |handle| {
            let now = handle.now();
            moved.advance(5 * MS);
            assert_eq!((handle.now(), handle.fresh_now()), (now, now + 5 * MS));
        });
        let before = event_loop.now();
        turn_times(&mut event_loop, 1);
        assert_eq!(event_loop.now(), before + 5 * MS);
        clock.advance(MS);
        assert_eq!(event_loop.now(), before + 6 * MS);
    }
}

/// R073.
#[test]
fn a_clock_that_steps_back_makes_no_timer_early_and_no_panic() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    clock.advance(Duration::from_secs(100));
    turn_times(&mut event_loop, 1);
    let (now, log) = (event_loop.now(), Log::default());
    clock.set_ns(5);
    assert!(event_loop.fresh_now() >= now, "time does not run back");
    let note = log.clone();
    event_loop.call_later(MS, move |_| note.note("fired"));
    turn_times(&mut event_loop, 2);
    assert_eq!(log.len(), 0);
    clock.set_ns(Duration::from_secs(100).as_nanos() as u64 + 1_000_000);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "fired");
    assert_eq!(clock.now_ns(), 100_001_000_000);
}

/// R074: a suspended machine's clock jumps, or does not; single timers fire once either way.
#[test]
fn after_a_long_sleep_of_the_machine_each_timer_fires_once_in_order() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let log = Log::default();
    for hour in [3_u64, 1, 2] {
        let note = log.clone();
        event_loop.call_later(Duration::from_secs(hour * 3600), move |_| note.note(hour));
    }
    clock.advance(Duration::from_secs(24 * 3600));
    turn_times(&mut event_loop, 3);
    assert_eq!(log.text(), "1 2 3");
}

/// R075, C1: counted from now, not from the turn's time.
#[test]
fn a_timer_armed_after_long_work_in_the_same_turn_is_not_early() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let log = Log::default();
    let (note, moved) = (log.clone(), clock.clone());
    event_loop.call_soon(move |handle| {
        let turn = handle.now();
        moved.advance(50 * MS); // long work
        assert_eq!(handle.now(), turn, "a turn has one time");
        assert_eq!(handle.fresh_now(), turn + 50 * MS);
        handle.call_later(10 * MS, move |_| note.note("fired"));
    });
    turn_times(&mut event_loop, 3);
    clock.advance(9 * MS);
    turn_times(&mut event_loop, 2);
    assert_eq!(log.len(), 0);
    clock.advance(MS);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "fired");
}

/// R077, from a callback and from a thread.
#[test]
fn an_earlier_deadline_added_last_is_the_one_that_is_waited_for() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.call_later(Duration::from_secs(3600), |_| panic!("an hour is not over"));
    let log = Log::default();
    let note = log.clone();
    event_loop.call_soon(move |handle| {
        handle.call_later(MS, move |_| note.note("callback"));
    });
    while !log.has("callback") {
        event_loop.turn(None).unwrap();
    }
    let remote = event_loop.remote_handle();
    let thread = std::thread::spawn(move || {
        let timer = |handle: &readily::LoopHandle| {
            handle.call_later(MS, |handle| handle.stop());
        };
        remote.call_soon(timer).unwrap();
    });
    event_loop.run().unwrap();
    thread.join().unwrap();
}

/// C5 and the host's question.
#[test]
fn the_next_deadline_is_returned_and_follows_what_is_armed() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    assert_eq!(event_loop.next_deadline(), None);
    let later = event_loop.call_later(9 * MS, |_| ());
    assert_eq!(event_loop.next_deadline(), later.when());
    let sooner = event_loop.call_later(4 * MS, |_| ());
    assert_eq!(event_loop.next_deadline(), sooner.when());
    assert!(sooner.cancel());
    assert_eq!(event_loop.next_deadline(), later.when());
    clock.advance(20 * MS);
    assert!(event_loop.next_deadline().unwrap() <= event_loop.fresh_now());
    turn_times(&mut event_loop, 1);
    assert_eq!(event_loop.next_deadline(), None);
    let soon = event_loop.call_soon(|_| ());
    assert!(event_loop.next_deadline().unwrap() <= event_loop.fresh_now());
    assert!(soon.cancel() && soon.cancelled());
    turn_times(&mut event_loop, 1);
    assert_eq!(event_loop.next_deadline(), None);
}

/// R076: in the turn in which it is due, before it has run.
#[test]
fn cancelling_says_true_exactly_if_the_closure_never_runs() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let log = Log::default();
    let note = log.clone();
    let handle = event_loop.call_later(MS, move |_| note.note("ran"));
    clock.advance(MS);
    assert!(handle.cancel(), "due, but not run");
    turn_times(&mut event_loop, 2);
    assert_eq!(log.len(), 0);
    let note = log.clone();
    let handle = event_loop.call_later(MS, move |_| note.note("ran"));
    clock.advance(MS);
    turn_times(&mut event_loop, 1);
    assert!(!handle.cancel() && !handle.cancelled());
    assert_eq!(log.text(), "ran");
}

/// R042, L5.
#[test]
fn a_closure_that_queues_itself_again_does_not_keep_the_loop_from_its_descriptors() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    fn again(handle: &readily::LoopHandle, count: Count) {
        count.add();
        handle.call_soon(move |handle| again(handle, count));
    }
    let count = Count::default();
    let counted = count.clone();
    event_loop.call_soon(move |handle| again(handle, counted));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &theirs, b"x").unwrap();
    let log = Log::default();
    let note = log.clone();
    let read = readily::Closures::new().on_read(move |cx| {
        note.note("read");
        cx.close();
    });
    event_loop
        .register(ours, readily::Interest::READ, read)
        .unwrap();
    turn_times(&mut event_loop, 3);
    assert_eq!((log.text(), count.get()), ("read".into(), 3));
}

/// Queues the closure `a`, and then a timer `b` that is due at once.
fn a_then_b(handle: &readily::LoopHandle, log: &Log) {
    let (a, b) = (log.clone(), log.clone());
    handle.call_soon(move |_| a.note("a"));
    handle.call_later(Duration::ZERO, move |_| b.note("b"));
}

/// A stream that is readable, and has this callback once.
fn when_readable(event_loop: &readily::EventLoop, read: impl Fn(&readily::LoopHandle) + 'static) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &theirs, b"x").unwrap();
    let read = readily::Closures::new().on_read(move |cx| {
        let _open = &theirs;
        read(cx);
        cx.close();
    });
    event_loop
        .register(ours, readily::Interest::READ, read)
        .unwrap();
}

/// asyncio, which puts due timers at the end of its queue, runs `a` first.
#[test]
fn a_due_timer_fires_before_the_closures_that_were_queued_earlier() {
    let _guard = guard!();
    let (mut event_loop, _clock) = manual_loop();
    let log = Log::default();
    a_then_b(&event_loop, &log);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "b a");

    // Both are for the turn after that of a closure.
    let log = Log::default();
    let inner = log.clone();
    event_loop.call_soon(move |handle| a_then_b(handle, &inner));
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "");
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "b a");

    // The closure is for the turn of an event or a timer, and the timer for a later one (L5).
    for by_event in [true, false] {
        let log = Log::default();
        let inner = log.clone();
        match by_event {
            true => when_readable(&event_loop, move |handle| a_then_b(handle, &inner)),
            false => {
                let call = move |handle: &readily::LoopHandle| a_then_b(handle, &inner);
                event_loop.call_later(Duration::ZERO, call);
            }
        }
        turn_times(&mut event_loop, 1);
        assert_eq!(log.text(), "a");
        turn_times(&mut event_loop, 1);
        assert_eq!(log.text(), "a b");
    }
}

/// L5: what is queued before the ready step of a turn runs in that step, in the order of the calls;
/// what that step queues runs in the next turn.
#[test]
fn what_an_event_or_a_timer_queues_runs_in_the_same_turn() {
    let _guard = guard!();
    let (mut event_loop, _clock) = manual_loop();
    let log = Log::default();
    let queue = |log: &Log, name: &'static str| {
        let log = log.clone();
        move |handle: &readily::LoopHandle| {
            log.note(name);
            let (note, inner) = (log.clone(), log.clone());
            handle.call_soon(move |handle| {
                note.note(format!("{name}'s closure"));
                let note = note.clone();
                handle.call_soon(move |_| note.note("next turn"));
            });
            drop(handle.spawn(async move { inner.note(format!("{name}'s task")) }));
        }
    };
    let note = log.clone();
    event_loop.call_soon(move |_| note.note("earlier"));
    event_loop.call_later(Duration::ZERO, queue(&log, "timer"));
    when_readable(&event_loop, queue(&log, "event"));
    turn_times(&mut event_loop, 1);
    let first = "event timer earlier event's closure event's task timer's closure timer's task";
    assert_eq!(log.text(), first);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), format!("{first} next turn next turn"));
}

/// C5: a turn of a loop without work is a wait and a dispatch, unless the dispatch adds work. Each
/// kind of work is alone here; on a simulated kernel, and in debug mode, no step is left out.
#[test]
fn a_loop_without_work_notices_what_one_event_adds() {
    type Add = fn(&readily::LoopHandle, Log, &readily::task::Promise<()>);
    let kinds: [(&str, Add); 5] = [
        ("a closure", |handle, log, _| {
            handle.call_soon(move |_| log.note("done"));
        }),
        ("a closure that queues a closure", |handle, log, _| {
            handle.call_soon(move |handle| {
                handle.call_soon(move |_| log.note("done"));
            });
        }),
        ("a new task", |handle, log, _| {
            drop(handle.spawn(async move { log.note("done") }));
        }),
        ("a woken task", |_, _, promise| {
            promise.set_result(()).unwrap()
        }),
        ("a timer", |handle, log, _| {
            handle.call_later(Duration::ZERO, move |_| log.note("done"));
        }),
    ];
    let _guard = guard!();
    for (kind, add) in kinds {
        let (mut event_loop, _clock) = manual_loop();
        event_loop.set_debug(false);
        let log = Log::default();
        let entered = event_loop.enter();
        let (promise, future) = readily::task::create_future();
        drop(entered);
        let note = log.clone();
        drop(event_loop.spawn(async move {
            if future.await.is_ok() {
                note.note("done");
            }
        }));
        turn_times(&mut event_loop, 3);
        assert_eq!(log.len(), 0);
        // It is kept to the end, because its drop would wake the task.
        let promise = Rc::new(promise);
        let (added, settled) = (log.clone(), Rc::clone(&promise));
        when_readable(&event_loop, move |handle| {
            add(handle, added.clone(), &settled);
        });
        turn_times(&mut event_loop, 2);
        assert_eq!(log.text(), "done", "{kind}");
    }
}

/// R078.
#[test]
fn a_hundred_thousand_timers_are_armed_fired_in_order_and_dropped() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let fired = Rc::new(RefCell::new(Vec::new()));
    for n in 0..50_000_u64 {
        let fired = Rc::clone(&fired);
        let delay = MS * u32::try_from((n * 7919) % 10_007).unwrap();
        let at = event_loop.fresh_now() + delay;
        event_loop.call_later(delay, move |_| fired.borrow_mut().push((at, n)));
    }
    for _ in 0..50_000 {
        event_loop.call_later(Duration::from_secs(3600), |_| panic!("an hour is not over"));
    }
    clock.advance(MS * 10_007);
    event_loop.turn_now().unwrap();
    let fired = fired.borrow();
    assert_eq!(fired.len(), 50_000);
    assert!(fired.is_sorted());
    assert_eq!(event_loop.close().timers, 50_000);
}

/// As asyncio's `sleep(0)`. With slack it is a wait, of less than that.
#[test]
fn a_sleep_of_no_time_gives_way_once_and_arms_no_timer() {
    let _guard = guard!();
    let mut sim = SimLoop::new(1);
    let seen = RefCell::new(String::new());
    let timers = || {
        let next =
            WeakHandle::current().and_then(|handle| handle.with(|handle| format!("{handle:?}")));
        next.expect("a loop runs here")
    };
    let say = async |word: &str| {
        for letter in word.chars() {
            seen.borrow_mut().push(letter);
            assert!(timers().contains("timers: 0"), "{}", timers());
            sleep(Duration::ZERO).await;
        }
    };
    sim.run(gather((say("ace"), say("bdf")))).unwrap();
    assert_eq!(*seen.borrow(), "abcdef");
    assert_eq!(sim.elapsed(), Duration::ZERO);
    let second = Duration::from_secs(1);
    sim.run(async {
        sleep(Duration::from_millis(1)).await;
        sleep(Duration::ZERO).slack(second).await;
    })
    .unwrap();
    assert_eq!(sim.elapsed(), second);
}

/// R161. asyncio counts its time from a moment long before any loop.
#[test]
fn deadlines_before_the_loops_making_keep_their_order_and_say_when() {
    let _guard = guard!();
    let (mut event_loop, _clock) = manual_loop();
    let log = Log::default();
    let start = event_loop.now();
    let second = Duration::from_secs(1);
    let ago = [1, 3, 0, 2, 3].map(|ago| ago * second);
    let handles = ago.map(|ago| {
        let note = log.clone();
        event_loop.call_at(start - ago, move |_| note.note(ago.as_secs()))
    });
    for (handle, ago) in handles.iter().zip(ago) {
        assert_eq!(handle.when(), Some(start - ago));
    }
    // Slack rounds what is to come: what has passed is due now, in its order.
    let entered = event_loop.enter();
    let note = log.clone();
    let slept = sleep_until(start - 2 * second).slack(7 * second);
    drop(event_loop.spawn(async move {
        slept.await;
        note.note("slept");
    }));
    drop(entered);
    turn_times(&mut event_loop, 1);
    assert_eq!(log.text(), "3 3 2 1 0");
    turn_times(&mut event_loop, 2);
    assert_eq!(log.text(), "3 3 2 1 0 slept");
    // Earlier than all that a clock may have seen: it is due, and stands in front.
    let note = log.clone();
    let old = event_loop.call_at(start - 400_000_000 * second, move |_| note.note("old"));
    assert!(old.when().is_some_and(|when| when < start));
    turn_times(&mut event_loop, 1);
    assert!(log.text().ends_with("old"));
}

/// C4: whatever armed them.
#[test]
fn armed_timers_are_those_that_can_still_fire() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let second = Duration::from_secs(1);
    let timers = [(); 5].map(|()| event_loop.call_later(second, |_| {}));
    let wakes = spi::wake_later(&event_loop, second, std::task::Waker::noop().clone());
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let callbacks = readily::Closures::new().on_timeout(|cx| cx.close());
    let key = event_loop
        .register(ours, readily::Interest::READ, callbacks)
        .unwrap();
    event_loop.set_deadline_of(key, Some(2 * second)).unwrap();
    assert_eq!(event_loop.armed_timers(), 7);
    assert!(timers[0].cancel() && !timers[0].cancel());
    drop(wakes);
    assert_eq!(event_loop.armed_timers(), 5);
    clock.advance(second);
    event_loop.turn_now().unwrap();
    assert_eq!(event_loop.armed_timers(), 1, "the deadline");
    event_loop.remove(key).unwrap();
    assert_eq!(event_loop.armed_timers(), 0);
}

/// C2, L5, R126: a timer that is kept is in one order with the others, by its last start, and may do anything
/// with itself in its callback.
#[test]
fn a_timer_is_started_moved_and_stopped_also_by_its_own_callback() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let log = Log::default();
    let note = log.clone();
    let timer = event_loop.timer(move |handle, timer| {
        note.note(format!("{} {:?}", handle.armed_timers(), timer.when()));
        timer.start_in(Duration::ZERO);
        assert!(timer.stop() && !timer.stop() && !timer.is_armed());
        timer.start_in(MS);
    });
    assert_eq!(
        (timer.is_armed(), timer.when(), timer.stop()),
        (false, None, false)
    );
    assert_eq!(
        event_loop.run().unwrap(),
        ExitReason::Idle,
        "an idle timer is no work"
    );
    let first = event_loop.now() + MS;
    timer.start_at(first + MS);
    timer.start_at(first);
    assert_eq!((timer.when(), event_loop.armed_timers()), (Some(first), 1));
    let note = log.clone();
    event_loop.call_at(first, move |_| note.note("once"));
    timer.start_at(first);
    turn_times(&mut event_loop, 2);
    assert_eq!(log.text(), "");
    for _ in 0..3 {
        clock.advance(MS);
        turn_times(&mut event_loop, 3);
    }
    assert_eq!(
        log.text(),
        "once 0 None 0 None 0 None",
        "once in each millisecond"
    );
    assert!(timer.is_armed() && timer.stop());
    clock.advance(MS);
    turn_times(&mut event_loop, 2);
    assert_eq!(log.len(), 4, "C3");
}

/// L3, R071: the callback is dropped with its timer, at once, or, if it runs, when it has returned.
#[test]
fn a_timer_that_is_dropped_is_stopped_and_its_callback_is_dropped() {
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    let alive = Rc::new(());
    let kept = Rc::clone(&alive);
    let timer = event_loop.timer(move |_, _| assert_eq!(Rc::strong_count(&kept), 0, "C3"));
    timer.start_in(MS);
    assert_eq!(Rc::strong_count(&alive), 2);
    drop(timer);
    assert_eq!(
        (Rc::strong_count(&alive), event_loop.armed_timers()),
        (1, 0)
    );

    let (own, count) = (Rc::new(RefCell::new(None::<Timer>)), Count::default());
    let (slot, kept, counted) = (Rc::clone(&own), Rc::clone(&alive), count.clone());
    let timer = event_loop.timer(move |_, timer| {
        drop(slot.take());
        assert_eq!(Rc::strong_count(&kept), 2, "it runs");
        timer.start_in(MS);
        assert!(!timer.is_armed() && !timer.stop(), "it is gone");
        counted.add();
    });
    timer.start_in(MS);
    *own.borrow_mut() = Some(timer);
    clock.advance(MS);
    turn_times(&mut event_loop, 3);
    assert_eq!((count.get(), Rc::strong_count(&alive)), (1, 1));
}

/// R081: callbacks are dropped when the loop is closed, armed or not, also one that owns its own timer.
#[test]
fn a_closed_loop_drops_the_callbacks_of_its_timers_and_arms_none() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let alive = Rc::new(());
    let keeps = || {
        let kept = Rc::clone(&alive);
        event_loop.timer(move |_, _| assert!(Rc::strong_count(&kept) > 0))
    };
    let (idle, armed) = (keeps(), keeps());
    armed.start_in(MS);
    let own = Rc::new(RefCell::new(None::<Timer>));
    let (slot, kept) = (Rc::clone(&own), Rc::clone(&alive));
    let cyclic = event_loop
        .timer(move |_, _| assert!(slot.borrow().is_some() && Rc::strong_count(&kept) > 0));
    *own.borrow_mut() = Some(cyclic);
    drop(own);
    assert_eq!(Rc::strong_count(&alive), 4);
    let report = event_loop.close();
    assert_eq!((report.timers, Rc::strong_count(&alive)), (1, 1));
    for timer in [&idle, &armed] {
        timer.start_in(MS);
        timer.start_at(wall());
        assert_eq!(
            (timer.is_armed(), timer.stop(), timer.when()),
            (false, false, None)
        );
    }
}

/// R044, R045, L6: a panic of a timer's callback is reported once, with the line that made the timer; the
/// others fire, and it can be started again. A panic of the destructor at that time is reported, too.
#[test]
fn a_timer_whose_callback_panics_is_reported_and_can_be_started_again() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("destructor"));
        }
    }
    let _guard = guard!();
    let (mut event_loop, clock) = manual_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let log = collect_unhandled(&event_loop);
    let reports = |what: &str| log.text().matches(what).count();
    let count = Count::default();
    let counted = count.clone();
    let line = line!() + 1;
    let timer = event_loop.timer(move |_, _| {
        counted.add();
        std::panic::resume_unwind(Box::new("callback"));
    });
    let own = Rc::new(RefCell::new(None::<Timer>));
    let (slot, bomb) = (Rc::clone(&own), Panics);
    let last = event_loop.timer(move |_, _| {
        drop(slot.take());
        let _ = &bomb;
        std::panic::resume_unwind(Box::new("last call"));
    });
    for round in 1..=2 {
        timer.start_in(MS);
        let counted = count.clone();
        event_loop.call_later(MS, move |_| _ = counted.add());
        clock.advance(MS);
        turn_times(&mut event_loop, 2);
        assert_eq!(
            (count.get(), reports("panicked: callback")),
            (2 * round, round)
        );
    }
    assert_eq!(reports(&format!("timers.rs:{line}:")), 2, "{log:?}");
    last.start_in(MS);
    *own.borrow_mut() = Some(last);
    clock.advance(MS);
    turn_times(&mut event_loop, 2);
    assert_eq!(
        (
            reports("panicked: last call"),
            reports("panicked: destructor")
        ),
        (1, 1)
    );
}
