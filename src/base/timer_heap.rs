//! The heap of deadlines: it returns due timers in the order of their deadlines.
//!
//! A 4-ary heap whose array holds the deadlines themselves, so that sifting touches one
//! or two cache lines a level and no entry. A timer that is cancelled gives its payload back at once
//! (R071) and leaves its sixteen bytes in the array, where their place need not be known: they are
//! removed when they come to the top, or when they outnumber the armed timers. A timer wheel would
//! round deadlines, and a heap that kept the payloads of cancelled timers would leak.
//!
//! A burst, more new timers than there are nodes, is sorted instead, into a list from which each is taken
//! in constant time. Sorting many at once takes half of what taking each from a heap does.
//!
//! A timer that was armed since the last round began is in neither of them yet, but in a list, and
//! knows its place there. Cancelled before the next round, it leaves nothing behind.
//!
//! A timer either goes with its payload when it fires or is cancelled, or is *kept*: its entry stays until
//! it fires or is removed, and to start or stop it changes its node and the entry's tag, not the payload.
//!
//! These are the *timers* of "I/O, timers and callbacks" (N1). Rules: C2, C3, C4.

use super::shrink;
use super::slab::{Slab, SlabKey, VacantSlot};
use super::sort_pairs::sort_pairs;

/// Names an armed timer.
pub type TimerKey = SlabKey;

/// What is kept in the array, in one number: the deadline, then which was armed first where
/// deadlines tie (C2), then whose it is. One number is compared in two instructions, and four
/// of sixteen bytes lie in one line of the cache; with a key of eight they were twenty-four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node(u128);

impl Node {
    #[inline]
    fn new(deadline_ns: u64, armed: u32, slot: u32) -> Self {
        Self(u128::from(deadline_ns) << 64 | u128::from(armed) << 32 | u128::from(slot))
    }

    #[inline]
    fn deadline_ns(self) -> u64 {
        (self.0 >> 64) as u64
    }

    #[inline]
    fn seq(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    fn slot(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn is_before(self, other: Self) -> bool {
        self.0 < other.0
    }
}

/// Four children each: half the levels of a binary heap, and siblings side by side.
const ARITY: usize = 4;

/// So many cancelled ones may always stay.
const SLACK: usize = 64;

/// The tag of an entry says where its node is: from here on, at which place of the list of new
/// timers; below, in the heap, and which was armed first.
const UNSORTED: u32 = 1 << 31;

/// The tag of a kept entry that is not armed. There is no such place, and no such number.
const IDLE: u32 = u32::MAX;

/// Nodes in a buffer that becomes smaller after a burst (R126).
#[derive(Debug, Default)]
struct Nodes {
    list: Vec<Node>,
    /// With fewer nodes than this, the buffer is far too large.
    shrink_below: usize,
}

impl Nodes {
    #[inline]
    fn push(&mut self, node: Node) {
        if self.list.len() == self.list.capacity() {
            self.grow();
        }
        self.list.push(node);
    }

    #[inline]
    fn pop(&mut self) -> Option<Node> {
        let last = self.list.pop();
        self.shrink_if_due();
        last
    }

    /// Replaces an empty buffer, and returns it.
    fn replace(&mut self, list: Vec<Node>) -> Vec<Node> {
        let before = std::mem::replace(&mut self.list, list);
        self.set_shrink_below();
        before
    }

    #[cold]
    fn grow(&mut self) {
        self.list.reserve(1);
        self.set_shrink_below();
    }

    #[inline]
    fn shrink_if_due(&mut self) {
        if self.list.len() < self.shrink_below {
            self.shrink();
        }
    }

    /// Out of line, because it is rare.
    #[cold]
    fn shrink(&mut self) {
        shrink::shrink(&mut self.list);
        self.set_shrink_below();
    }

    fn set_shrink_below(&mut self) {
        self.shrink_below = shrink::shrink_below(self.list.capacity());
    }
}

/// Armed timers with a payload each, ordered by deadline and then by arming (C2).
#[derive(Debug)]
pub struct Timers<T> {
    heap: Nodes,
    /// A burst that was sorted, the latest first. The next timer is the last one here or the first of
    /// the heap.
    sorted: Nodes,
    /// Armed since the last round began, and not cancelled. L5: a timer outside of the heap does not
    /// fall due. And a timer that is cancelled before the next round is never sifted.
    unsorted: Vec<Node>,
    /// Each tagged with the number in its node, or with its place in `unsorted`. A node of the heap
    /// whose number is not the tag of its entry is that of a cancelled timer, whatever the slot
    /// holds by then.
    entries: Slab<T>,
    /// How many of the entries are kept, and not armed.
    idle: usize,
    /// Of the next one to be armed.
    next_seq: u32,
    /// Whether a round has begun and is not over.
    in_round: bool,
}

/// A place for one timer: see [`Timers::vacancy`].
pub struct Vacancy<'a, T> {
    slot: VacantSlot<'a, T>,
    unsorted: &'a mut Vec<Node>,
    next_seq: &'a mut u32,
}

impl<T> Vacancy<'_, T> {
    /// [`Timers::arm`].
    #[inline(always)]
    pub fn arm(self, deadline_ns: u64, payload: T) -> TimerKey {
        let tag = UNSORTED | self.unsorted.len() as u32;
        let node = Node::new(deadline_ns, *self.next_seq, self.slot.key.slot() as u32);
        self.unsorted.push(node);
        *self.next_seq += 1;
        self.slot.fill(tag, |_| payload)
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            heap: Nodes::default(),
            sorted: Nodes::default(),
            unsorted: Vec::new(),
            entries: Slab::default(),
            idle: 0,
            next_seq: 0,
            in_round: false,
        }
    }
}

