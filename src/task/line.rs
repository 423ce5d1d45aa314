//! A line of waiters, first come first served: each is granted what it waits for, in its turn.
//!
//! The list in `waiters.rs` wakes, and those who were woken look whether there is something for
//! them; so a newcomer may be faster, and a wake given to one who leaves is lost to all. Here the
//! grant lies at the waiter's place until it is fetched, so nobody can take it; and who leaves
//! with a grant that was not fetched hands it back, for the next (R089).
//!
//! Under all of `sync`. asyncio's locks and queues have a deque of futures each for this.

use crate::base::slab::{Slab, SlabKey};
use crate::event_loop::panics::{Payload, catch, drop_quietly};
use crate::event_loop::{Origin, current};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Poll, Waker};

struct Node<W, G> {
    /// The how-manieth to come this is.
    ticket: u64,
    /// What it wants, and whom to wake; until it is granted something.
    waits: Option<(W, Waker)>,
    /// What it was granted; until it fetches that.
    grant: Option<G>,
}

struct List<W, G> {
    nodes: Slab<Node<W, G>>,
    /// Those who wait, oldest first; and some who have left, whose keys find nothing.
    order: VecDeque<SlabKey>,
    /// How many wait: those who were granted something do not.
    waiting: usize,
    tickets: u64,
}

impl<W, G> List<W, G> {
    fn waits(&self, place: SlabKey) -> bool {
        self.nodes
            .get(place)
            .is_some_and(|node| node.waits.is_some())
    }

    /// The first who waits.
    fn first(&mut self) -> Option<SlabKey> {
        loop {
            let place = *self.order.front()?;
            if self.waits(place) {
                return Some(place);
            }
            self.order.pop_front();
        }
    }
}

/// A line of waiters. Each wants a `W`, and is granted a `G`.
pub(crate) struct Line<W = (), G = ()> {
    list: RefCell<List<W, G>>,
}

/// A place in the line. Whoever has one fetches its grant, or leaves.
#[derive(Debug)]
pub(crate) struct Place(SlabKey);

/// What one who left had at its place.
pub(crate) enum Left<W, G> {
    /// It was waiting. The waker is somebody else's and may come back when it is dropped, so
    /// that is left for when everything else is in order.
    Waiting(W, #[allow(dead_code)] Waker),
    /// It had been granted this, which belongs to whoever is next.
    Granted(G),
}

impl<W, G> Default for Line<W, G> {
    fn default() -> Self {
        Self {
            list: RefCell::new(List {
                nodes: Slab::default(),
                order: VecDeque::new(),
                waiting: 0,
                tickets: 0,
            }),
        }
    }
}

impl<W, G> Line<W, G> {
    /// Takes a place at the end. The waker comes as a clone: to clone it is somebody else's
    /// code, after which the caller has to look once more whether it needs to wait (L8).
    pub(crate) fn join(&self, want: W, waker: Waker) -> Place {
        let mut list = self.list.borrow_mut();
        let ticket = list.tickets;
        list.tickets += 1;
        list.waiting += 1;
        let place = list.nodes.insert(Node {
            ticket,
            waits: Some((want, waker)),
            grant: None,
        });
        list.order.push_back(place);
        // Those who leave stay in the order until their turn; it must not grow by them.
        if list.order.len() > 2 * list.waiting + 8 {
            let mut order = std::mem::take(&mut list.order);
            order.retain(|&place| list.waits(place));
            list.order = order;
        }
        Place(place)
    }

    /// Fetches what was granted at `place`, which is given up then; or waits on, with `waker`.
    pub(crate) fn poll(&self, place: &mut Option<Place>, waker: &Waker) -> Poll<G> {
        let key = place.as_ref().expect("only who has a place polls it").0;
        match self.list.borrow().nodes.get(key).map(|node| &node.waits) {
            Some(Some((_, kept))) if kept.will_wake(waker) => return Poll::Pending,
            _ => {}
        }
        // Cloned before the borrow, and what it replaces dropped after it (L8).
        let mut waker = waker.clone();
        let mut list = self.list.borrow_mut();
        let node = list.nodes.get_mut(key).expect("a place keeps its node");
        if let Some((_, kept)) = &mut node.waits {
            std::mem::swap(kept, &mut waker);
            drop(list);
            return Poll::Pending;
        }
        let grant = node.grant.take();
        list.nodes.remove(key);
        *place = None;
        Poll::Ready(grant.expect("who does not wait was granted something"))
    }

    /// Gives a place up. What was at it, the caller has to see to.
    #[must_use = "a grant that was not fetched belongs to the next"]
    pub(crate) fn leave(&self, place: Place) -> Left<W, G> {
        let mut list = self.list.borrow_mut();
        let node = list.nodes.remove(place.0);
        let node = node.expect("a place keeps its node");
        match node.waits {
            Some((want, waker)) => {
                list.waiting -= 1;
                Left::Waiting(want, waker)
            }
            None => Left::Granted(node.grant.expect("or it was granted something")),
        }
    }

    /// Grants the first who waits what `give` makes of what it wants, if that `fits`; returns
    /// its waker, to be woken when the caller's own things are in order. Both are called under
    /// the borrow, so they are the crate's own code and call nobody (L8).
    #[must_use = "whoever was granted something has to be woken"]
    pub(crate) fn grant_if(
        &self,
        fits: impl FnOnce(&W) -> bool,
        give: impl FnOnce(W) -> G,
    ) -> Option<Waker> {
        self.grant_before(u64::MAX, fits, give)
    }

