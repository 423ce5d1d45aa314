//! What a poller with epoll's rules watches: a file under a number, and the list of registrations that may
//! be ready, in the order in which they became so.
//!
//! Plain data and two translations, of interest and of reports; `poller.rs` goes through the list. A
//! removed registration may be anywhere in it, and with ten thousand ready descriptors a walk for each would
//! cost a hundred million steps. So the order and the places are two maps, and each operation takes a number
//! of steps that grows with the logarithm of the length.
//!
//! In the kernel it is the ready list of an epoll instance, or of a kqueue (N2).

use super::open_files::bits;
use super::table::Table;
use crate::rng::Rng;
use readily::{Interest, Readiness, Trigger};
use std::collections::BTreeMap;

/// A registration's name: a number, and the file that it led to.
pub(super) type Name = (i32, u64);

pub(super) struct Item {
    pub(super) token: u64,
    /// What it wants to hear; nothing when it is a one-shot that has been reported.
    pub(super) events: u16,
    pub(super) trigger: Trigger,
}

/// What one poller watches.
#[derive(Default)]
pub(super) struct WatchList {
    pub(super) items: BTreeMap<Name, Item>,
    /// Those who may be ready, in the order in which that came about.
    pub(super) list: ReadyList<Name>,
}

impl WatchList {
    /// Something of `bits` may have come about.
    pub(super) fn wake(&mut self, name: Name, bits: u16) {
        if self
            .items
            .get(&name)
            .is_some_and(|item| item.events & bits != 0)
        {
            self.list.push_back(name);
        }
    }

    /// Takes a registration out, from the list too: the same number may lead to the same file
    /// again.
    pub(super) fn forget(&mut self, name: Name) -> Option<()> {
        self.items.remove(&name)?;
        self.list.remove(name);
        Some(())
    }
}

impl Table {
    /// Notifies all watchers of `file` that something of `bits` may have changed.
    pub(super) fn wake(&mut self, file: u64, bits: u16) {
        let Some(open) = self.files.get(&file) else {
            return;
        };
        for &(poller, number) in &open.watchers {
            self.watches[poller].wake((number, file), bits);
        }
        if bits & !bits::OUT != 0 {
            self.touch(file, false);
        }
        if bits & (bits::OUT | bits::UNASKED) != 0 {
            self.touch(file, true);
        }
    }

    /// The same for a shutdown: epoll's watchers are notified of all facts, a kqueue's filters of
    /// their own direction only.
    pub(super) fn wake_shut(&mut self, file: u64, reads: bool, writes: bool) {
        let Some(open) = self.files.get(&file) else {
            return;
        };
        for &(poller, number) in &open.watchers {
            self.watches[poller].wake((number, file), bits::ALL);
        }
        for (shut, direction) in [(reads, false), (writes, true)] {
            if shut {
                self.touch(file, direction);
            }
        }
    }
}

/// What an interest asks of the kernel. A half-close is told to readers only: by the level it
/// would be told a writer for ever.
pub(super) fn to_epoll(interest: Interest) -> u16 {
    let pairs = [
        (Interest::READ, bits::IN | bits::RDHUP),
        (Interest::WRITE, bits::OUT),
        (Interest::PRIORITY, bits::PRI),
    ];
    let of = |(one, bits)| if interest.contains(one) { bits } else { 0 };
    pairs
        .map(of)
        .iter()
        .fold(bits::UNASKED, |all, one| all | one)
}

/// The kernel's bits in our six facts, as with epoll.
pub(super) fn from_epoll(said: u16) -> Readiness {
    let gone =
        Readiness::READ | Readiness::WRITE | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
    let meaning = [
        (bits::IN, Readiness::READ),
        (bits::PRI, Readiness::PRIORITY),
        (bits::OUT, Readiness::WRITE),
        (bits::RDHUP, Readiness::READ | Readiness::READ_CLOSED),
        (bits::HUP, gone),
        (
            bits::ERR,
            Readiness::READ | Readiness::WRITE | Readiness::ERROR,
        ),
    ];
    let said = meaning.iter().filter(|(bit, _)| said & bit != 0);
    said.fold(Readiness::NONE, |all, &(_, facts)| all | facts)
}

pub(super) struct ReadyList<N> {
    order: BTreeMap<u64, N>,
    places: BTreeMap<N, u64>,
    /// The place of the next one that is added.
    next: u64,
}

impl<N> Default for ReadyList<N> {
    fn default() -> Self {
        Self {
            order: BTreeMap::new(),
            places: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<N: Copy + Ord> ReadyList<N> {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Adds `name` at the end, unless it is in the list.
    pub(super) fn push_back(&mut self, name: N) {
        if !self.places.contains_key(&name) {
            self.places.insert(name, self.next);
            self.order.insert(self.next, name);
            self.next += 1;
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<N> {
        let (_, name) = self.order.pop_first()?;
        self.places.remove(&name);
        Some(name)
    }

    /// Takes `name` out, wherever it stands, if it is there.
    pub(super) fn remove(&mut self, name: N) {
        if let Some(place) = self.places.remove(&name) {
            self.order.remove(&place);
        }
    }

    /// Brings all of them into another order.
    pub(super) fn shuffle(&mut self, rng: &mut Rng) {
        let mut names: Vec<N> = self.order.values().copied().collect();
        rng.shuffle(&mut names);
        for (place, name) in self.order.values_mut().zip(names) {
            *place = name;
        }
        for (&place, &name) in &self.order {
            self.places.insert(name, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    #[test]
    fn names_come_in_their_order_once_and_what_is_removed_does_not_come() {
        let mut list = ReadyList::default();
        [3, 1, 2, 1, 4]
            .into_iter()
            .for_each(|name| list.push_back(name));
        assert_eq!(list.len(), 4);
        list.remove(2);
        list.remove(7);
        assert_eq!(list.pop_front(), Some(3));
        list.push_back(3);
        let rest: Vec<i32> = std::iter::from_fn(|| list.pop_front()).collect();
        assert_eq!(rest, [1, 4, 3]);
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn a_shuffled_list_has_the_same_names_and_each_can_be_removed() {
        let mut list = ReadyList::default();
        (0..100).for_each(|name| list.push_back(name));
        list.shuffle(&mut Rng::seeded(3));
        (0..50).for_each(|name| list.remove(name));
        let rest: Vec<i32> = std::iter::from_fn(|| list.pop_front()).collect();
        assert!(!rest.is_sorted());
        let mut sorted = rest.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (50..100).collect::<Vec<i32>>());
    }

    /// A name that counts how often it is compared.
    #[derive(Clone, Copy)]
    struct Counted(u32);

    thread_local! {
        static COMPARED: Cell<u32> = const { Cell::new(0) };
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    #[test]
    fn to_remove_ten_thousand_from_anywhere_takes_few_steps_for_each() {
        let mut list = ReadyList::default();
        (0..10_000).for_each(|name| list.push_back(Counted(name)));
        COMPARED.set(0);
        (0..10_000)
            .rev()
            .for_each(|name| list.remove(Counted(name)));
        let compared = COMPARED.get();
        assert!(compared < 100 * 10_000, "{compared}");
    }
}
