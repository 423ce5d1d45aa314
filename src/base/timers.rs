//! The deadline heap: what is due, in the order in which it falls due.
//!
//! A 4-ary heap whose array holds the deadlines themselves, so that sifting touches one
//! or two cache lines a level and no entry; each entry knows its place in the array, so
//! that cancelling takes it out at once. A wheel would round, and a heap that only marks
//! the cancelled ones keeps what they hold alive (R071).
//!
//! These are the *timers* of "I/O, timers and callbacks" (N1). Rules: C2, C3, C4.

use super::burst::{self, KEPT};
use super::slab::{Slab, SlabKey};
use std::collections::VecDeque;

/// Names an armed timer.
pub type TimerKey = SlabKey;

/// What is kept in the array, in one number: the deadline, then which was armed first where
/// deadlines tie (C2), then whose it is. One number is compared in two instructions, and four
/// of sixteen bytes lie in one line of the cache; with a key of eight they were twenty-four.
#[derive(Clone, Copy, Debug)]
struct Node(u128);

impl Node {
    fn new(deadline_ns: u64, armed: u32, slot: u32) -> Self {
        Self(u128::from(deadline_ns) << 64 | u128::from(armed) << 32 | u128::from(slot))
    }

    fn deadline_ns(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn armed(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    fn is_before(self, other: Self) -> bool {
        self.0 < other.0
    }
}

/// The place of a timer that has left the heap, but whose turn has not come yet.
const DUE: u32 = u32::MAX;

/// Four children each: half the levels of a binary heap, and siblings side by side.
const ARITY: usize = 4;

/// Armed timers with a payload each, ordered by deadline and then by arming (C2).
#[derive(Debug)]
pub struct Timers<T> {
    heap: Vec<Node>,
    /// Where each slot's node is in the heap; [`DUE`] once it has been taken out to be fired.
    /// Not in the entries: who sifts writes some of these, and they share lines of the cache.
    places: Vec<u32>,
    entries: Slab<T>,
    /// Expired, in order; a key whose timer was cancelled meanwhile finds nothing.
    due: VecDeque<TimerKey>,
    /// Of the next one to be armed.
    armed: u32,
    /// L5: what was armed from this one on does not fall due in this round.
    fence: u32,
    /// Due, but behind the fence; empty but for a moment.
    held: Vec<Node>,
    /// R126: with fewer nodes than this, the heap is far too large.
    low: usize,
}

/// The fence of who has begun no round. No timer has this number, nor the next to be armed.
const NO_FENCE: u32 = u32::MAX;

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
            entries: Slab::default(),
            due: VecDeque::new(),
            armed: 0,
            fence: NO_FENCE,
            held: Vec::new(),
            low: 0,
        }
    }
}

impl<T> Timers<T> {
    /// Arms a timer. Logarithmic in the number of armed ones.
    #[inline]
    pub fn arm(&mut self, deadline_ns: u64, payload: T) -> TimerKey {
        if self.heap.len() == self.heap.capacity() {
            self.grow();
        }
        if self.armed == NO_FENCE - 1 {
            self.count_anew();
        }
        let key = self.entries.insert(payload);
        if key.slot() == self.places.len() {
            self.places.push(DUE);
        }
        let node = Node::new(deadline_ns, self.armed, key.slot() as u32);
        self.armed += 1;
        self.heap.push(node);
        self.sift_up(self.heap.len() - 1, node);
        key
    }

