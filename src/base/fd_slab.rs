//! A table with stable keys whose entries each have a descriptor: one look-up by key, and by descriptor.
//!
//! The slot of an entry is the number of its descriptor. The kernel hands out the lowest number that is free,
//! so such a table has few gaps: redis (`events[fd]`), libuv (`watchers[fd]`) and libev (`anfds[fd]`) have one,
//! too. As in a [`Slab`], each slot counts its generations, and a key with an old one finds nothing (L1).
//!
//! An entry whose number is far larger than the number of entries is in a slab, with a table of words that maps
//! its descriptor: a descriptor that was moved to a large number, and those of a kernel in memory, whose numbers begin
//! at a billion. So is one whose slot has used up its generations.
//!
//! In the notes it is the "map of callbacks", by `fd` (N7).

use super::fd_table::FdTable;
use super::shrink;
use super::slab::{LAST_GENERATION, RETIRED_SOON, Slab, SlabKey};

/// Below this number each descriptor has its slot.
const NEAR: usize = 4096;

/// Above it, if there is an entry for so many numbers.
const SPARSE: usize = 16;

/// It grows by a quarter, because a slot is a fifth of the memory of an idle connection, and a `Vec` would have up to
/// two for each.
const GROWTH: usize = 4;
const MIN_GROWTH: usize = 64;

/// The mark of a key whose slot is not the descriptor.
const FAR: u32 = 1 << 30;

/// What a table can hold. An occupied slot does not repeat the generation, which the entry has in its key: a
/// registration has a pointer of two words in its slot, and nothing else.
pub(crate) trait FdEntry {
    /// The generation of its key.
    fn generation(&self) -> u32;
}

#[derive(Debug)]
enum Slot<T> {
    /// With the generation of the next entry.
    Vacant(u32),
    Occupied(T),
}

impl<T: FdEntry> Slot<T> {
    #[inline]
    fn generation(&self) -> u32 {
        match self {
            Self::Vacant(generation) => *generation,
            Self::Occupied(entry) => entry.generation(),
        }
    }

    fn entry(&self) -> Option<&T> {
        match self {
            Self::Vacant(_) => None,
            Self::Occupied(entry) => Some(entry),
        }
    }
}

/// A table of entries by descriptor, and by keys that are never used again.
#[derive(Debug)]
pub(crate) struct FdSlab<T> {
    slots: Vec<Slot<T>>,
    /// How many of the slots are occupied.
    occupied: usize,
    /// R126: with fewer occupied slots than this, the free ones at the end are to go.
    shrink_below: usize,
    /// With what generation new slots begin: that of no key that was given out for a slot that has gone.
    first: u32,
    /// No slot before this one is occupied (R078).
    first_occupied: usize,
    far: Slab<T>,
    /// The keys of the entries in `far`, without the mark.
    far_keys: FdTable,
}

impl<T> Default for FdSlab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            occupied: 0,
            shrink_below: 0,
            first: 0,
            first_occupied: 0,
            far: Slab::default(),
            far_keys: FdTable::default(),
        }
    }
}

fn near_key(index: usize, generation: u32) -> SlabKey {
    SlabKey::new(index as u32, generation)
}

fn far_key(key: SlabKey) -> SlabKey {
    SlabKey::new(key.slot() as u32 | FAR, key.generation())
}

/// The key in the slab; `None` for a key without the mark.
fn unmarked(key: SlabKey) -> Option<SlabKey> {
    let index = key.slot() as u32;
    (index & FAR != 0).then(|| SlabKey::new(index & !FAR, key.generation()))
}

