//! What a poller watches: a file under a number, on the list of those who may be ready or not.
//!
//! Plain data and two translations, of what is asked and of what is reported; who goes through
//! the list, and when, is in `poller.rs`.

use super::files::bits;
use super::list::List;
use super::table::Table;
use readily::poll::{Interest, Readiness, Trigger};
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
pub(super) struct Watch {
    pub(super) items: BTreeMap<Name, Item>,
    /// Those who may be ready, in the order in which that came about.
    pub(super) list: List<Name>,
}

impl Watch {
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
pub(super) fn asked(interest: Interest) -> u16 {
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
pub(super) fn reported(said: u16) -> Readiness {
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
