//! The places of a line, in the order of their numbers: who waits, who has been granted something.
//!
//! In nearly every line stands one, so one has a place in the line itself, and costs no allocation
//! and no search; those who come while it is taken stand in a ring behind it. A place is found by
//! its number: it stands as far behind the first of the ring as its number is higher, or less far
//! where some have left, and then it is searched for.
//!
//! What of `line.rs` knows no waker and no borrow. asyncio has a deque of futures, and walks it.

use crate::base::shrink;
use std::collections::VecDeque;
use std::num::NonZeroU64;

/// What there is at a place.
pub(super) enum State<W, G> {
    /// Nothing: who had it has fetched what he was granted, or has left.
    Empty,
    /// One who wants this.
    Waiting(W),
    /// What he was granted; until he fetches that.
    Granted(G),
}

struct Node<W, G> {
    number: NonZeroU64,
    state: State<W, G>,
}

pub(super) struct Waiters<W, G> {
    /// Who came when there was nobody. It is before all of the others.
    inline: Node<W, G>,
    /// Not before there is a second: a line in which one waits is smaller without.
    overflow: Option<Box<Overflow<W, G>>>,
    /// How many wait: those who were granted something do not.
    waiting: usize,
    /// What the next to come will have: everybody who is here has a lower one.
    next: NonZeroU64,
}

struct Overflow<W, G> {
    /// With rising numbers, and nobody gone at the front.
    nodes: VecDeque<Node<W, G>>,
    /// So many at the front do not wait, so that nobody walks over them again.
    first_waiting: usize,
    /// How many are not gone.
    live: usize,
}

impl<W, G> Default for Waiters<W, G> {
    fn default() -> Self {
        Self {
            inline: Node {
                number: NonZeroU64::MAX,
                state: State::Empty,
            },
            overflow: None,
            waiting: 0,
            next: NonZeroU64::MIN,
        }
    }
}

impl<W, G> Waiters<W, G> {
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    #[inline]
    pub(super) fn next(&self) -> NonZeroU64 {
        self.next
    }

    /// A place at the end, and its number.
    #[inline]
    pub(super) fn enqueue(&mut self, want: W) -> NonZeroU64 {
        let number = self.next;
        // It would take centuries to come to the last.
        self.next = number.saturating_add(1);
        self.waiting += 1;
        let state = State::Waiting(want);
        let node = Node { number, state };
        let behind = self.overflow.as_deref();
        // Q2: nobody may stand before those who have come already.
        if matches!(self.inline.state, State::Empty) && behind.is_none_or(Overflow::is_empty) {
            self.inline = node;
        } else {
            self.overflow.get_or_insert_default().push(node);
        }
        number
    }

    /// What there is at a place that nobody has left.
    #[inline]
    pub(super) fn at(&mut self, number: NonZeroU64) -> &mut State<W, G> {
        if self.inline.number == number {
            return &mut self.inline.state;
        }
        let node = self
            .overflow
            .as_mut()
            .and_then(|behind| behind.node(number));
        &mut node.expect("a place keeps its node").state
    }

    /// Gives a place up if something was granted there, and returns that.
    #[inline]
    pub(super) fn take_grant(&mut self, number: NonZeroU64) -> Option<G> {
        let state = self.at(number);
        // Looked at first, and then taken: to take it and look costs 25 instructions more.
        if !matches!(state, State::Granted(_)) {
            return None;
        }
        let State::Granted(grant) = std::mem::replace(state, State::Empty) else {
            return None;
        };
        if self.inline.number != number {
            self.overflow.as_mut().expect("it was there").tidy();
        }
        Some(grant)
    }

    /// Gives a place up, and what there was.
    #[inline]
    pub(super) fn remove(&mut self, number: NonZeroU64) -> State<W, G> {
        let state = std::mem::replace(self.at(number), State::Empty);
        if matches!(state, State::Waiting(_)) {
            self.waiting -= 1;
        }
        if self.inline.number != number {
            self.overflow.as_mut().expect("it was there").tidy();
        }
        state
    }

    /// Grants the first waiter what `give` makes of its want, and returns its number and what is
    /// left; does nothing if its number is too high, or if the grant does not fit.
    #[inline]
    pub(super) fn grant<R>(
        &mut self,
        before: u64,
        fits: impl FnOnce(&W) -> bool,
        give: impl FnOnce(W) -> (G, R),
    ) -> Option<(NonZeroU64, R)> {
        let node = self.first()?;
        match &node.state {
            State::Waiting(want) if node.number.get() < before && fits(want) => {}
            _ => return None,
        }
        let number = node.number;
        let rest = node.grant(give)?;
        self.waiting -= 1;
        Some((number, rest))
    }

    #[inline]
    fn first(&mut self) -> Option<&mut Node<W, G>> {
        if self.waiting == 0 {
            return None;
        }
        match self.inline.state {
            State::Waiting(_) => Some(&mut self.inline),
            _ => self.overflow.as_mut()?.first(),
        }
    }

    /// Returns what the first waiter wants, and its number.
    pub(super) fn first_waiting(&mut self) -> Option<(NonZeroU64, &mut W)> {
        let node = self.first()?;
        match &mut node.state {
            State::Waiting(want) => Some((node.number, want)),
            State::Granted(_) | State::Empty => None,
        }
    }

