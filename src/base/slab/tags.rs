//! A tag for each entry of a slab: a number that its owner chooses, beside the key.
//!
//! A free slot holds a link to the next free slot; an occupied slot has room for the tag there. So a caller that has kept a slot and a mark in eight bytes finds out without a key
//! whether the entry is still that one.
//!
//! In the notes it serves the *timers* (N1): their heap recognises the nodes of cancelled timers.

use super::{Slab, SlabKey, Slot};

impl<T> Slab<T> {
    /// Stores `entry` and, where a free slot has its link, a number by which it is known as well.
    ///
    /// # Panics
    ///
    /// As [`Slab::insert`].
    #[inline(always)]
    pub fn insert_tagged(&mut self, tag: u32, entry: T) -> SlabKey {
        self.put(tag, |_| entry)
    }

    /// Removes the entry of `key`; returns its tag and what `take` makes of it.
    #[inline(always)]
    pub(in super::super) fn remove_with_tag<R>(
        &mut self,
        key: SlabKey,
        take: impl FnOnce(T) -> R,
    ) -> Option<(u32, R)> {
        let mut tag = 0;
        let is_meant = |slot: &Slot<T>| {
            tag = slot.link;
            slot.generation == key.generation
        };
        let taken = self.remove_if(key.index, is_meant, take)?;
        Some((tag, taken))
    }

    /// Removes and returns the entry in `slot`, if it has this tag.
    #[inline]
    pub(in super::super) fn remove_tagged(&mut self, slot: u32, tag: u32) -> Option<T> {
        self.remove_if(slot, |slot| slot.link == tag, |entry| entry)
    }

    /// The tag of an entry, to be read and changed; `None` if the entry is gone.
    #[inline]
    pub(in super::super) fn tag_mut(&mut self, key: SlabKey) -> Option<&mut u32> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation).then_some(&mut slot.link)
    }

    /// Whether the entry in `slot` has this tag.
    #[inline]
    pub(in super::super) fn is_tagged(&self, slot: u32, tag: u32) -> bool {
        let slot = self.slots.get(slot as usize);
        slot.is_some_and(|slot| slot.link == tag && slot.entry.is_some())
    }

    /// Gives the entry in `slot`, which is there, another tag.
    #[inline]
    pub(in super::super) fn set_tag(&mut self, slot: u32, tag: u32) {
        let slot = &mut self.slots[slot as usize];
        debug_assert!(slot.entry.is_some(), "the link of a free slot is no tag");
        slot.link = tag;
    }
}