    /// The same, but only to one who came before that [`ticket`](Line::ticket).
    #[must_use = "whoever was granted something has to be woken"]
    pub(crate) fn grant_before(
        &self,
        ticket: u64,
        fits: impl FnOnce(&W) -> bool,
        give: impl FnOnce(W) -> G,
    ) -> Option<Waker> {
        let mut list = self.list.borrow_mut();
        let place = list.first()?;
        let node = list.nodes.get_mut(place)?;
        if node.ticket >= ticket || !node.waits.as_ref().is_some_and(|(want, _)| fits(want)) {
            return None;
        }
        let (want, waker) = node.waits.take()?;
        node.grant = Some(give(want));
        list.order.pop_front();
        list.waiting -= 1;
        Some(waker)
    }

    /// Grants all who wait now, and wakes them; not those who come meanwhile.
    pub(crate) fn grant_all(&self, give: impl Fn() -> G) {
        let ticket = self.ticket();
        let mut wakes = Wakes::default();
        while let Some(waker) = self.grant_before(ticket, |_| true, |_| give()) {
            wakes.wake(waker);
        }
        wakes.tell();
    }

    /// What the next to come will have: everybody who waits now has a lower one.
    pub(crate) fn ticket(&self) -> u64 {
        self.list.borrow().tickets
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.list.borrow().waiting
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Wakes several, one after the other: one whose waker panics does not keep the others asleep
/// (R057).
#[derive(Default)]
#[must_use = "a panic has to be told"]
pub(crate) struct Wakes {
    panic: Option<Payload>,
}

impl Wakes {
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.guard(|| waker.wake());
    }

    /// For whatever else has to be done before the next is woken.
    pub(crate) fn guard(&mut self, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            match self.panic {
                None => self.panic = Some(payload),
                Some(_) => drop_quietly(payload),
            }
        }
    }

    /// Tells of the first panic. It is not that of the one who gave something back, whose own
    /// value must not be lost by it: so it is the loop's, with its policy. Where there is no loop
    /// the panic hook has told of it, and that is all.
    pub(crate) fn tell(self) {
        let Some(payload) = self.panic else { return };
        let mut payload = Some(payload);
        current::with(|local| {
            payload
                .take()
                .map(|payload| local.note_panic(payload, Origin::Other))
        });
        drop_quietly(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn grant(line: &Line<u8, u8>) -> bool {
        let waker = line.grant_if(|_| true, |want| want * 10);
        waker.map(Waker::wake).is_some()
    }

    #[test]
    fn a_grant_lies_at_its_place_until_it_is_fetched_or_handed_back() {
        let line = Line::default();
        let (woken, waker) = waker();
        let mut places: Vec<_> = (1..4).map(|n| Some(line.join(n, waker.clone()))).collect();
        assert!(grant(&line));
        assert_eq!((woken.0.load(Ordering::Relaxed), line.len()), (1, 2));
        assert_eq!(line.poll(&mut places[1], &waker), Poll::Pending);
        assert_eq!(line.poll(&mut places[0], &waker), Poll::Ready(10));
        assert!(places[0].is_none());
        assert!(grant(&line));
        let left = line.leave(places[1].take().unwrap());
        assert!(matches!(left, Left::Granted(20)));
        let left = line.leave(places[2].take().unwrap());
        assert!(matches!(left, Left::Waiting(3, _)));
        assert!(!grant(&line) && line.is_empty());
    }

    #[test]
    fn whoever_does_not_fit_keeps_those_behind_waiting() {
        let line = Line::<u8, u8>::default();
        let places = [5, 1].map(|want| line.join(want, Waker::noop().clone()));
        let fits = |room: u8| line.grant_if(|&want| want <= room, |want| want);
        assert!(fits(4).is_none());
        assert!(fits(5).is_some() && fits(1).is_some());
        for place in places {
            assert!(matches!(line.leave(place), Left::Granted(_)));
        }
    }

    #[test]
    fn whoever_came_later_is_not_granted_what_was_for_those_before() {
        let line = Line::<u8, u8>::default();
        let first = line.join(1, Waker::noop().clone());
        let ticket = line.ticket();
        let second = line.join(2, Waker::noop().clone());
        let all = |ticket| line.grant_before(ticket, |_| true, |want| want);
        assert!(all(ticket).is_some() && all(ticket).is_none());
        assert!(matches!(line.leave(first), Left::Granted(1)));
        assert!(matches!(line.leave(second), Left::Waiting(2, _)));
    }

    #[test]
    fn waiters_that_come_and_go_leave_no_trace() {
        let line = Line::<u8, u8>::default();
        let _stays = line.join(0, Waker::noop().clone());
        for n in 0..200 {
            assert!(matches!(
                line.leave(line.join(n, Waker::noop().clone())),
                Left::Waiting(..)
            ));
        }
        let list = line.list.borrow();
        assert_eq!((list.nodes.len(), list.waiting), (1, 1));
        assert!(list.order.len() < 16);
    }

    #[test]
    fn a_waker_that_panics_does_not_keep_the_next_asleep() {
        struct Hostile;
        impl Wake for Hostile {
            fn wake(self: Arc<Self>) {
                panic!("hostile");
            }
        }
        let (woken, waker) = waker();
        let mut wakes = Wakes::default();
        wakes.wake(Waker::from(Arc::new(Hostile)));
        wakes.wake(waker);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        wakes.tell();
    }
}