impl<T> Timers<T> {
    /// Arms a timer. It falls due in a round that begins after this (L5).
    #[inline(always)]
    pub fn arm(&mut self, deadline_ns: u64, payload: T) -> TimerKey {
        match self.vacancy() {
            Some(vacancy) => vacancy.arm(deadline_ns, payload),
            None => self.arm_and_grow(deadline_ns, payload),
        }
    }

    /// A place for one timer, if there is one without an allocation. A caller that does something else
    /// where there is none has the usual case without a call.
    #[inline(always)]
    pub fn vacancy(&mut self) -> Option<Vacancy<'_, T>> {
        let has_room = self.unsorted.len() != self.unsorted.capacity();
        if !has_room || self.next_seq >= UNSORTED {
            return None;
        }
        Some(Vacancy {
            slot: self.entries.vacant_slot()?,
            unsorted: &mut self.unsorted,
            next_seq: &mut self.next_seq,
        })
    }

    /// Out of line, so that the payload is moved only once in the usual case: before a call that
    /// might panic it is moved out of the way.
    #[inline(never)]
    fn arm_and_grow(&mut self, deadline_ns: u64, payload: T) -> TimerKey {
        if self.next_seq == UNSORTED {
            self.renumber();
        }
        // Below `UNSORTED`: there are not more nodes than numbers.
        let tag = UNSORTED | self.unsorted.len() as u32;
        let key = self.entries.insert_tagged(tag, payload);
        let slot = key.slot() as u32;
        self.unsorted
            .push(Node::new(deadline_ns, self.next_seq, slot));
        self.next_seq += 1;
        key
    }

    /// Disarms: the payload comes back at once, `None` if it fired or was cancelled (C3).
    /// Constant time, on the average.
    #[inline]
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.cancel_with(key, |payload| payload)
    }

    /// [`Timers::cancel`] that moves the payload once only, into `place`, which is empty.
    #[inline(always)]
    pub fn cancel_into(&mut self, key: TimerKey, place: &mut Option<T>) {
        debug_assert!(place.is_none(), "the payload in it would not be dropped");
        self.cancel_with(key, |payload| std::mem::forget(place.replace(payload)));
    }

    /// [`Timers::cancel`] that returns what `take` makes of the payload. It must not be user code.
    #[inline(always)]
    pub fn cancel_with<R>(&mut self, key: TimerKey, take: impl FnOnce(T) -> R) -> Option<R> {
        let (tag, taken) = self.entries.remove_with_tag(key, take)?;
        match tag.checked_sub(UNSORTED) {
            Some(place) => self.remove_unsorted(place as usize),
            None => self.compact_if_due(),
        }
        Some(taken)
    }

    /// Adds a timer that is kept until it fires or is [removed](Self::remove), and is not armed.
    pub fn keep(&mut self, payload: T) -> TimerKey {
        self.idle += 1;
        self.entries.insert_tagged(IDLE, payload)
    }

    /// Arms a kept timer, or moves its deadline if it is armed. C2: it counts as armed last. Returns whether
    /// the timer is there.
    #[inline(always)]
    pub fn start(&mut self, key: TimerKey, deadline_ns: u64) -> bool {
        if self.next_seq >= UNSORTED {
            self.renumber();
        }
        let node = Node::new(deadline_ns, self.next_seq, key.slot() as u32);
        let end = UNSORTED | self.unsorted.len() as u32;
        let Some(tag) = self.entries.tag_mut(key) else {
            return false;
        };
        match *tag {
            IDLE => {
                *tag = end;
                self.idle -= 1;
                self.unsorted.push(node);
            }
            UNSORTED.. => self.unsorted[(*tag - UNSORTED) as usize] = node,
            _ => {
                *tag = end;
                self.unsorted.push(node);
                self.compact_if_due();
            }
        }
        self.next_seq += 1;
        true
    }

    /// Disarms a kept timer. Returns whether it was armed.
    #[inline(always)]
    pub fn stop(&mut self, key: TimerKey) -> bool {
        let Some(tag) = self.entries.tag_mut(key) else {
            return false;
        };
        let before = std::mem::replace(tag, IDLE);
        if before == IDLE {
            return false;
        }
        self.idle += 1;
        match before.checked_sub(UNSORTED) {
            Some(place) => self.remove_unsorted(place as usize),
            None => self.compact_if_due(),
        }
        true
    }

    /// Whether a kept timer is armed.
    #[must_use]
    pub fn is_armed(&mut self, key: TimerKey) -> bool {
        self.entries.tag_mut(key).is_some_and(|tag| *tag != IDLE)
    }

    /// Removes a kept timer, armed or not, and returns its payload.
    pub fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.stop(key);
        let payload = self.entries.remove(key)?;
        self.idle -= 1;
        Some(payload)
    }

    /// Takes a node out of the list of new timers; the last one of the list gets its place.
    #[inline]
    fn remove_unsorted(&mut self, place: usize) {
        let last = self.unsorted.pop();
        if let (Some(last), Some(gap)) = (last, self.unsorted.get_mut(place)) {
            *gap = last;
            self.entries.set_tag(last.slot(), UNSORTED | place as u32);
        }
    }

    /// The payload of an armed timer.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        self.entries.get_mut(key)
    }

    /// The earliest deadline.
    #[must_use]
    #[inline]
    pub fn next_ns(&mut self) -> Option<u64> {
        if !self.in_round {
            self.settle();
        }
        while let Some((first, is_sorted)) = self.first() {
            if self.is_live(first) {
                break;
            }
            self.take_first(is_sorted);
        }
        let mut first = self.first().map(|(node, _)| node);
        for &node in &self.unsorted {
            if first.is_none_or(|first| node < first) {
                first = Some(node);
            }
        }
        first.map(Node::deadline_ns)
    }

    /// Begins a round: what is armed from here on is for the next one, even if it is for the
    /// past (L5).
    #[inline]
    pub fn begin_round(&mut self) {
        self.settle();
        self.in_round = true;
    }

    /// The next timer of this round whose deadline has come, in the order of C2; `None` ends the
    /// round.
    ///
    /// L5: what a fired timer arms, even for the past, is not among them. C3: nor is what it cancels.
    ///
    /// A kept timer is removed as well: its caller adds it again, and it has another key from then on.
    #[inline]
    pub fn pop_due(&mut self, now_ns: u64) -> Option<T> {
        while let Some((node, is_sorted)) = self.first() {
            if node.deadline_ns() > now_ns {
                break;
            }
            self.take_first(is_sorted);
            if let Some(due) = self.entries.remove_tagged(node.slot(), node.seq()) {
                self.compact_if_due();
                return Some(due);
            }
        }
        self.end_round();
        None
    }

    /// Whether a round has begun and is not over.
    #[must_use]
    #[inline]
    pub fn is_in_round(&self) -> bool {
        self.in_round
    }

    /// Ends a round in which nothing is armed.
    #[inline]
    pub fn end_round(&mut self) {
        self.in_round = false;
    }

    /// Removes any timer, armed or kept, for a caller that empties the heap.
    pub fn pop_any(&mut self) -> Option<T> {
        let key = self.entries.first()?;
        self.remove(key)
    }

    /// How many timers are armed.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len() - self.idle
    }

    /// Whether none is.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == self.idle
    }

    /// How many nodes there are, those of cancelled timers included; C4 bounds them by the number of
    /// live ones.
    #[must_use]
    #[inline]
    pub fn nodes(&self) -> usize {
        self.settled() + self.unsorted.len()
    }

    /// How many nodes are not in the list of new timers.
    #[inline]
    fn settled(&self) -> usize {
        self.heap.list.len() + self.sorted.list.len()
    }

    #[inline]
    fn is_live(&self, node: Node) -> bool {
        self.entries.is_tagged(node.slot(), node.seq())
    }

    /// Moves what was armed to where it may fall due.
    #[inline]
    fn settle(&mut self) {
        if !self.unsorted.is_empty() || self.unsorted.capacity() > shrink::MIN_CAPACITY {
            self.settle_some();
        }
    }

    #[inline(never)]
    fn settle_some(&mut self) {
        if self.unsorted.len() > self.settled() + 1 {
            self.sort_burst();
        }
        while let Some(node) = self.unsorted.pop() {
            self.entries.set_tag(node.slot(), node.seq());
            self.push(node);
        }
        // R126: by halves.
        if self.unsorted.capacity() > shrink::MIN_CAPACITY {
            self.unsorted.shrink_to(self.unsorted.capacity() / 2);
        }
    }

    /// Sorts all nodes. More come than are there, so each pays for another one at most.
    fn sort_burst(&mut self) {
        for node in &self.unsorted {
            self.entries.set_tag(node.slot(), node.seq());
        }
        let mut all = std::mem::take(&mut self.unsorted);
        all.append(&mut self.heap.list);
        self.heap.shrink_if_due();
        all.append(&mut self.sorted.list);
        all.sort_unstable_by(|a, b| b.cmp(a));
        self.unsorted = self.sorted.replace(all);
    }

    /// C4.
    #[inline]
    fn compact_if_due(&mut self) {
        let living = self.len() - self.unsorted.len();
        if self.settled() > max_nodes(living) {
            self.compact();
        }
    }

    /// C4: throws out the nodes of cancelled timers. As many timers were cancelled since the last time
    /// as there are nodes to be looked at, or half of them, so each pays for two.
    #[cold]
    fn compact(&mut self) {
        let entries = &self.entries;
        let lives = |node: &Node| entries.is_tagged(node.slot(), node.seq());
        self.sorted.list.retain(lives);
        let before = self.heap.list.len();
        self.heap.list.retain(lives);
        if self.heap.list.len() != before {
            self.heapify();
        }
        self.sorted.shrink_if_due();
        self.heap.shrink_if_due();
    }

    /// Makes a heap of what lies in the array.
    fn heapify(&mut self) {
        let heap = &mut self.heap.list;
        let Some(last) = heap.len().checked_sub(2) else {
            return;
        };
        for place in (0..=last / ARITY).rev() {
            let node = heap[place];
            sift_down(heap, place, node);
        }
    }

    #[inline]
    fn push(&mut self, node: Node) {
        self.heap.push(node);
        let last = self.heap.list.len() - 1;
        sift_up(&mut self.heap.list, last, node);
    }

    /// The first node, and whether it is in `sorted`.
    #[inline]
    fn first(&self) -> Option<(Node, bool)> {
        match (self.sorted.list.last(), self.heap.list.first()) {
            (Some(&sorted), Some(&node)) if node.is_before(sorted) => Some((node, false)),
            (Some(&sorted), _) => Some((sorted, true)),
            (None, node) => node.map(|&node| (node, false)),
        }
    }

    #[inline]
    fn take_first(&mut self, is_sorted: bool) {
        match is_sorted {
            true => _ = self.sorted.pop(),
            false => self.take_from_heap(),
        }
    }

    /// Removes the first node of the heap, and puts the last one into the gap that comes of it.
    #[inline(never)]
    fn take_from_heap(&mut self) {
        let last = self.heap.pop();
        if let Some(last) = last.filter(|_| !self.heap.list.is_empty()) {
            fill(&mut self.heap.list, last);
        }
    }

    /// The numbers by which ties are settled have run out, after two thousand million timers:
    /// those that are left are counted again, in their order, which does not change.
    #[cold]
    fn renumber(&mut self) {
        // Or a new number might be that of a cancelled one.
        self.compact();
        let (in_heap, settled) = (self.heap.list.len(), self.settled());
        let mut places: Vec<(u64, u64)> = Vec::with_capacity(self.nodes());
        for nodes in [&self.heap.list, &self.sorted.list, &self.unsorted] {
            for node in nodes {
                places.push((node.seq().into(), places.len() as u64));
            }
        }
        self.next_seq = 0;
        for (_, place) in sort_pairs(places) {
            let place = place as usize;
            let node = match place {
                _ if place < in_heap => &mut self.heap.list[place],
                _ if place < settled => &mut self.sorted.list[place - in_heap],
                _ => &mut self.unsorted[place - settled],
            };
            *node = Node::new(node.deadline_ns(), self.next_seq, node.slot());
            if place < settled {
                self.entries.set_tag(node.slot(), self.next_seq);
            }
            self.next_seq += 1;
        }
        assert!(self.next_seq < UNSORTED, "fewer than 2^31 timers");
    }

    /// Asserts what must hold between two calls; every property test calls it.
    #[doc(hidden)]
    pub fn verify(&self) {
        self.entries.verify();
        let mut settled = 0;
        for &node in self.heap.list.iter().chain(&self.sorted.list) {
            settled += usize::from(self.is_live(node));
            assert!(node.seq() < self.next_seq, "each has a number of its own");
        }
        for (place, node) in (UNSORTED..).zip(&self.unsorted) {
            let knows_its_place = self.entries.is_tagged(node.slot(), place);
            assert!(knows_its_place, "a new timer knows its place");
            assert!(node.seq() < self.next_seq, "each has a number of its own");
        }
        let living = settled + self.unsorted.len();
        assert_eq!(living, self.len(), "C4: each armed timer has one node");
        assert!(self.settled() <= max_nodes(settled), "C4: few are dead");
        let heap = &self.heap.list;
        for place in 1..heap.len() {
            let in_order = heap[(place - 1) / ARITY].is_before(heap[place]);
            assert!(in_order, "no child is before its parent");
        }
        let is_latest_first = self.sorted.list.is_sorted_by(|a, b| b.is_before(*a));
        assert!(is_latest_first, "a burst is in order");
    }
}

