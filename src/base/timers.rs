//! The deadline heap: what is due, in the order in which it falls due.
//!
//! A 4-ary heap whose array holds the deadlines themselves, so that sifting touches one
//! or two cache lines a level and no entry; each entry knows its place in the array, so
//! that cancelling takes it out at once. A wheel would round, and a heap that only marks
//! the cancelled ones keeps what they hold alive (R071).
//!
//! These are the *timers* of "I/O, timers and callbacks" (N1). Rules: C2, C3, C4.

use super::slab::{Slab, SlabKey};
use std::collections::VecDeque;

/// Names an armed timer.
pub type TimerKey = SlabKey;

/// What is kept in the array: what the order needs, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Node {
    deadline_ns: u64,
    /// C2: which was armed first, where deadlines tie.
    armed: u64,
    key: TimerKey,
}

impl Node {
    fn is_before(&self, other: &Self) -> bool {
        (self.deadline_ns, self.armed) < (other.deadline_ns, other.armed)
    }
}

#[derive(Debug)]
struct Entry<T> {
    /// Where in the array; [`DUE`] once it has been taken out to be fired.
    place: u32,
    deadline_ns: u64,
    payload: T,
}

/// The place of a timer that has left the heap, but whose turn has not come yet.
const DUE: u32 = u32::MAX;

/// Four children each: half the levels of a binary heap, and siblings side by side.
const ARITY: usize = 4;

/// Armed timers with a payload each, ordered by deadline and then by arming (C2).
#[derive(Debug)]
pub struct Timers<T> {
    heap: Vec<Node>,
    entries: Slab<Entry<T>>,
    /// Expired, in order; a key whose timer was cancelled meanwhile finds nothing.
    due: VecDeque<TimerKey>,
    armed: u64,
    /// L5: what was armed from this one on does not fall due in this round.
    fence: u64,
    /// Due, but behind the fence; empty but for a moment.
    held: Vec<Node>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            entries: Slab::default(),
            due: VecDeque::new(),
            armed: 0,
            fence: u64::MAX,
            held: Vec::new(),
        }
    }
}

impl<T> Timers<T> {
    /// Arms a timer. Logarithmic in the number of armed ones.
    pub fn arm(&mut self, deadline_ns: u64, payload: T) -> TimerKey {
        let place = self.heap.len();
        let key = self.entries.insert(Entry {
            place: place as u32,
            deadline_ns,
            payload,
        });
        self.heap.push(Node {
            deadline_ns,
            armed: self.armed,
            key,
        });
        self.armed += 1;
        self.sift_up(place);
        key
    }