impl<T: FdEntry> FdSlab<T> {
    /// The number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.occupied + self.far.len()
    }

    /// The number of slots that are allocated.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity() + self.far_keys.room()
    }

    /// The entry of `key`, if it is still there.
    #[inline]
    pub(crate) fn get(&self, key: SlabKey) -> Option<&T> {
        match self.slots.get(key.slot()) {
            Some(Slot::Occupied(entry)) if entry.generation() == key.generation() => Some(entry),
            Some(_) => None,
            None => self.get_far(key),
        }
    }

    #[inline(never)]
    fn get_far(&self, key: SlabKey) -> Option<&T> {
        self.far.get(unmarked(key)?)
    }

    /// The key of the entry of `fd`.
    #[inline]
    pub(crate) fn key_of(&self, fd: i32) -> Option<SlabKey> {
        let index = fd as u32 as usize;
        match self.slots.get(index) {
            Some(Slot::Occupied(entry)) => Some(near_key(index, entry.generation())),
            _ => self.far_key_of(fd),
        }
    }

    #[inline]
    fn far_key_of(&self, fd: i32) -> Option<SlabKey> {
        match self.far_keys.len() {
            0 => None,
            _ => self.far_keys.get(fd).map(SlabKey::from_bits).map(far_key),
        }
    }

    /// Stores the entry of `fd`, which is what `make` makes of its key.
    ///
    /// # Errors
    ///
    /// The key of the entry that `fd` has.
    #[inline]
    pub(crate) fn insert_with(
        &mut self,
        fd: i32,
        make: impl FnOnce(SlabKey) -> T,
    ) -> Result<SlabKey, SlabKey> {
        if !self.has_slot(fd) {
            self.add_slot(fd);
        }
        if let Some(key) = self.key_of(fd) {
            return Err(key);
        }
        let index = fd as u32 as usize;
        let Some(slot) = self.slots.get_mut(index).filter(|slot| !is_retired(slot)) else {
            return Ok(self.insert_far(fd, make));
        };
        let key = near_key(index, slot.generation());
        let entry = make(key);
        debug_assert_eq!(entry.generation(), key.generation());
        // An assignment would look whether there is anything to drop.
        std::mem::forget(std::mem::replace(slot, Slot::Occupied(entry)));
        self.occupied += 1;
        self.first_occupied = self.first_occupied.min(index);
        Ok(key)
    }

    #[inline]
    fn has_slot(&self, fd: i32) -> bool {
        (fd as u32 as usize) < self.slots.len()
    }

    /// Adds the slots up to that of `fd`, unless its number is too large.
    #[cold]
    #[inline(never)]
    fn add_slot(&mut self, fd: i32) {
        let index = fd as u32 as usize;
        if index < NEAR.max(self.occupied * SPARSE).min(FAR as usize) {
            let generation = self.first;
            if index >= self.slots.capacity() {
                let len = self.slots.len();
                let more = (len / GROWTH).max(MIN_GROWTH).max(index + 1 - len);
                self.slots.reserve_exact(more);
            }
            self.slots
                .resize_with(index + 1, || Slot::Vacant(generation));
            self.set_shrink_below();
        }
    }

    #[inline(never)]
    fn insert_far(&mut self, fd: i32, make: impl FnOnce(SlabKey) -> T) -> SlabKey {
        let key = self.far.insert_with(|key| make(far_key(key)));
        assert!(key.slot() < FAR as usize, "fewer than 2^30 far descriptors");
        self.far_keys.insert(fd, key.to_bits());
        far_key(key)
    }

    /// Takes the entry of `key` out, whose descriptor `fd_of` returns. The key names nothing from here on.
    #[inline]
    pub(crate) fn remove(&mut self, key: SlabKey, fd_of: impl FnOnce(&T) -> i32) -> Option<T> {
        let Some(slot) = self.slots.get_mut(key.slot()) else {
            return self.remove_far(key, fd_of);
        };
        match slot {
            Slot::Occupied(entry) if entry.generation() == key.generation() => {}
            _ => return None,
        }
        let vacant = Slot::Vacant(key.generation() + 1); // L1
        let Slot::Occupied(entry) = std::mem::replace(slot, vacant) else {
            return None; // not reached
        };
        self.occupied -= 1;
        if self.occupied < self.shrink_below {
            self.shrink();
        }
        Some(entry)
    }

    #[inline(never)]
    fn remove_far(&mut self, key: SlabKey, fd_of: impl FnOnce(&T) -> i32) -> Option<T> {
        let entry = self.far.remove(unmarked(key)?)?;
        self.far_keys.remove(fd_of(&entry));
        Some(entry)
    }

    fn set_shrink_below(&mut self) {
        self.shrink_below = match self.slots.len() > NEAR {
            true => shrink::shrink_below(self.slots.len()),
            false => 0,
        };
    }

    /// R126: drops the free slots at the end.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        while self.slots.len() > NEAR {
            match self.slots.last() {
                Some(Slot::Vacant(generation)) if *generation <= RETIRED_SOON => {}
                _ => break,
            }
            // L1: a slot that is made again must not find the keys that it had.
            let last = self.slots.pop().map_or(0, |last| last.generation());
            self.first = self.first.max(last);
        }
        if self.slots.len() <= self.slots.capacity() / 2 {
            self.slots.shrink_to_fit();
        }
        self.first_occupied = self.first_occupied.min(self.slots.len());
        self.set_shrink_below();
    }

    /// All entries, by the numbers of their descriptors, those in the slab last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlabKey, &T)> {
        let near = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let entry = slot.entry()?;
            Some((near_key(index, entry.generation()), entry))
        });
        near.chain(self.far.iter().map(|(key, entry)| (far_key(key), entry)))
    }

    /// The key of the first entry, for a caller that removes them one by one.
    pub(crate) fn first(&mut self) -> Option<SlabKey> {
        while let Some(slot) = self.slots.get(self.first_occupied) {
            if let Slot::Occupied(entry) = slot {
                return Some(near_key(self.first_occupied, entry.generation()));
            }
            self.first_occupied += 1;
        }
        self.far.first().map(far_key)
    }

    /// Asserts what must hold between two calls.
    pub(crate) fn verify(&self, fd_of: impl Fn(&T) -> i32) {
        let count = self
            .slots
            .iter()
            .filter(|slot| slot.entry().is_some())
            .count();
        assert_eq!(count, self.occupied, "the occupied slots are counted");
        let first = self.slots.iter().position(|slot| slot.entry().is_some());
        assert!(first.is_none_or(|first| first >= self.first_occupied));
        self.far.verify();
        self.far_keys.verify();
        assert_eq!(
            self.far.len(),
            self.far_keys.len(),
            "each has its number in the map"
        );
        for (key, entry) in self.iter() {
            assert_eq!(
                self.key_of(fd_of(entry)),
                Some(key),
                "each is found by its descriptor"
            );
        }
    }
}