    /// Grants the one at this place, if it is still there and waits, what `give` makes of what it wants.
    pub(super) fn grant_at<R>(
        &mut self,
        number: NonZeroU64,
        give: impl FnOnce(W) -> (G, R),
    ) -> Option<R> {
        let node = match self.inline.number == number {
            true => &mut self.inline,
            false => self.overflow.as_mut()?.node(number)?,
        };
        let rest = node.grant(give)?;
        self.waiting -= 1;
        Some(rest)
    }
}

impl<W, G> Node<W, G> {
    /// Puts what `give` makes of what it wants in the place of that, if it waits.
    #[inline]
    fn grant<R>(&mut self, give: impl FnOnce(W) -> (G, R)) -> Option<R> {
        match std::mem::replace(&mut self.state, State::Empty) {
            State::Waiting(want) => {
                let (grant, rest) = give(want);
                self.state = State::Granted(grant);
                Some(rest)
            }
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl<W, G> Default for Overflow<W, G> {
    fn default() -> Self {
        Self {
            nodes: VecDeque::new(),
            first_waiting: 0,
            live: 0,
        }
    }
}

impl<W, G> Overflow<W, G> {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn push(&mut self, node: Node<W, G>) {
        let len = self.nodes.len();
        if len == self.nodes.capacity() {
            // By a quarter and not to the double: of many thousands who wait for one event each
            // takes 36 bytes in the middle, and not 48.
            self.nodes.reserve_exact(len / 4 + 4);
        }
        self.live += 1;
        self.nodes.push_back(node);
    }

    fn node(&mut self, number: NonZeroU64) -> Option<&mut Node<W, G>> {
        let first = self.nodes.front().map_or(0, |node| node.number.get());
        let guess = number.get().wrapping_sub(first) as usize;
        let stands = |node: &Node<W, G>| node.number == number;
        let index = match self.nodes.get(guess).is_some_and(stands) {
            true => guess,
            false => self
                .nodes
                .binary_search_by_key(&number, |node| node.number)
                .ok()?,
        };
        self.nodes.get_mut(index)
    }

    /// To be called for each who goes.
    fn tidy(&mut self) {
        self.live -= 1;
        // Those who left stay until their turn; it must not be large by them.
        if self.nodes.len() > 2 * self.live + 8 {
            self.nodes
                .retain(|node| !matches!(node.state, State::Empty));
            self.first_waiting = 0;
        }
        self.tidy_front();
        shrink::shrink(&mut self.nodes); // R126
    }

    fn tidy_front(&mut self) {
        while let Some(node) = self.nodes.front() {
            if !matches!(node.state, State::Empty) {
                break;
            }
            self.nodes.pop_front();
            self.first_waiting = self.first_waiting.saturating_sub(1);
        }
    }

    /// The first who waits.
    fn first(&mut self) -> Option<&mut Node<W, G>> {
        loop {
            let node = self.nodes.get(self.first_waiting)?;
            if matches!(node.state, State::Waiting(_)) {
                return self.nodes.get_mut(self.first_waiting);
            }
            self.first_waiting += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    type Line = Waiters<u8, u8>;

    fn grant(line: &mut Line) -> Option<u8> {
        let granted = line.grant(u64::MAX, |_| true, |want| (want, want));
        granted.map(|(_, want)| want)
    }

    #[test]
    fn waiters_that_come_and_go_leave_no_trace() {
        let mut line = Line::default();
        let _stays = [line.enqueue(0), line.enqueue(0)];
        for n in 0..200 {
            let place = line.enqueue(n);
            assert!(matches!(line.remove(place), State::Waiting(m) if m == n));
        }
        let behind = line.overflow.as_ref().unwrap();
        assert_eq!((line.waiting, behind.live), (2, 1));
        assert!(behind.nodes.len() < 16);
    }

    #[test]
    fn a_single_waiter_needs_no_room() {
        let mut line = Line::default();
        for n in 0..3 {
            let place = line.enqueue(n);
            assert_eq!(grant(&mut line), Some(n));
            assert!(matches!(line.remove(place), State::Granted(m) if m == n));
        }
        assert!(line.overflow.is_none());
    }

    /// Against a plain list, in any order of coming, granting, fetching and leaving.
    #[test]
    fn the_first_waiter_is_granted_and_each_waiter_finds_its_own_node() {
        for seed in 0..200 {
            let mut rng = Rng::seeded(seed);
            let (mut line, mut model) = (Line::default(), Vec::new());
            for n in 0..200_u8 {
                match rng.below(5) {
                    0 | 1 => model.push((line.enqueue(n), n, false)),
                    2 => {
                        let first = model.iter_mut().find(|(_, _, granted)| !granted);
                        let first = first.map(|(_, want, granted)| {
                            *granted = true;
                            *want
                        });
                        assert_eq!(grant(&mut line), first);
                    }
                    _ if model.is_empty() => {}
                    3 => {
                        let (place, want, granted) = model[rng.below(model.len())];
                        assert_eq!(line.take_grant(place), granted.then_some(want));
                        model.retain(|&(at, _, granted)| at != place || !granted);
                    }
                    _ => {
                        let (place, want, granted) = model.remove(rng.below(model.len()));
                        match line.remove(place) {
                            State::Waiting(wanted) => assert_eq!((wanted, granted), (want, false)),
                            State::Granted(got) => assert_eq!((got, granted), (want, true)),
                            State::Empty => panic!("it was there"),
                        }
                    }
                }
                let waiting = model.iter().filter(|(_, _, granted)| !granted);
                assert_eq!(line.waiting(), waiting.count());
            }
        }
    }
}