    /// Disarms: the payload comes back at once, `None` if it fired or was cancelled (C3).
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let entry = self.entries.remove(key)?;
        if entry.place != DUE {
            self.take_node(entry.place as usize);
        }
        Some(entry.payload)
    }

    /// The payload of an armed timer.
    #[must_use]
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        self.entries.get_mut(key).map(|entry| &mut entry.payload)
    }

    /// When `key` falls due, if it is still armed.
    #[must_use]
    pub fn deadline_ns(&self, key: TimerKey) -> Option<u64> {
        self.entries.get(key).map(|entry| entry.deadline_ns)
    }

    /// The earliest deadline; zero where expired timers wait to be fired.
    #[must_use]
    #[inline]
    pub fn next_ns(&self) -> Option<u64> {
        if !self.due.is_empty() && self.due.iter().any(|&key| self.entries.get(key).is_some()) {
            return Some(0);
        }
        self.heap.first().map(|node| node.deadline_ns)
    }

    /// Begins a round: what is armed from here on is for the next one, even if it is for the
    /// past (L5). Without this, everything is for every round.
    #[inline]
    pub fn begin_round(&mut self) {
        self.fence = self.armed;
    }

    /// Sets apart all timers of this round whose deadline has come, to be taken by
    /// [`Timers::pop_due`].
    ///
    /// L5: what a fired timer arms, even for the past, is not among them. C3: what it
    /// cancels is taken back from among them.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&node) = self.heap.first() {
            if node.deadline_ns > now_ns {
                break;
            }
            self.take_node(0);
            if node.armed >= self.fence {
                self.held.push(node);
                continue;
            }
            self.entries
                .get_mut(node.key)
                .expect("a node has an entry")
                .place = DUE;
            self.due.push_back(node.key);
        }
        while let Some(node) = self.held.pop() {
            let place = self.heap.len();
            self.heap.push(node);
            self.sift_up(place);
        }
    }

    /// The next expired timer, in the order of C2.
    pub fn pop_due(&mut self) -> Option<(TimerKey, T)> {
        loop {
            let key = self.due.pop_front()?;
            if let Some(entry) = self.entries.remove(key) {
                return Some((key, entry.payload));
            }
        }
    }

    /// Takes any timer out, fired or not, for whoever empties the heap.
    pub fn pop_any(&mut self) -> Option<T> {
        let key = self.entries.first()?;
        self.cancel(key)
    }

    /// How many timers are armed, those included that are about to be fired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many places the heap uses; C4 bounds it by the number of live timers.
    #[must_use]
    pub fn heap_len(&self) -> usize {
        self.heap.len()
    }

    /// Removes the node at `place` and puts the last one there instead.
    fn take_node(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            // It came from the bottom, but of another branch: it may belong higher up.
            let place = self.sift_up(place);
            self.sift_down(place);
        }
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        let node = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if !node.is_before(&self.heap[parent]) {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, node);
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        let node = self.heap[place];
        loop {
            let first = place * ARITY + 1;
            let children = first..self.heap.len().min(first + ARITY);
            let Some(least) = children.reduce(|least, child| {
                if self.heap[child].is_before(&self.heap[least]) {
                    child
                } else {
                    least
                }
            }) else {
                break;
            };
            if !self.heap[least].is_before(&node) {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, node);
    }

    fn put(&mut self, place: usize, node: Node) {
        self.heap[place] = node;
        self.entries
            .get_mut(node.key)
            .expect("a node has an entry")
            .place = place as u32;
    }

    /// Asserts what must hold between two calls; every property test calls it.
    #[doc(hidden)]
    pub fn verify(&self) {
        self.entries.verify();
        for (place, node) in self.heap.iter().enumerate() {
            let entry = self.entries.get(node.key).expect("a node has an entry");
            assert_eq!(entry.place as usize, place, "an entry knows its place");
            assert_eq!(entry.deadline_ns, node.deadline_ns);
            if place > 0 {
                let parent = &self.heap[(place - 1) / ARITY];
                assert!(parent.is_before(node), "no child is before its parent");
            }
        }
        let due = self
            .due
            .iter()
            .filter(|&&key| self.entries.get(key).is_some())
            .count();
        assert_eq!(
            self.heap.len() + due,
            self.entries.len(),
            "C4: no dead nodes"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fire_all(timers: &mut Timers<&'static str>, now_ns: u64) -> Vec<&'static str> {
        timers.expire(now_ns);
        std::iter::from_fn(|| timers.pop_due())
            .map(|(_, payload)| payload)
            .collect()
    }

    #[test]
    fn timers_that_tie_fire_in_the_order_of_arming() {
        let mut timers = Timers::default();
        timers.arm(2, "late");
        timers.arm(1, "first");
        timers.arm(1, "second");
        timers.verify();
        assert_eq!(fire_all(&mut timers, 1), ["first", "second"]);
        assert_eq!(timers.next_ns(), Some(2));
    }

    #[test]
    fn what_fills_a_gap_may_belong_above_it() {
        let mut timers = Timers::default();
        // A root, its four children, and theirs: four under the first, one under the second.
        let deadlines = [0, 10, 1, 1, 1, 11, 11, 11, 11, 2];
        let keys = deadlines.map(|deadline| timers.arm(deadline, "timer"));
        // The last one, from under a 1, comes to stand under the 10.
        assert!(timers.cancel(keys[5]).is_some());
        timers.verify();
    }

    #[test]
    fn a_timer_cancelled_by_a_sibling_that_is_due_too_does_not_fire() {
        let mut timers = Timers::default();
        timers.arm(1, "canceller");
        let sibling = timers.arm(1, "sibling");
        timers.expire(1);
        assert_eq!(
            timers.pop_due().map(|(_, payload)| payload),
            Some("canceller")
        );
        assert_eq!(timers.cancel(sibling), Some("sibling"));
        assert_eq!(timers.cancel(sibling), None);
        assert_eq!(timers.pop_due(), None);
        timers.verify();
    }

    #[test]
    fn a_timer_armed_for_the_past_while_others_fire_waits_for_the_next_round() {
        let mut timers = Timers::default();
        timers.arm(5, "old");
        timers.expire(5);
        timers.arm(0, "new");
        assert_eq!(timers.next_ns(), Some(0));
        assert_eq!(timers.pop_due().map(|(_, payload)| payload), Some("old"));
        assert_eq!(timers.pop_due(), None);
        assert_eq!(fire_all(&mut timers, 5), ["new"]);
    }

    #[test]
    fn a_timer_armed_after_a_round_has_begun_is_for_the_next_though_it_is_due() {
        let mut timers = Timers::default();
        timers.arm(3, "old");
        timers.arm(9, "far");
        timers.begin_round();
        let taken_back = timers.arm(0, "taken back");
        timers.arm(2, "new");
        timers.arm(1, "newest");
        assert_eq!(fire_all(&mut timers, 5), ["old"]);
        timers.verify();
        assert_eq!(timers.cancel(taken_back), Some("taken back"));
        timers.begin_round();
        assert_eq!(
            timers.next_ns(),
            Some(1),
            "C5: the next round is not slept for"
        );
        assert_eq!(fire_all(&mut timers, 5), ["newest", "new"]);
        timers.verify();
    }

    #[test]
    fn emptying_by_pop_any_leaves_nothing() {
        let mut timers = Timers::default();
        timers.arm(1, "a");
        timers.arm(2, "b");
        timers.expire(1);
        assert!(timers.pop_any().is_some() && timers.pop_any().is_some());
        assert_eq!(timers.pop_any(), None);
        assert!(timers.is_empty() && timers.pop_due().is_none());
        timers.verify();
    }
}
