//! The deadline heap against a sorted map: C2, C3, C4, and L5 by its fence.

use crate::List;
use arbitrary::Arbitrary;
use readily::base::timers::{TimerKey, Timers};
use std::collections::{BTreeMap, VecDeque};

/// What `timers` is run on.
pub type TimerOps = List<TimerOp>;

/// One call. Keys are picked among all that were ever given out, those included that have gone.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum TimerOp {
    /// For a near moment, so that deadlines tie.
    Arm(u8),
    /// Some at once, so that the heap has levels.
    ArmMany(u8),
    /// For any moment, the last one included.
    ArmAt(u64),
    Cancel(u8),
    Change(u8),
    Expire(u8),
    ExpireAll,
    BeginRound,
    PopDue,
    PopAny,
}

/// Which timer, and how often it was changed.
type Payload = (usize, u32);

#[derive(Default)]
struct Model {
    /// Those in the heap: by deadline, then number.
    armed: BTreeMap<(u64, usize), Payload>,
    /// Those that have expired.
    due: VecDeque<(usize, Payload)>,
    keys: Vec<(TimerKey, u64)>,
    fence: Option<usize>,
}

impl Model {
    fn pick(&self, pick: u8) -> Option<(usize, TimerKey, u64)> {
        let n = usize::from(pick) % self.keys.len().max(1);
        self.keys.get(n).map(|&(key, deadline)| (n, key, deadline))
    }

    fn payload(&mut self, n: usize, deadline: u64) -> Option<&mut Payload> {
        let due = self.due.iter_mut().find(|(other, _)| *other == n);
        let due = due.map(|(_, payload)| payload);
        due.or(self.armed.get_mut(&(deadline, n)))
    }

    fn cancel(&mut self, n: usize, deadline: u64) -> Option<Payload> {
        let payload = *self.payload(n, deadline)?;
        self.armed.remove(&(deadline, n));
        self.due.retain(|(other, _)| *other != n);
        Some(payload)
    }

    fn expire(&mut self, now: u64) {
        let fence = self.fence.unwrap_or(usize::MAX);
        let (due, armed): (BTreeMap<_, _>, _) = std::mem::take(&mut self.armed)
            .into_iter()
            .partition(|&((deadline, n), _)| deadline <= now && n < fence);
        self.armed = armed;
        let due = due.into_iter().map(|((_, n), payload)| (n, payload));
        self.due.extend(due);
    }

    fn is_empty(&self) -> bool {
        self.armed.is_empty() && self.due.is_empty()
    }
}

/// Runs `ops` on both.
///
/// # Panics
///
/// If they disagree.
pub fn timers(ops: &TimerOps) {
    let (mut timers, mut model) = (Timers::default(), Model::default());
    for &op in ops.iter() {
        step(op, &mut timers, &mut model);
        timers.verify();
        assert_eq!(timers.len(), model.armed.len() + model.due.len());
        assert_eq!(timers.is_empty(), model.is_empty());
        assert_eq!(timers.heap_len(), model.armed.len(), "C4");
        let first = model.armed.first_key_value().map(|(&(at, _), _)| at);
        let next = if model.due.is_empty() { first } else { Some(0) };
        assert_eq!(timers.next_ns(), next);
    }
    // What is left comes out in order, once.
    for op in [TimerOp::BeginRound, TimerOp::ExpireAll] {
        step(op, &mut timers, &mut model);
    }
    while !model.is_empty() {
        step(TimerOp::PopDue, &mut timers, &mut model);
    }
    assert_eq!(timers.pop_due(), None);
    assert!(timers.is_empty());
}

fn step(op: TimerOp, timers: &mut Timers<Payload>, model: &mut Model) {
    let mut arm = |deadline| {
        let n = model.keys.len();
        let key = timers.arm(deadline, (n, 0));
        assert!(
            model.keys.iter().all(|&(other, _)| other != key),
            "{key:?} was given out before"
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
                assert_eq!(timers.cancel(key), model.cancel(n, deadline), "C3");
            }
        }
        TimerOp::Change(pick) => {
            if let Some((n, key, deadline)) = model.pick(pick) {
                let (there, expected) = (timers.get_mut(key), model.payload(n, deadline));
                assert_eq!(there, expected);
                let both = there.into_iter().chain(expected);
                both.for_each(|payload| payload.1 += 1);
            }
        }
        TimerOp::Expire(now) => {
            timers.expire(u64::from(now));
            model.expire(u64::from(now));
        }
        TimerOp::ExpireAll => {
            timers.expire(u64::MAX);
            model.expire(u64::MAX);
        }
        TimerOp::BeginRound => {
            timers.begin_round();
            model.fence = Some(model.keys.len());
        }
        TimerOp::PopDue => {
            let expected = model.due.pop_front();
            let expected = expected.map(|(n, payload)| (model.keys[n].0, payload));
            assert_eq!(timers.pop_due(), expected, "C2");
        }
        TimerOp::PopAny => {
            let taken = timers.pop_any();
            match taken {
                Some((n, _)) => assert_eq!(model.cancel(n, model.keys[n].1), taken),
                None => assert!(model.is_empty()),
            }
        }
    }
}
