//! A table with stable keys: each entry gets a slot, and each slot counts its generations.
//!
//! A key is a slot number and a generation. When an entry is removed, its slot's generation
//! increases, so the old key finds nothing, whatever the slot holds by then. That one
//! comparison keeps a stale event away from the slot's next registration (L1), and the handle of
//! a cancelled timer away from the slot's next timer.
//!
//! It is the "map of callbacks" of the notes (N7) without its key problem: descriptors are
//! reused by the system at once, keys never are.

mod shrink;
mod tags;
mod vacant;

pub(super) use shrink::RETIRED_SOON;
pub(super) use vacant::VacantSlot;

/// Names one entry for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SlabKey {
    index: u32,
    generation: u32,
}

impl SlabKey {
    /// A key that names no entry of any slab.
    pub const NONE: Self = Self {
        index: NONE,
        generation: u32::MAX,
    };

    /// The key of the slot `index` in this generation.
    #[inline]
    pub(crate) fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The generation of its slot.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.generation
    }

    /// Both halves in one number, the generation above.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The number of its slot; below [`Slab::slots`] for as long as the entry lives.
    #[must_use]
    #[inline]
    pub fn slot(self) -> usize {
        self.index as usize
    }

    /// The inverse of [`SlabKey::to_bits`].
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// In a free slot, the next free one; in an occupied one, its owner's mark.
    link: u32,
    entry: Option<T>,
}

const NONE: u32 = u32::MAX;

/// The generation at which a slot retires. `u32::MAX` is never given out, so that no key
/// has all bits set (that number is the poller's own).
pub(super) const LAST_GENERATION: u32 = u32::MAX - 1;

