//! Timers, and the timeouts of the loop, against a clock that also steps back.
//!
//! Invariants: C1 to C3, C5.

use super::scripted::Scripted;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::spi;
use readily::{Closures, Interest, TimerHandle};
use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Op {
    Arm(u64),
    Cancel(usize),
    Soon,
    Advance(u64),
    StepBack(u64),
    Turn(Option<u64>),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u64..20).prop_map(Op::Arm),
        1 => (0usize..8).prop_map(Op::Cancel),
        1 => Just(Op::Soon),
        3 => (0u64..10).prop_map(Op::Advance),
        1 => (0u64..10).prop_map(Op::StepBack),
        3 => proptest::option::of(0u64..10).prop_map(Op::Turn),
    ]
}

proptest! {
    /// C1, C2, C3, C5. The model's time is the latest that was ever read.
    #[test]
    fn timers_are_never_early_and_the_wait_is_as_long_as_it_may_be(ops in vec(op(), 0..64)) {
        let scripted = Scripted::default();
        let (mut event_loop, clock) = scripted.event_loop();
        let fired: Rc<RefCell<Vec<usize>>> = Rc::default();
        let mut handles: Vec<TimerHandle> = Vec::new();
        let mut armed: Vec<(u64, usize)> = Vec::new();
        let (mut now, mut latest, mut soon) = (0_u64, 0_u64, false);
        for op in ops {
            match op {
                Op::Arm(delay) => {
                    latest = latest.max(now);
                    let (n, fired) = (handles.len(), Rc::clone(&fired));
                    armed.push((latest + delay, n));
                    let delay = Duration::from_nanos(delay);
                    handles.push(event_loop.call_later(delay, move |_| fired.borrow_mut().push(n)));
                }
                Op::Cancel(n) => if let Some(handle) = handles.get(n) {
                    let live = armed.iter().any(|&(_, other)| other == n);
                    armed.retain(|&(_, other)| other != n);
                    prop_assert_eq!(handle.cancel(), live, "C3");
                },
                Op::Soon => {
                    event_loop.call_soon(|_| {});
                    soon = true;
                }
                Op::Advance(by) => now += by,
                Op::StepBack(by) => now = now.saturating_sub(by),
                Op::Turn(limit) => {
                    clock.set_ns(now);
                    latest = latest.max(now);
                    event_loop.turn(limit.map(Duration::from_nanos)).unwrap();
                    let timeout = *scripted.0.borrow().waits.last().unwrap();
                    let next = armed.iter().map(|&(at, _)| at.saturating_sub(latest)).min();
                    let expected = match (limit, next) {
                        _ if soon => Some(0),
                        (Some(limit), Some(next)) => Some(limit.min(next)),
                        (limit, next) => limit.or(next),
                    };
                    prop_assert_eq!(timeout, expected.map(Duration::from_nanos), "C5");
                    soon = false;
                    let mut due: Vec<_> = armed.iter().filter(|t| t.0 <= latest).copied().collect();
                    due.sort();
                    armed.retain(|&(at, _)| at > latest);
                    let due: Vec<usize> = due.into_iter().map(|(_, n)| n).collect();
                    prop_assert_eq!(fired.take(), due, "C1, C2: all timers that are due, in order");
                }
            }
            clock.set_ns(now);
            // Read after each step, so that the model does not depend on the times at which the
            // loop reads.
            let _ = event_loop.fresh_now();
            latest = latest.max(now);
            spi::check_invariants(&event_loop);
        }
    }
}

/// A change of the deadline of a registration.
#[derive(Clone, Copy, Debug)]
enum Change {
    Set(u64),
    Clear,
    /// In the callback of the next deadline.
    SetThere(u64),
    Advance(u64),
    Turn,
    Remove,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0u64..10).prop_map(Change::Set),
        1 => Just(Change::Clear),
        1 => (0u64..10).prop_map(Change::SetThere),
        4 => (0u64..10).prop_map(Change::Advance),
        4 => Just(Change::Turn),
        1 => Just(Change::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// C1, C3, and R153: the last deadline of a registration counts, once, and ends with it.
    #[test]
    fn the_last_deadline_of_a_registration_passes_once_and_goes_with_it(
        changes in vec(change(), 0..48),
    ) {
        let (mut event_loop, clock) = Scripted::default().event_loop();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (passed, there) = (Rc::<Cell<usize>>::default(), Rc::<Cell<Option<u64>>>::default());
        let (count, next) = (Rc::clone(&passed), Rc::clone(&there));
        let callbacks = Closures::new().on_timeout(move |cx| {
            count.set(count.get() + 1);
            if let Some(after) = next.take() {
                cx.set_deadline(Duration::from_nanos(after));
            }
        });
        let key = event_loop.register(ours, Interest::READ, callbacks).unwrap();
        let (mut now, mut deadline, mut expected) = (0, None::<u64>, 0);
        let (mut set_there, mut removed) = (None, false);
        for change in changes {
            match change {
                Change::Set(after) => {
                    let after_ns = Duration::from_nanos(after);
                    let set = event_loop.set_deadline_of(key, Some(after_ns));
                    prop_assert_eq!(set.is_err(), removed);
                    deadline = (!removed).then_some(now + after);
                }
                Change::Clear => {
                    prop_assert_eq!(event_loop.set_deadline_of(key, None).is_err(), removed);
                    deadline = None;
                }
                Change::SetThere(after) => {
                    there.set(Some(after));
                    set_there = Some(after);
                }
                Change::Advance(by) => {
                    clock.advance(Duration::from_nanos(by));
                    now += by;
                }
                Change::Turn => {
                    event_loop.turn_now().unwrap();
                    if deadline.is_some_and(|at| at <= now) {
                        expected += 1;
                        // L5: a deadline that is set in this turn passes in a later one.
                        deadline = set_there.take().map(|after| now + after);
                    }
                }
                Change::Remove => {
                    prop_assert_eq!(event_loop.remove(key).is_err(), removed);
                    (removed, deadline) = (true, None);
                }
            }
            prop_assert_eq!(passed.get(), expected, "after {:?}", change);
            let is_armed = event_loop.next_deadline().is_some();
            prop_assert_eq!(is_armed, deadline.is_some(), "after {:?}", change);
            spi::check_invariants(&event_loop);
        }
    }
}