    /// Disarms: the payload comes back at once, `None` if it fired or was cancelled (C3).
    #[inline]
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let payload = self.entries.remove(key)?;
        let place = self.places[key.slot()];
        if place != DUE {
            self.take_node(place as usize);
        }
        Some(payload)
    }

    /// The payload of an armed timer.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        self.entries.get_mut(key)
    }

    /// The earliest deadline; zero where expired timers wait to be fired.
    #[must_use]
    #[inline]
    pub fn next_ns(&self) -> Option<u64> {
        if !self.due.is_empty() && self.due.iter().any(|&key| self.entries.get(key).is_some()) {
            return Some(0);
        }
        self.heap.first().map(|node| node.deadline_ns())
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
            if node.deadline_ns() > now_ns {
                break;
            }
            self.take_node(0);
            if node.armed() >= self.fence {
                self.held.push(node);
                continue;
            }
            self.places[node.slot()] = DUE;
            self.due.push_back(self.entries.key_of(node.slot()));
        }
        while let Some(node) = self.held.pop() {
            self.heap.push(node);
            self.sift_up(self.heap.len() - 1, node);
        }
    }

    /// The next expired timer, in the order of C2.
    #[inline]
    pub fn pop_due(&mut self) -> Option<(TimerKey, T)> {
        loop {
            let Some(key) = self.due.pop_front() else {
                self.end_round();
                return None;
            };
            if let Some(payload) = self.entries.remove(key) {
                return Some((key, payload));
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
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many places the heap uses; C4 bounds it by the number of live timers.
    #[must_use]
    pub fn heap_len(&self) -> usize {
        self.heap.len()
    }

    /// Removes the node at `place` and puts the last one there instead.
    #[inline]
    fn take_node(&mut self, place: usize) {
        let last = self.heap.pop();
        if self.heap.len() < self.low {
            self.give_back();
        }
        let Some(last) = last.filter(|_| place < self.heap.len()) else {
            return;
        };
        // It came from the bottom, but of another branch: it may belong higher up.
        if place > 0 && last.is_before(self.heap[(place - 1) / ARITY]) {
            self.sift_up(place, last);
        } else {
            self.sift_down(place, last);
        }
    }

    /// Lets `node` rise from `place`, which is a hole until then: what is above moves down.
    #[inline]
    fn sift_up(&mut self, mut place: usize, node: Node) {
        // As slices, whose ends stay in registers: 20 instructions less.
        let (heap, places) = (&mut *self.heap, &mut *self.places);
        while place > 0 {
            let parent = (place - 1) / ARITY;
            let above = heap[parent];
            if !node.is_before(above) {
                break;
            }
            heap[place] = above;
            places[above.slot()] = place as u32;
            place = parent;
        }
        heap[place] = node;
        places[node.slot()] = place as u32;
    }

    /// The same downwards.
    #[inline]
    fn sift_down(&mut self, mut place: usize, node: Node) {
        let (heap, places) = (&mut *self.heap, &mut *self.places);
        while let Some((least, below)) = least_from(heap, place * ARITY + 1) {
            if !below.is_before(node) {
                break;
            }
            heap[place] = below;
            places[below.slot()] = place as u32;
            place = least;
        }
        heap[place] = node;
        places[node.slot()] = place as u32;
    }

    #[cold]
    fn grow(&mut self) {
        self.heap.reserve(1);
        self.set_low();
    }

    fn set_low(&mut self) {
        self.low = burst::low(self.heap.capacity());
    }

    /// R126: halves a heap that is far larger than what is in it, so that a burst's memory goes
    /// with the burst, and one that comes again soon is not paid for again.
    #[cold]
    fn give_back(&mut self) {
        self.heap.shrink_to(self.heap.capacity() / 2);
        self.set_low();
    }

    /// R126: the same for the rest, when a round is over.
    #[inline]
    fn end_round(&mut self) {
        let most = self.due.capacity().max(self.held.capacity());
        if most > KEPT {
            self.due.shrink_to(most / 2);
            self.held.shrink_to(most / 2);
        }
        let slots = self.entries.slots();
        if self.places.len() > slots {
            self.places.truncate(slots);
            self.places.shrink_to_fit();
        }
    }

    /// The numbers by which ties are settled have run out, after four thousand million timers:
    /// those that are left are counted again, in their order, which does not change.
    #[cold]
    fn count_anew(&mut self) {
        let mut places: Vec<usize> = (0..self.heap.len()).collect();
        places.sort_unstable_by_key(|&place| self.heap[place].armed());
        let fence = self.fence;
        let early = |&&place: &&usize| self.heap[place].armed() < fence;
        self.fence = match fence {
            NO_FENCE => NO_FENCE,
            _ => places.iter().filter(early).count() as u32,
        };
        for (armed, &place) in places.iter().enumerate() {
            let node = self.heap[place];
            self.heap[place] = Node::new(node.deadline_ns(), armed as u32, node.slot() as u32);
        }
        self.armed = places.len() as u32;
    }

    /// Asserts what must hold between two calls; every property test calls it.
    #[doc(hidden)]
    pub fn verify(&self) {
        self.entries.verify();
        assert!(self.held.is_empty(), "nothing is held back");
        for (place, &node) in self.heap.iter().enumerate() {
            let key = self.entries.key_of(node.slot());
            assert!(self.entries.get(key).is_some(), "a node has an entry");
            assert_eq!(self.places[node.slot()] as usize, place, "it is found");
            assert!(node.armed() < self.armed, "it has a number of its own");
            if place > 0 {
                let parent = self.heap[(place - 1) / ARITY];
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

/// The least of the siblings that begin at `first`, and its place.
#[inline]
fn least_from(heap: &[Node], first: usize) -> Option<(usize, Node)> {
    let children = heap.get(first..)?;
    let least = |a: (usize, Node), b: (usize, Node)| if b.1.is_before(a.1) { b } else { a };
    // All four, almost always: their places are then checked once, and nothing is guessed.
    if let Some(&[a, b, c, d]) = children.first_chunk::<ARITY>() {
        let left = least((first, a), (first + 1, b));
        let right = least((first + 2, c), (first + 3, d));
        return Some(least(left, right));
    }
    let places = children.iter().enumerate();
    let places = places.map(|(at, &node)| (first + at, node));
    places.reduce(least)
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

    /// C2 and L5 go on to hold when the numbers by which ties are settled run out.
    #[test]
    fn ties_are_settled_by_arming_when_the_numbers_begin_anew() {
        let mut timers = Timers {
            armed: NO_FENCE - 4,
            ..Timers::default()
        };
        let gone = timers.arm(3, "gone");
        timers.arm(3, "first");
        timers.begin_round();
        timers.arm(3, "second");
        assert!(timers.cancel(gone).is_some());
        timers.arm(3, "third");
        timers.verify();
        assert_eq!(timers.armed, 3, "it has begun anew");
        assert_eq!(fire_all(&mut timers, 3), ["first"]);
        timers.begin_round();
        assert_eq!(fire_all(&mut timers, 3), ["second", "third"]);
        timers.armed = NO_FENCE - 1;
        timers.begin_round();
        timers.arm(0, "for the next round");
        assert_eq!(fire_all(&mut timers, 3), [""; 0]);
        timers.verify();
    }

    /// R126.
    #[test]
    fn the_memory_of_a_burst_of_timers_is_given_back() {
        let fired = |timers: &mut Timers<u64>| {
            timers.expire(100_000);
            while timers.pop_due().is_some() {}
        };
        let cancelled = |timers: &mut Timers<u64>| while timers.pop_any().is_some() {};
        for empty in [fired as fn(&mut Timers<u64>), cancelled] {
            let mut timers = Timers::default();
            for n in 0..100_000 {
                timers.arm(n % 1_000, n);
            }
            empty(&mut timers);
            for n in 0..10 {
                timers.arm(n, n);
                fired(&mut timers);
            }
            timers.verify();
            assert!(timers.heap.capacity() <= 2 * KEPT && timers.places.capacity() <= 2 * KEPT);
            assert!(timers.due.capacity() <= 2 * KEPT && timers.entries.slots() <= 2 * KEPT);
        }
    }
}
