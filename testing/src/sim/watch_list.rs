//! The registrations of a poller with the rules of epoll, and the ready list of a poller or a kqueue.
//!
//! A registration is a file under a number. The ready list has the registrations that may be ready, in the
//! order of their events; `poller.rs` goes through it. A removed registration may be anywhere in the list,
//! and a linear search for each of ten thousand would take a hundred million steps. So the list is two
//! maps, from positions to names and back, and each operation takes logarithmic time.
//!
//! In the notes this is a part of the selector (N2).

use super::open_files::bits;
use super::table::Table;
use crate::rng::Rng;
use readily::{Interest, Readiness, Trigger};
use std::collections::BTreeMap;

/// The name of a registration: its number, and the file to which the number referred.
pub(super) type Name = (i32, u64);

pub(super) struct Item {
    pub(super) token: u64,
    /// The bits of interest; zero for a one-shot that has been reported.
    pub(super) events: u16,
    pub(super) trigger: Trigger,
}

/// The registrations of one poller, and its ready list.
#[derive(Default)]
pub(super) struct WatchList {
    pub(super) items: BTreeMap<Name, Item>,
    /// The registrations that may be ready, in the order of their events.
    pub(super) ready: ReadyList<Name>,
}

impl WatchList {
    /// Puts a registration into the ready list if it has interest in one of `bits`.
    pub(super) fn wake(&mut self, name: Name, bits: u16) {
        if self
            .items
            .get(&name)
            .is_some_and(|item| item.events & bits != 0)
        {
            self.ready.push_back(name);
        }
    }

    /// Removes a registration, also from the ready list: the same number may refer to the same file
    /// again later.
    pub(super) fn remove(&mut self, name: Name) -> Option<()> {
        self.items.remove(&name)?;
        self.ready.remove(name);
        Some(())
    }
}

impl Table {
    /// Wakes all watchers of `file` after a change of one of `bits`.
    pub(super) fn wake(&mut self, file: u64, bits: u16) {
        let Some(open) = self.files.get(&file) else {
            return;
        };
        for &(poller, number) in &open.watchers {
            self.watch_lists[poller].wake((number, file), bits);
        }
        if bits & !bits::OUT != 0 {
            self.run_filters(file, false);
        }
        if bits & (bits::OUT | bits::ALWAYS) != 0 {
            self.run_filters(file, true);
        }
    }

    /// [`wake`](Self::wake) for a shutdown: watchers of epoll are woken for all bits, filters of a kqueue
    /// only for their own direction.
    pub(super) fn wake_shutdown(&mut self, file: u64, reads: bool, writes: bool) {
        let Some(open) = self.files.get(&file) else {
            return;
        };
        for &(poller, number) in &open.watchers {
            self.watch_lists[poller].wake((number, file), bits::ALL);
        }
        for (shut, direction) in [(reads, false), (writes, true)] {
            if shut {
                self.run_filters(file, direction);
            }
        }
    }
}

/// Converts an interest into bits. Only an interest in reading includes the half-close: a level-triggered
/// writer would get a report of it in each wait.
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
        .fold(bits::ALWAYS, |all, one| all | one)
}

/// Converts bits into readiness, as the epoll poller does.
pub(super) fn from_epoll(bits: u16) -> Readiness {
    let closed =
        Readiness::READ | Readiness::WRITE | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
    let meaning = [
        (bits::IN, Readiness::READ),
        (bits::PRI, Readiness::PRIORITY),
        (bits::OUT, Readiness::WRITE),
        (bits::RDHUP, Readiness::READ | Readiness::READ_CLOSED),
        (bits::HUP, closed),
        (
            bits::ERR,
            Readiness::READ | Readiness::WRITE | Readiness::ERROR,
        ),
    ];
    let facts = meaning.iter().filter(|(bit, _)| bits & bit != 0);
    facts.fold(Readiness::NONE, |all, &(_, facts)| all | facts)
}

/// A queue of names, each at most once, from which any name can be removed.
pub(super) struct ReadyList<N> {
    order: BTreeMap<u64, N>,
    positions: BTreeMap<N, u64>,
    /// The position of the next name.
    next: u64,
}

impl<N> Default for ReadyList<N> {
    fn default() -> Self {
        Self {
            order: BTreeMap::new(),
            positions: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<N: Copy + Ord> ReadyList<N> {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Adds `name` at the end, unless the list has it.
    pub(super) fn push_back(&mut self, name: N) {
        if !self.positions.contains_key(&name) {
            self.positions.insert(name, self.next);
            self.order.insert(self.next, name);
            self.next += 1;
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<N> {
        let (_, name) = self.order.pop_first()?;
        self.positions.remove(&name);
        Some(name)
    }

    /// Removes `name` from any position, if the list has it.
    pub(super) fn remove(&mut self, name: N) {
        if let Some(position) = self.positions.remove(&name) {
            self.order.remove(&position);
        }
    }

    /// Shuffles the names.
    pub(super) fn shuffle(&mut self, rng: &mut Rng) {
        let mut names: Vec<N> = self.order.values().copied().collect();
        rng.shuffle(&mut names);
        for (slot, name) in self.order.values_mut().zip(names) {
            *slot = name;
        }
        for (&position, &name) in &self.order {
            self.positions.insert(name, position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    #[test]
    fn names_come_in_order_and_once_and_removed_names_do_not_come() {
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

    /// A name that counts its comparisons.
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
    fn a_removal_from_any_position_takes_few_steps() {
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
