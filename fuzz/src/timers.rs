//! The timer heap, compared with a sorted map: C2, C3, C4 and L5.

use crate::List;
use crate::base::timer_heap::{TimerKey, Timers};
use arbitrary::Arbitrary;
use std::collections::BTreeMap;

/// The input of [`timers`].
pub type TimerOps = List<TimerOp>;

/// One call. Keys are chosen from all that were ever issued, including stale ones.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum TimerOp {
    /// With a near deadline, so that equal deadlines occur.
    Arm(u8),
    /// Several timers, so that the heap has several levels.
    ArmMany(u8),
    /// With any deadline, including the largest.
    ArmAt(u64),
    Cancel(u8),
    Change(u8),
    BeginRound,
    PopDue(u8),
    PopDueOfAll,
    EndRound,
    Next,
    PopAny,
}

/// The number of the timer, and how often it was changed.
type Payload = (usize, u32);

#[derive(Default)]
struct Model {
    /// Ordered by deadline, then by number.
    armed: BTreeMap<(u64, usize), Payload>,
    keys: Vec<(TimerKey, u64)>,
    /// L5: timers with this number or a larger one were armed during the round and do not fire in it.
    round_end: usize,
    in_round: bool,
}

impl Model {
    fn pick(&self, pick: u8) -> Option<(usize, TimerKey, u64)> {
        let n = usize::from(pick) % self.keys.len().max(1);
        self.keys.get(n).map(|&(key, deadline)| (n, key, deadline))
    }

    fn begin_round(&mut self) {
        self.round_end = self.keys.len();
    }

    fn pop_due(&mut self, now: u64) -> Option<Payload> {
        let due = |(deadline, n): (u64, usize)| deadline <= now && n < self.round_end;
        let next = self.armed.keys().copied().find(|&timer| due(timer));
        self.in_round &= next.is_some();
        self.armed.remove(&next?)
    }

    fn next(&mut self) -> Option<u64> {
        if !self.in_round {
            self.begin_round();
        }
        self.armed.first_key_value().map(|(&(at, _), _)| at)
    }
}

/// Runs `ops` on the heap and on the map.
///
/// # Panics
///
/// If their results differ.
pub fn timers(ops: &TimerOps) {
    let (mut timers, mut model) = (Timers::default(), Model::default());
    for &op in ops.iter() {
        step(op, &mut timers, &mut model);
        timers.verify();
        assert_eq!(timers.len(), model.armed.len());
        assert_eq!(timers.is_empty(), model.armed.is_empty());
        assert!(timers.nodes() <= 2 * timers.len() + 64, "C4");
    }
    // The remaining timers fire in order, once each.
    step(TimerOp::BeginRound, &mut timers, &mut model);
    while !model.armed.is_empty() {
        step(TimerOp::PopDueOfAll, &mut timers, &mut model);
    }
    assert_eq!(timers.pop_due(u64::MAX), None);
    assert!(timers.is_empty());
}

fn step(op: TimerOp, timers: &mut Timers<Payload>, model: &mut Model) {
    let mut arm = |deadline| {
        let n = model.keys.len();
        let key = timers.arm(deadline, (n, 0));
        assert!(
            model.keys.iter().all(|&(other, _)| other != key),
            "{key:?} was issued before"
        );
        model.keys.push((key, deadline));
        model.armed.insert((deadline, n), (n, 0));
    };
    match op {
        TimerOp::Arm(deadline) => arm(u64::from(deadline)),
        TimerOp::ArmAt(deadline) => arm(deadline),
        TimerOp::ArmMany(seed) => {
            let scattered = |n: u8| seed.wrapping_mul(n).wrapping_add(n.wrapping_mul(89));
            (1..=12).for_each(|n| arm(scattered(n).into()));
        }
        TimerOp::Cancel(pick) => {
            if let Some((n, key, deadline)) = model.pick(pick) {
                let expected = model.armed.remove(&(deadline, n));
                assert_eq!(timers.cancel(key), expected, "C3");
            }
        }
        TimerOp::Change(pick) => {
            if let Some((n, key, deadline)) = model.pick(pick) {
                let (there, expected) = (timers.get_mut(key), model.armed.get_mut(&(deadline, n)));
                assert_eq!(there, expected);
                let both = there.into_iter().chain(expected);
                both.for_each(|payload| payload.1 += 1);
            }
        }
        TimerOp::BeginRound => {
            timers.begin_round();
            model.begin_round();
            model.in_round = true;
        }
        TimerOp::PopDue(now) => {
            let now = u64::from(now);
            assert_eq!(timers.pop_due(now), model.pop_due(now), "C2");
        }
        TimerOp::PopDueOfAll => {
            assert_eq!(timers.pop_due(u64::MAX), model.pop_due(u64::MAX), "C2");
        }
        TimerOp::EndRound => {
            timers.end_round();
            model.in_round = false;
        }
        TimerOp::Next => assert_eq!(timers.next_ns(), model.next(), "C5"),
        TimerOp::PopAny => {
            let taken = timers.pop_any();
            match taken {
                Some((n, _)) => {
                    let expected = model.armed.remove(&(model.keys[n].1, n));
                    assert_eq!(expected, taken);
                }
                None => assert!(model.armed.is_empty()),
            }
        }
    }
}
