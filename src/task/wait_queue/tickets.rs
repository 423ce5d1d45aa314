//! The tickets of a wait queue, in the order of their numbers, each waiting or granted.
//!
//! Most wait queues hold exactly one waiter, which is stored inline and costs no allocation and no
//! search. Tickets that come while the inline node is taken are pushed to a ring buffer. A ticket
//! is found by its number: its offset from the front of the ring is the difference of the numbers,
//! or less where some have left, in which case the ring is searched.
//!
//! This is the part of `wait_queue.rs` that knows no waker and no borrow. asyncio has a deque of futures,
//! and walks it.

use crate::base::shrink;
use std::collections::VecDeque;
use std::num::NonZeroU64;

/// The state of a ticket.
pub(super) enum TicketState<W, G> {
    /// Nothing: the waiter has taken its grant, or has left.
    Empty,
    /// Waiting, with what the waiter wants.
    Waiting(W),
    /// Granted, until the waiter takes the grant.
    Granted(G),
}

struct Node<W, G> {
    number: NonZeroU64,
    state: TicketState<W, G>,
}

pub(super) struct Tickets<W, G> {
    /// The waiter that came when the queue was empty. It is before all of the others.
    inline: Node<W, G>,
    /// The other waiters. Allocated with the second waiter: a queue of one is smaller without it.
    overflow: Option<Box<Overflow<W, G>>>,
    /// The number of the next ticket: all present ones have lower numbers.
    next: NonZeroU64,
}

struct Overflow<W, G> {
    /// The nodes in the order of their numbers; the first one is not empty.
    nodes: VecDeque<Node<W, G>>,
    /// The number of nodes at the front that do not wait, so that no search walks over them again.
    first_waiting: usize,
    /// The number of nodes that are not empty.
    live: usize,
}

impl<W, G> Default for Tickets<W, G> {
    fn default() -> Self {
        Self {
            inline: Node {
                number: NonZeroU64::MAX,
                state: TicketState::Empty,
            },
            overflow: None,
            next: NonZeroU64::MIN,
        }
    }
}

impl<W, G> Tickets<W, G> {
    #[inline]
    pub(super) fn next(&self) -> NonZeroU64 {
        self.next
    }

    /// Adds a waiter at the end and returns its number.
    #[inline]
    pub(super) fn enqueue(&mut self, want: W) -> NonZeroU64 {
        let number = self.next;
        // Centuries pass before the last number is reached.
        self.next = number.saturating_add(1);
        let state = TicketState::Waiting(want);
        let node = Node { number, state };
        let overflow = self.overflow.as_deref();
        // Q2: no waiter may stand before those that have come already.
        if matches!(self.inline.state, TicketState::Empty)
            && overflow.is_none_or(Overflow::is_empty)
        {
            self.inline = node;
        } else {
            self.overflow.get_or_insert_default().push(node);
        }
        number
    }

    /// The state of a ticket whose waiter has not left.
    #[inline]
    pub(super) fn at(&mut self, number: NonZeroU64) -> &mut TicketState<W, G> {
        if self.inline.number == number {
            return &mut self.inline.state;
        }
        let node = self
            .overflow
            .as_mut()
            .and_then(|overflow| overflow.node(number));
        &mut node.expect("a ticket keeps its node").state
    }

    /// Takes the grant and gives the ticket up; `None` if nothing was granted.
    #[inline]
    pub(super) fn take_grant(&mut self, number: NonZeroU64) -> Option<G> {
        let state = self.at(number);
        // Checked before it is taken: that is cheaper than taking it and checking.
        if !matches!(state, TicketState::Granted(_)) {
            return None;
        }
        let TicketState::Granted(grant) = std::mem::replace(state, TicketState::Empty) else {
            return None;
        };
        if self.inline.number != number {
            self.overflow.as_mut().expect("it was there").tidy();
        }
        Some(grant)
    }

    /// Gives a ticket up and returns its state.
    #[inline]
    pub(super) fn remove(&mut self, number: NonZeroU64) -> TicketState<W, G> {
        let state = std::mem::replace(self.at(number), TicketState::Empty);
        if self.inline.number != number {
            self.overflow.as_mut().expect("it was there").tidy();
        }
        state
    }

    /// Grants the first waiter what `give` makes of its want; returns its number and the rest. Does
    /// nothing if the waiter's number is not below `before`, or if the want does not fit.
    #[inline]
    pub(super) fn grant<R>(
        &mut self,
        before: u64,
        fits: impl FnOnce(&W) -> bool,
        give: impl FnOnce(W) -> (G, R),
    ) -> Option<(NonZeroU64, R)> {
        let node = self.first()?;
        match &node.state {
            TicketState::Waiting(want) if node.number.get() < before && fits(want) => {}
            _ => return None,
        }
        let number = node.number;
        let rest = node.grant(give)?;
        Some((number, rest))
    }

    #[inline]
    fn first(&mut self) -> Option<&mut Node<W, G>> {
        match self.inline.state {
            TicketState::Waiting(_) => Some(&mut self.inline),
            _ => self.overflow.as_mut()?.first(),
        }
    }

    /// The number of the first waiter, and what it wants.
    pub(super) fn first_waiting(&mut self) -> Option<(NonZeroU64, &mut W)> {
        let node = self.first()?;
        match &mut node.state {
            TicketState::Waiting(want) => Some((node.number, want)),
            TicketState::Granted(_) | TicketState::Empty => None,
        }
    }

