//! A mark for each entry: a number by which its owner knows it, beside the key.
//!
//! A free slot has a link to the next free one, for which an occupied one has no use: there is room for
//! a number of the owner's. So whoever has kept a slot and a mark in eight bytes finds out without a key
//! whether the entry is still that one.
//!
//! Nothing in the notes; it is how the heap of the *timers* (N1) knows whom it has lost.

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

    /// Takes out the one who lives in `slot`, if that is the one with this mark.
    #[inline]
    pub(in crate::base) fn remove_tagged(&mut self, slot: u32, mark: u32) -> Option<T> {
        if self.slots.get(slot as usize)?.link != mark {
            return None;
        }
        self.vacate(slot)
    }

    /// Whether somebody with this mark lives in `slot`.
    #[inline]
    pub(in crate::base) fn is_tagged(&self, slot: u32, mark: u32) -> bool {
        let slot = self.slots.get(slot as usize);
        slot.is_some_and(|slot| slot.link == mark && slot.entry.is_some())
    }

    /// Gives the one who lives in `slot` another mark.
    pub(in crate::base) fn set_tag(&mut self, slot: u32, mark: u32) {
        let slot = &mut self.slots[slot as usize];
        if slot.entry.is_some() {
            slot.link = mark;
        }
    }
}
