//! A tag for each entry of a slab: a number that its owner chooses, beside the key.
//!
//! A free slot holds a link to the next free slot; an occupied slot has room for the tag there. So a caller that has kept a slot and a mark in eight bytes finds out without a key
//! whether the entry is still that one.
//!
//! In the notes it serves the *timers* (N1): their heap recognises the nodes of cancelled timers.

use super::{Slab, SlabKey};

impl<T> Slab<T> {
    /// Stores `entry` and, where a free slot has its link, a number by which it is known as well.
    ///
    /// # Panics
    ///
    /// As [`Slab::insert`].
    #[inline]
    pub fn insert_tagged(&mut self, mark: u32, entry: T) -> SlabKey {
        self.put(mark, |_| entry)
    }

    /// Removes and returns the entry in `slot`, if it has this mark.
    #[inline]
    pub(in super::super) fn remove_tagged(&mut self, slot: u32, mark: u32) -> Option<T> {
        if self.slots.get(slot as usize)?.link != mark {
            return None;
        }
        self.vacate(slot)
    }

    /// Whether the entry in `slot` has this mark.
    #[inline]
    pub(in super::super) fn is_tagged(&self, slot: u32, mark: u32) -> bool {
        let slot = self.slots.get(slot as usize);
        slot.is_some_and(|slot| slot.link == mark && slot.entry.is_some())
    }

    /// Gives the entry in `slot` another mark.
    pub(in super::super) fn set_tag(&mut self, slot: u32, mark: u32) {
        let slot = &mut self.slots[slot as usize];
        if slot.entry.is_some() {
            slot.link = mark;
        }
    }
}
