//! The slot for the next entry, before the entry is there.
//!
//! Finding the slot and filling it are two steps, so that a caller with other work between them,
//! such as the timer heap, looks the slot up only once, and moves a large entry only once: straight
//! into the slot.
//!
//! In the notes it serves the *callbacks* and *timers* (N1).

use super::{Slab, SlabKey, Slot};

/// A free slot, the first on the free list, for an entry that is inserted without any other call.
pub(in super::super) struct VacantSlot<'a, T> {
    pub(in super::super) key: SlabKey,
    slot: &'a mut Slot<T>,
    free: &'a mut u32,
    first_occupied: &'a mut u32,
    len: &'a mut usize,
}

impl<T> VacantSlot<'_, T> {
    /// Stores what `make` makes of the key.
    #[inline]
    pub(in super::super) fn fill(self, tag: u32, make: impl FnOnce(SlabKey) -> T) -> SlabKey {
        // An assignment would look whether there is anything to drop: a free slot is empty.
        std::mem::forget(self.slot.entry.replace(make(self.key)));
        *self.free = self.slot.link;
        self.slot.link = tag;
        *self.len += 1;
        if self.key.index < *self.first_occupied {
            *self.first_occupied = self.key.index;
        }
        self.key
    }
}

impl<T> Slab<T> {
    /// The slot for the next entry; `None` if it is still to be made.
    #[inline]
    pub(in super::super) fn vacant_slot(&mut self) -> Option<VacantSlot<'_, T>> {
        // There is no slot `NONE`.
        let slot = self.slots.get_mut(self.free as usize)?;
        let key = SlabKey {
            index: self.free,
            generation: slot.generation,
        };
        Some(VacantSlot {
            key,
            slot,
            free: &mut self.free,
            first_occupied: &mut self.first_occupied,
            len: &mut self.len,
        })
    }
}