/// Whether the slot has used up its generations.
fn is_retired<T: FdEntry>(slot: &Slot<T>) -> bool {
    slot.generation() > LAST_GENERATION
}

#[cfg(test)]
mod tests {
    use super::super::rng::Rng;
    use super::*;
    use std::collections::BTreeMap;

    /// A descriptor, and its generation.
    #[derive(Debug, PartialEq)]
    struct Entry(i32, u32);

    impl FdEntry for Entry {
        fn generation(&self) -> u32 {
            self.1
        }
    }

    fn insert(table: &mut FdSlab<Entry>, fd: i32) -> Result<SlabKey, SlabKey> {
        table.insert_with(fd, |key| Entry(fd, key.generation()))
    }

    fn remove(table: &mut FdSlab<Entry>, key: SlabKey) -> Option<i32> {
        table.remove(key, |entry| entry.0).map(|entry| entry.0)
    }

    #[test]
    fn it_answers_as_a_tree_does_and_its_keys_are_never_used_again() {
        // Small numbers, some with gaps, those of a kernel in memory, and all of them together.
        for fds in [4, 300, 20_000] {
            for firsts in [
                &[0][..],
                &[1_000_000_000],
                &[0, 1 << 20, 1_000_000_000, i32::MAX - 20_000, -20_000],
            ] {
                let mut rng = Rng::seeded(fds as u64);
                let (mut table, mut model) = (FdSlab::default(), BTreeMap::new());
                let mut old = Vec::new();
                for step in 0..60_000_usize {
                    let fd = firsts[rng.below(firsts.len())] + rng.below(fds) as i32;
                    // It grows, shrinks to almost nothing, and grows again.
                    match rng.below(8) < 2 + step / 12_000 % 2 * 4 {
                        true => {
                            if let Some(key) = model.remove(&fd) {
                                assert_eq!(remove(&mut table, key), Some(fd));
                                old.push(key);
                            }
                        }
                        false => match insert(&mut table, fd) {
                            Ok(key) => assert_eq!(model.insert(fd, key), None),
                            Err(key) => assert_eq!(model.get(&fd), Some(&key)),
                        },
                    }
                    assert_eq!(table.key_of(fd), model.get(&fd).copied());
                    assert_eq!(table.len(), model.len());
                    if let Some(&key) = old.get(rng.below(old.len().max(1))) {
                        assert_eq!(table.get(key), None);
                        assert_eq!(remove(&mut table, key), None);
                    }
                }
                table.verify(|entry| entry.0);
                assert!(
                    table
                        .iter()
                        .all(|(key, entry)| model.get(&entry.0) == Some(&key))
                );
                assert_eq!(table.iter().count(), model.len());
                while let Some(key) = table.first() {
                    let fd = remove(&mut table, key).unwrap();
                    assert_eq!(model.remove(&fd), Some(key));
                }
                assert!(model.is_empty() && old.iter().all(|&key| table.get(key).is_none()));
            }
        }
    }

    #[test]
    fn a_descriptor_far_from_the_others_makes_no_slots() {
        let mut table = FdSlab::default();
        for fd in [3, NEAR as i32, 1_000_000_000, i32::MAX, -1] {
            assert!(insert(&mut table, fd).is_ok() && insert(&mut table, fd).is_err());
        }
        assert_eq!((table.slots.len(), table.far.len()), (4, 4));
        table.verify(|entry| entry.0);
    }

    /// R126.
    #[test]
    fn the_slots_of_a_burst_go_and_those_of_a_small_one_stay() {
        let mut table = FdSlab::default();
        let keys: Vec<_> = (0..100_000)
            .map(|fd| insert(&mut table, fd).unwrap())
            .collect();
        for &key in &keys[10..] {
            remove(&mut table, key);
        }
        table.verify(|entry| entry.0);
        assert!(table.room() <= 2 * NEAR, "{}", table.room());
        for fd in 10..100_000 {
            insert(&mut table, fd).unwrap();
        }
        assert!(keys[10..].iter().all(|&key| table.get(key).is_none()), "L1");
        assert!(keys[..10].iter().all(|&key| table.get(key).is_some()));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_retires() {
        let mut table = FdSlab::default();
        let key = insert(&mut table, 7).unwrap();
        table.slots[7] = Slot::Occupied(Entry(7, LAST_GENERATION));
        let last = near_key(key.slot(), LAST_GENERATION);
        assert_eq!(remove(&mut table, last), Some(7));
        let far = insert(&mut table, 7).unwrap();
        assert!(unmarked(far).is_some() && table.get(last).is_none());
        assert_eq!(
            (table.key_of(7), insert(&mut table, 7)),
            (Some(far), Err(far))
        );
        table.verify(|entry| entry.0);
        assert_eq!(remove(&mut table, far), Some(7));
        assert_eq!(table.key_of(7), None);
    }
}