/// C4: of how many nodes the dead ones are swept out, where so many live.
#[inline]
const fn max_nodes(living: usize) -> usize {
    2 * living + SLACK
}

/// Lets `node` rise from `place`, which is a gap until then: what is above moves down.
#[inline]
fn sift_up(heap: &mut [Node], mut place: usize, node: Node) {
    while place > 0 {
        let parent = (place - 1) / ARITY;
        let above = heap[parent];
        if !node.is_before(above) {
            break;
        }
        heap[place] = above;
        place = parent;
    }
    heap[place] = node;
}

/// The same downwards.
#[inline]
fn sift_down(heap: &mut [Node], mut place: usize, node: Node) {
    while let Some((least, below)) = least_from(heap, place * ARITY + 1) {
        if !below.is_before(node) {
            break;
        }
        heap[place] = below;
        place = least;
    }
    heap[place] = node;
}

/// Fills the gap at the top: it sinks to the bottom, where `node` comes from, which belongs near
/// there. Not compared with it on each level, so this takes a quarter less.
#[inline]
fn fill(heap: &mut [Node], node: Node) {
    let mut place = 0;
    while let Some((least, below)) = least_from(heap, place * ARITY + 1) {
        heap[place] = below;
        place = least;
    }
    sift_up(heap, place, node);
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
    use super::super::shrink::MIN_CAPACITY;
    use super::*;

    fn fire_all(timers: &mut Timers<&'static str>, now_ns: u64) -> Vec<&'static str> {
        std::iter::from_fn(|| timers.pop_due(now_ns)).collect()
    }

    #[test]
    fn timers_that_tie_fire_in_the_order_of_arming() {
        let mut timers = Timers::default();
        timers.arm(2, "late");
        timers.arm(1, "first");
        timers.arm(1, "second");
        timers.begin_round();
        timers.verify();
        assert_eq!(fire_all(&mut timers, 1), ["first", "second"]);
        assert_eq!(timers.next_ns(), Some(2));
    }

    #[test]
    fn what_fills_the_gap_at_the_top_may_belong_above_the_bottom() {
        let mut timers = Timers::default();
        // A root, its four children, and theirs: four under the second, one under the third.
        for deadline in [0, 3, 1, 9, 9, 4, 4, 4, 4, 5, 6, 7, 8, 2] {
            timers.arm(deadline, "timer");
            timers.begin_round();
            timers.verify();
        }
        for now in 0..9 {
            let due = fire_all(&mut timers, now).len();
            assert_eq!(due, if now == 4 { 4 } else { 1 });
            timers.verify();
        }
    }

    #[test]
    fn a_timer_cancelled_by_a_sibling_that_is_due_too_does_not_fire() {
        let mut timers = Timers::default();
        timers.arm(1, "canceller");
        let sibling = timers.arm(1, "sibling");
        timers.begin_round();
        assert_eq!(timers.pop_due(1), Some("canceller"));
        assert_eq!(timers.cancel(sibling), Some("sibling"));
        assert_eq!(timers.cancel(sibling), None);
        assert_eq!(timers.pop_due(1), None);
        timers.verify();
    }

    /// The slot of a cancelled timer is used again at once, while its node is still there.
    #[test]
    fn a_timer_in_the_slot_of_a_cancelled_one_fires_in_its_own_time() {
        let mut timers = Timers::default();
        let gone = timers.arm(1, "gone");
        timers.begin_round();
        assert_eq!(timers.cancel(gone), Some("gone"));
        let next = timers.arm(5, "next");
        assert_eq!(next.slot(), gone.slot());
        timers.begin_round();
        timers.verify();
        assert_eq!(fire_all(&mut timers, 4), [""; 0]);
        assert_eq!(
            timers.next_ns(),
            Some(5),
            "C5: a cancelled timer causes no wake"
        );
        assert_eq!(fire_all(&mut timers, 5), ["next"]);
        let gone = timers.arm(7, "gone");
        timers.arm(8, "later");
        timers.begin_round();
        assert_eq!(timers.cancel(gone), Some("gone"));
        assert_eq!(
            timers.next_ns(),
            Some(8),
            "C5: a cancelled timer causes no wake"
        );
    }

    #[test]
    fn a_timer_armed_after_a_round_has_begun_is_for_the_next_though_it_is_due() {
        let mut timers = Timers::default();
        timers.arm(3, "old");
        timers.arm(9, "far");
        timers.begin_round();
        let taken_back = timers.arm(0, "taken back");
        timers.arm(2, "new");
        assert_eq!(timers.next_ns(), Some(0));
        assert_eq!(timers.pop_due(5), Some("old"));
        timers.arm(1, "newest");
        assert_eq!(timers.pop_due(5), None);
        timers.verify();
        assert_eq!(timers.cancel(taken_back), Some("taken back"));
        assert_eq!(
            timers.next_ns(),
            Some(1),
            "C5: the next round is not slept for"
        );
        timers.begin_round();
        assert_eq!(fire_all(&mut timers, 5), ["newest", "new"]);
        timers.verify();
    }

    #[test]
    fn emptying_by_pop_any_leaves_nothing() {
        let mut timers = Timers::default();
        timers.arm(1, "a");
        timers.begin_round();
        timers.arm(2, "b");
        assert!(timers.pop_any().is_some() && timers.pop_any().is_some());
        assert_eq!(timers.pop_any(), None);
        assert!(timers.is_empty() && timers.pop_due(9).is_none());
        assert_eq!(timers.next_ns(), None);
        timers.verify();
    }

    /// C2 and L5 go on to hold when the numbers by which ties are settled run out.
    #[test]
    fn ties_are_settled_by_arming_when_the_numbers_begin_anew() {
        let mut timers = Timers {
            next_seq: UNSORTED - 5,
            ..Timers::default()
        };
        let gone = timers.arm(3, "gone");
        timers.arm(3, "first");
        timers.arm(3, "second");
        timers.begin_round();
        timers.arm(3, "in the heap");
        timers.begin_round();
        timers.arm(3, "third");
        assert!(timers.cancel(gone).is_some());
        timers.arm(3, "fourth");
        timers.verify();
        assert_eq!(timers.next_seq, 5, "it has begun anew");
        assert_eq!(fire_all(&mut timers, 3), ["first", "second", "in the heap"]);
        timers.begin_round();
        assert_eq!(fire_all(&mut timers, 3), ["third", "fourth"]);
        timers.next_seq = UNSORTED;
        timers.begin_round();
        timers.arm(0, "for the next round");
        assert_eq!(fire_all(&mut timers, 3), [""; 0]);
        timers.verify();
    }

    /// C4, and C5 for what the sweeps leave: of a burst, and of timers that were armed one by one.
    #[test]
    fn cancelled_timers_are_swept_out_and_those_between_them_stay_in_order() {
        for in_heap in [false, true] {
            let mut timers = Timers::default();
            let scattered = |n: u64| n * 7_919 % 5_003;
            let mut arm = |n| {
                let key = timers.arm(scattered(n), n);
                if in_heap {
                    timers.begin_round();
                }
                key
            };
            let keys: Vec<TimerKey> = (0..5_000).map(&mut arm).collect();
            timers.begin_round();
            let stays = |n: u64| n % 100 == 7;
            for (n, &key) in (0..).zip(&keys).filter(|&(n, _)| !stays(n)) {
                assert_eq!(timers.cancel(key), Some(n));
            }
            timers.verify();
            assert!(timers.nodes() <= 2 * 50 + SLACK);
            let mut left: Vec<u64> = (0..5_000).filter(|&n| stays(n)).collect();
            left.sort_by_key(|&n| scattered(n));
            assert_eq!(timers.next_ns(), Some(scattered(left[0])));
            let fired: Vec<u64> = std::iter::from_fn(|| timers.pop_due(5_003)).collect();
            assert_eq!(fired, left);
        }
    }

    #[test]
    fn a_burst_and_timers_that_are_armed_after_it_fire_in_one_order() {
        let mut timers = Timers::default();
        for deadline in [5, 9, 1, 5] {
            timers.arm(deadline, deadline);
        }
        timers.begin_round();
        for deadline in [7, 5, 0, 9] {
            timers.arm(deadline, deadline);
            timers.begin_round();
            timers.verify();
        }
        assert!(!timers.sorted.list.is_empty() && !timers.heap.list.is_empty());
        for due in [0, 1, 5, 5, 5, 7, 9, 9] {
            assert_eq!(timers.next_ns(), Some(due));
            assert_eq!(
                due.checked_sub(1).and_then(|early| timers.pop_due(early)),
                None
            );
            assert_eq!(timers.pop_due(due), Some(due));
            timers.verify();
        }
        assert!(timers.is_empty());
    }

    /// C4, where nothing is cancelled any more, and the armed timers fire.
    #[test]
    fn the_nodes_of_cancelled_timers_do_not_outlive_those_that_fire() {
        let mut timers = Timers::default();
        for n in 0..1_000 {
            timers.arm(n, n);
        }
        let far: Vec<TimerKey> = (0..1_000).map(|n| timers.arm(9_000, n)).collect();
        timers.begin_round();
        assert!(far.into_iter().all(|key| timers.cancel(key).is_some()));
        assert_eq!(timers.nodes(), 2_000, "no more are dead than armed");
        for n in 0..1_000 {
            assert_eq!(timers.pop_due(1_000), Some(n));
            timers.verify();
        }
        assert!(timers.nodes() <= SLACK);
    }

    /// C4: where the deadline of one timer moves in each round, and the others stay.
    #[test]
    fn the_nodes_of_a_kept_timer_that_is_moved_are_swept_out() {
        let mut timers = Timers::default();
        let idle: Vec<TimerKey> = (0..1_000).map(|n| timers.keep(n)).collect();
        let moved = timers.keep(1_000);
        for n in 0..1_000 {
            assert!(timers.start(moved, 10_000 - n));
            timers.begin_round();
            timers.verify();
            assert!(timers.nodes() <= 2 + SLACK);
        }
        assert_eq!((timers.len(), timers.next_ns()), (1, Some(9_001)));
        assert!(idle.into_iter().all(|key| !timers.stop(key)));
    }

    /// What is armed and cancelled in one round leaves no node, whichever it is.
    #[test]
    fn a_new_timer_that_is_cancelled_leaves_nothing_and_the_others_keep_their_places() {
        for first in 0..3 {
            let mut timers = Timers::default();
            timers.arm(9, "old");
            timers.begin_round();
            let keys = [5, 4, 5].map(|deadline| timers.arm(deadline, "new"));
            for (n, at) in [first, (first + 1) % 3].into_iter().enumerate() {
                assert_eq!(timers.cancel(keys[at]), Some("new"));
                assert_eq!(timers.nodes(), 3 - n);
                timers.verify();
            }
            timers.begin_round();
            assert_eq!(fire_all(&mut timers, 9), ["new", "old"]);
            timers.verify();
        }
    }

    /// R126.
    #[test]
    fn a_heap_whose_nodes_go_into_a_burst_gives_its_memory_back() {
        let mut timers = Timers::default();
        for n in 0..10_000 {
            timers.arm(n, n);
            timers.begin_round();
        }
        for n in 0..10_100 {
            timers.arm(n, n);
        }
        timers.begin_round();
        timers.verify();
        assert_eq!(timers.sorted.list.len(), 20_100);
        assert!(timers.heap.list.capacity() <= MIN_CAPACITY);
    }

    /// R126.
    #[test]
    fn the_memory_of_a_burst_of_timers_is_given_back() {
        let fired = |timers: &mut Timers<u64>| {
            timers.begin_round();
            while timers.pop_due(100_000).is_some() {}
        };
        let cancelled = |timers: &mut Timers<u64>| while timers.pop_any().is_some() {};
        let settled = |timers: &mut Timers<u64>| {
            timers.begin_round();
            while timers.pop_any().is_some() {}
        };
        let empties = [fired as fn(&mut Timers<u64>), cancelled, settled];
        for (empty, in_heap) in empties
            .map(|empty| [(empty, false), (empty, true)])
            .concat()
        {
            let mut timers = Timers::default();
            for n in 0..100_000 {
                timers.arm(n % 1_000, n);
                if in_heap {
                    timers.begin_round();
                }
            }
            empty(&mut timers);
            for n in 0..10 {
                timers.arm(n, n);
                timers.arm(n, n);
                fired(&mut timers);
            }
            timers.verify();
            for list in [&timers.heap.list, &timers.sorted.list, &timers.unsorted] {
                assert!(list.capacity() <= 2 * MIN_CAPACITY);
            }
            assert!(timers.entries.slots() <= 2 * MIN_CAPACITY);
        }
    }
}
