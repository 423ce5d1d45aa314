//! Timers against a clock that also steps back: C1, C2, C3, C5.

use super::scripted::Scripted;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::TimerHandle;
use std::cell::RefCell;
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
                    let asked = *scripted.0.borrow().waits.last().unwrap();
                    let next = armed.iter().map(|&(at, _)| at.saturating_sub(latest)).min();
                    let expected = match (limit, next) {
                        _ if soon => Some(0),
                        (Some(limit), Some(next)) => Some(limit.min(next)),
                        (limit, next) => limit.or(next),
                    };
                    prop_assert_eq!(asked, expected.map(Duration::from_nanos), "C5");
                    soon = false;
                    let mut due: Vec<_> = armed.iter().filter(|t| t.0 <= latest).copied().collect();
                    due.sort();
                    armed.retain(|&(at, _)| at > latest);
                    let due: Vec<usize> = due.into_iter().map(|(_, n)| n).collect();
                    prop_assert_eq!(fired.take(), due, "C1, C2: due, all of them, in order");
                }
            }
            clock.set_ns(now);
            // Read after each step, so that the model need not know when the loop does.
            let _ = event_loop.fresh_now();
            latest = latest.max(now);
            event_loop.check_invariants();
        }
    }
}