/// A generational slab. Insertion, look-up and removal take constant time, on the average.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    /// No slot before this one is occupied, so that emptying a slab from the front does not
    /// walk over what is empty already, again for each entry (R078).
    first_occupied: u32,
    len: usize,
    /// R126: with fewer entries than this, half of the slots are to go. While some are to go, each
    /// removal has to look, and this is the largest number.
    shrink_below: usize,
    /// Slots from this one on are to go: none of them is on the free list, and they are cut off
    /// when the last of those that live there has gone. All of them stay if it is [`NONE`].
    shrink_at: u32,
    /// How many from there on are occupied, or cannot be cut off.
    pinned_tail: usize,
    /// With what generation new slots begin: that of no key that was ever given out for a slot
    /// that was cut off.
    first: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            first_occupied: 0,
            len: 0,
            shrink_below: 0,
            shrink_at: NONE,
            pinned_tail: 0,
            first: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Stores `entry`.
    ///
    /// # Panics
    ///
    /// At 2³² - 1 slots; each of them would by then hold an open descriptor or a task.
    #[inline]
    pub fn insert(&mut self, entry: T) -> SlabKey {
        self.insert_with(|_| entry)
    }

    /// Stores what `make` makes of the key that it will have.
    ///
    /// # Panics
    ///
    /// As [`Slab::insert`].
    #[inline]
    pub fn insert_with(&mut self, make: impl FnOnce(SlabKey) -> T) -> SlabKey {
        self.put(NONE, make)
    }

    #[inline]
    fn put(&mut self, tag: u32, make: impl FnOnce(SlabKey) -> T) -> SlabKey {
        match self.vacant_slot() {
            Some(vacant) => vacant.fill(tag, make),
            None => self.push(tag, make),
        }
    }

    /// [`Slab::put`] without a free slot.
    #[cold]
    #[inline(never)]
    fn push(&mut self, tag: u32, make: impl FnOnce(SlabKey) -> T) -> SlabKey {
        if self.shrink_at != NONE && self.cancel_shrink() {
            return self.put(tag, make);
        }
        let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots");
        assert!(index != NONE, "fewer than 2^32 - 1 slots");
        let generation = self.first;
        let key = SlabKey { index, generation };
        self.slots.push(Slot {
            generation,
            link: tag,
            entry: Some(make(key)),
        });
        self.len += 1;
        self.set_shrink_below();
        key
    }

    /// The entry of `key`, if it is still there.
    #[must_use]
    #[inline]
    pub fn get(&self, key: SlabKey) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation {
            slot.entry.as_ref()
        } else {
            None
        }
    }

    /// The same, to be changed.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation {
            slot.entry.as_mut()
        } else {
            None
        }
    }

    /// Takes the entry of `key` out. The key names nothing from here on.
    #[inline]
    pub fn remove(&mut self, key: SlabKey) -> Option<T> {
        self.remove_if(
            key.index,
            |slot| slot.generation == key.generation,
            |entry| entry,
        )
    }

    /// Takes the entry in the slot `index` out, if there is one, and if `is_meant` of its slot.
    /// Returns what `take` makes of it: an entry of which nothing is needed is not moved.
    #[inline(always)]
    fn remove_if<R>(
        &mut self,
        index: u32,
        is_meant: impl FnOnce(&Slot<T>) -> bool,
        take: impl FnOnce(T) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(index as usize)?;
        if !is_meant(slot) {
            return None;
        }
        let taken = take(slot.entry.take()?);
        self.len -= 1;
        // L1: the next entry of this slot has another generation. A slot that has
        // used up all of them is left empty for good: that costs some bytes after four
        // thousand million reuses; wrapping round would bring old keys back to life.
        slot.generation += 1;
        if self.len < self.shrink_below {
            self.free_and_shrink(index);
        } else if slot.generation <= LAST_GENERATION {
            slot.link = self.free;
            self.free = index;
        }
        Some(taken)
    }

    /// How many slots there are, occupied or not.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many entries there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (SlabKey, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = SlabKey {
                index: index as u32,
                generation: slot.generation,
            };
            slot.entry.as_ref().map(|entry| (key, entry))
        })
    }

    /// The key of the first entry, for a caller that empties the slab one by one.
    #[must_use]
    pub fn first(&mut self) -> Option<SlabKey> {
        loop {
            let slot = self.slots.get(self.first_occupied as usize)?;
            if slot.entry.is_some() {
                return Some(SlabKey {
                    index: self.first_occupied,
                    generation: slot.generation,
                });
            }
            self.first_occupied += 1;
        }
    }

    /// Asserts what must hold between two calls; every property test calls it.
    #[doc(hidden)]
    pub fn verify(&self) {
        let (mut occupied, mut unused, mut beyond) = (0, 0, 0);
        for (index, slot) in self.slots.iter().enumerate() {
            let is_occupied = slot.entry.is_some();
            let is_behind = index >= self.first_occupied as usize;
            assert!(is_behind || !is_occupied, "the front is in front");
            occupied += usize::from(is_occupied);
            if index >= self.shrink_at as usize {
                beyond += usize::from(shrink::stays(slot));
            } else if !is_occupied && slot.generation <= LAST_GENERATION {
                unused += 1;
            }
        }
        assert_eq!(occupied, self.len, "len counts the occupied slots");
        let mut free = self.free;
        let mut seen = 0;
        while free != NONE {
            let slot = &self.slots[free as usize];
            assert!(slot.entry.is_none(), "a free slot is empty");
            assert!(
                free < self.shrink_at,
                "a slot that is to go is not used again"
            );
            assert!(
                slot.generation <= LAST_GENERATION,
                "a retired slot is not free"
            );
            seen += 1;
            assert!(seen <= self.slots.len(), "the free list has no cycle");
            free = slot.link;
        }
        assert_eq!(unused, seen, "every free slot that stays is on the list");
        assert!(
            self.shrink_at == NONE || self.pinned_tail == beyond,
            "who is in the way of the cut is counted"
        );
        assert!(
            self.shrink_at == NONE || self.pinned_tail != 0,
            "what can be cut off is"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing_after_its_slot_was_reused() {
        let mut slab = Slab::default();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(old.index, new.index);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get_mut(new).copied(), Some("new"));
        slab.verify();
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_retires() {
        let mut slab = Slab::default();
        let key = slab.insert(1);
        slab.slots[0].generation = LAST_GENERATION;
        let last = SlabKey {
            generation: LAST_GENERATION,
            ..key
        };
        assert_eq!(slab.remove(last), Some(1));
        let next = slab.insert(2);
        assert_eq!(next.index, 1);
        assert_ne!(
            SlabKey {
                index: NONE,
                generation: LAST_GENERATION
            }
            .to_bits(),
            u64::MAX
        );
        slab.verify();
    }

    #[test]
    fn a_key_survives_the_way_through_a_number() {
        let key = SlabKey {
            index: 7,
            generation: 0xdead_beef,
        };
        assert_eq!(SlabKey::from_bits(key.to_bits()), key);
    }

    #[test]
    fn a_key_that_never_was_finds_nothing() {
        let mut slab = Slab::<u8>::default();
        assert_eq!(slab.get(SlabKey::from_bits(u64::MAX)), None);
        assert_eq!(slab.remove(SlabKey::from_bits(3)), None);
        assert_eq!(slab.first(), None);
    }
}
