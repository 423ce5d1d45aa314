//! Frees the slots of a slab that a burst has left empty.
//!
//! A slab cannot move its entries, so it can only be cut off behind the last of them. Where
//! there are far more slots than entries, new entries go to the first half, and the second half is cut
//! off when its last entry has been removed, and so on (R126). The cost is proportional to the
//! insertions that had made those slots.

use super::super::shrink;
use super::{LAST_GENERATION, NONE, Slab, Slot};
use std::ops::Range;

/// A slot that has been used more often than this is not cut off, for the slots that are made
/// after a cut have that use behind them as well.
pub(in super::super) const RETIRED_SOON: u32 = u32::MAX / 2;

/// Whether the slot cannot be cut off.
pub(super) fn stays<T>(slot: &Slot<T>) -> bool {
    slot.entry.is_some() || slot.generation > RETIRED_SOON
}

impl<T> Slab<T> {
    pub(super) fn set_shrink_below(&mut self) {
        self.shrink_below = shrink::shrink_below(self.slots.len());
    }

    /// Makes these the free list, those of them that are free, the first in front.
    pub(super) fn link_free(&mut self, slots: Range<usize>) {
        self.free = NONE;
        for index in slots.rev() {
            let slot = &mut self.slots[index];
            if slot.entry.is_none() && slot.generation <= LAST_GENERATION {
                slot.link = self.free;
                self.free = index as u32;
            }
        }
    }

    /// R126: there are far more slots than entries. The second half of them is to go, as soon as
    /// it is empty; until then new entries go to the first half. There is room
    /// there for three times the entries that are left, so a slab whose use goes up and down is not
    /// made anew each time.
    fn begin_shrink(&mut self) {
        let cut = self.slots.len() / 2;
        self.pinned_tail = 0;
        for slot in &self.slots[cut..] {
            self.pinned_tail += usize::from(stays(slot));
        }
        self.shrink_at = cut as u32;
        self.shrink_below = usize::MAX;
        self.link_free(0..cut);
        if self.pinned_tail == 0 {
            self.truncate();
        }
    }

    /// There are more entries again: the slots that were to go are needed. Whether one of them is free.
    #[cold]
    pub(super) fn cancel_shrink(&mut self) -> bool {
        self.shrink_at = NONE;
        self.link_free(0..self.slots.len());
        self.set_shrink_below();
        self.free != NONE
    }

    #[cold]
    fn truncate(&mut self) {
        let cut = self.shrink_at as usize;
        // L1: a slot that is made again must not find the keys that it had.
        for slot in &self.slots[cut..] {
            self.first = self.first.max(slot.generation);
        }
        self.slots.truncate(cut);
        self.slots.shrink_to_fit();
        self.first_occupied = self.first_occupied.min(self.shrink_at);
        self.shrink_at = NONE;
        self.set_shrink_below();
        if self.len < self.shrink_below {
            self.begin_shrink();
        }
    }

    /// Frees the slot of an entry that was removed, where slots are to go.
    #[inline(never)]
    pub(super) fn free_and_shrink(&mut self, index: u32) {
        if index >= self.shrink_at {
            return self.leave_pinned_tail(index);
        }
        let slot = &mut self.slots[index as usize];
        if slot.generation <= LAST_GENERATION {
            slot.link = self.free;
            self.free = index;
        }
        if self.shrink_at == NONE {
            self.begin_shrink();
        }
    }

    /// One slot less is in the way of the cut.
    fn leave_pinned_tail(&mut self, index: u32) {
        if self.slots[index as usize].generation <= RETIRED_SOON {
            self.pinned_tail -= 1;
        }
        if self.pinned_tail == 0 {
            self.truncate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::shrink::MIN_CAPACITY;
    use super::super::SlabKey;
    use super::*;

    /// R126, and L1 for the slots that are made again.
    #[test]
    fn a_burst_leaves_no_slots_behind_and_its_keys_find_nothing_afterwards() {
        let mut slab = Slab::default();
        let burst: Vec<SlabKey> = (0..10_000).map(|n| slab.insert(n)).collect();
        let most = slab.slots.capacity();
        let (stays, go) = burst.split_last().unwrap();
        for &key in go {
            slab.remove(key);
        }
        slab.verify();
        assert_eq!(slab.slots(), 10_000, "an entry is in the last slot");
        let low = slab.insert(0);
        assert!(low.slot() < MIN_CAPACITY, "new ones come to the front");
        assert_eq!(slab.remove(*stays), Some(9_999));
        slab.verify();
        assert!(slab.slots() <= MIN_CAPACITY && slab.slots.capacity() < most / 4);
        let again: Vec<SlabKey> = (0..10_000).map(|n| slab.insert(n)).collect();
        assert_eq!((again.len(), slab.slots()), (10_000, 10_001));
        assert!(burst.iter().all(|&key| slab.get(key).is_none()));
        assert_eq!(slab.first().and_then(|key| slab.get(key)), Some(&0));
        slab.verify();
    }

    #[test]
    fn slots_that_were_to_go_stay_when_they_are_needed() {
        let mut slab = Slab::default();
        let burst: Vec<SlabKey> = (0..10_000).map(|n| slab.insert(n)).collect();
        for &key in &burst[..9_999] {
            slab.remove(key);
        }
        for n in 0..9_999 {
            slab.insert(n);
            assert_eq!(slab.slots(), 10_000);
        }
        slab.verify();
        let next = slab.insert(1);
        assert_eq!((slab.slots(), next.slot()), (10_001, 10_000));
    }

    #[test]
    fn a_slot_that_is_worn_is_not_cut_off() {
        let mut slab = Slab::default();
        let mut keys: Vec<SlabKey> = (0..2_000).map(|n| slab.insert(n)).collect();
        slab.slots[1_999].generation = RETIRED_SOON;
        keys[1_999].generation = RETIRED_SOON;
        assert!(keys.iter().all(|&key| slab.remove(key).is_some()));
        slab.verify();
        assert_eq!((slab.slots(), slab.first), (2_000, 0));
    }
}