    /// Grants this ticket what `give` makes of its want, if it still waits.
    pub(super) fn grant_at<R>(
        &mut self,
        number: NonZeroU64,
        give: impl FnOnce(W) -> (G, R),
    ) -> Option<R> {
        let node = match self.inline.number == number {
            true => &mut self.inline,
            false => self.overflow.as_mut()?.node(number)?,
        };
        node.grant(give)
    }
}

impl<W, G> Node<W, G> {
    /// Replaces a want by the grant that `give` makes of it, if the node waits.
    #[inline]
    fn grant<R>(&mut self, give: impl FnOnce(W) -> (G, R)) -> Option<R> {
        match std::mem::replace(&mut self.state, TicketState::Empty) {
            TicketState::Waiting(want) => {
                let (grant, rest) = give(want);
                self.state = TicketState::Granted(grant);
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
            // Growth by a quarter and not to the double: with many thousands waiting for one event
            // each takes 36 bytes on average instead of 48.
            self.nodes.reserve_exact(len / 4 + 4);
        }
        self.live += 1;
        self.nodes.push_back(node);
    }

    fn node(&mut self, number: NonZeroU64) -> Option<&mut Node<W, G>> {
        let first = self.nodes.front().map_or(0, |node| node.number.get());
        let guess = number.get().wrapping_sub(first) as usize;
        let is_asked = |node: &Node<W, G>| node.number == number;
        let index = match self.nodes.get(guess).is_some_and(is_asked) {
            true => guess,
            false => self
                .nodes
                .binary_search_by_key(&number, |node| node.number)
                .ok()?,
        };
        self.nodes.get_mut(index)
    }

    /// Cleans up after one node has become empty.
    fn tidy(&mut self) {
        self.live -= 1;
        // Empty nodes stay until they reach the front; they must not make the ring large.
        if self.nodes.len() > 2 * self.live + 8 {
            self.nodes
                .retain(|node| !matches!(node.state, TicketState::Empty));
            self.first_waiting = 0;
        }
        self.tidy_front();
        shrink::shrink(&mut self.nodes); // Shrink after a burst (R126).
    }

    fn tidy_front(&mut self) {
        while let Some(node) = self.nodes.front() {
            if !matches!(node.state, TicketState::Empty) {
                break;
            }
            self.nodes.pop_front();
            self.first_waiting = self.first_waiting.saturating_sub(1);
        }
    }

    /// The first waiting node.
    fn first(&mut self) -> Option<&mut Node<W, G>> {
        loop {
            let node = self.nodes.get(self.first_waiting)?;
            if matches!(node.state, TicketState::Waiting(_)) {
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

    type Queue = Tickets<u8, u8>;

    fn grant(queue: &mut Queue) -> Option<u8> {
        let granted = queue.grant(u64::MAX, |_| true, |want| (want, want));
        granted.map(|(_, want)| want)
    }

    #[test]
    fn waiters_that_come_and_go_leave_no_trace() {
        let mut queue = Queue::default();
        let _stays = [queue.enqueue(0), queue.enqueue(0)];
        for n in 0..200 {
            let number = queue.enqueue(n);
            assert!(matches!(queue.remove(number), TicketState::Waiting(m) if m == n));
        }
        let overflow = queue.overflow.as_ref().unwrap();
        assert_eq!(overflow.live, 1);
        assert!(overflow.nodes.len() < 16);
    }

    #[test]
    fn a_single_waiter_needs_no_room() {
        let mut queue = Queue::default();
        for n in 0..3 {
            let number = queue.enqueue(n);
            assert_eq!(grant(&mut queue), Some(n));
            assert!(matches!(queue.remove(number), TicketState::Granted(m) if m == n));
        }
        assert!(queue.overflow.is_none());
    }

    /// Compares with a plain list, in any order of coming, granting, taking and leaving.
    #[test]
    fn the_first_waiter_is_granted_and_each_waiter_finds_its_own_node() {
        for seed in 0..200 {
            let mut rng = Rng::seeded(seed);
            let (mut queue, mut model) = (Queue::default(), Vec::new());
            for n in 0..200_u8 {
                match rng.below(5) {
                    0 | 1 => model.push((queue.enqueue(n), n, false)),
                    2 => {
                        let first = model.iter_mut().find(|(_, _, granted)| !granted);
                        let first = first.map(|(_, want, granted)| {
                            *granted = true;
                            *want
                        });
                        assert_eq!(grant(&mut queue), first);
                    }
                    _ if model.is_empty() => {}
                    3 => {
                        let (number, want, granted) = model[rng.below(model.len())];
                        assert_eq!(queue.take_grant(number), granted.then_some(want));
                        model.retain(|&(at, _, granted)| at != number || !granted);
                    }
                    _ => {
                        let (number, want, granted) = model.remove(rng.below(model.len()));
                        match queue.remove(number) {
                            TicketState::Waiting(wanted) => {
                                assert_eq!((wanted, granted), (want, false))
                            }
                            TicketState::Granted(got) => assert_eq!((got, granted), (want, true)),
                            TicketState::Empty => panic!("it was there"),
                        }
                    }
                }
            }
        }
    }
}
