//! A table of words by descriptor.
//!
//! The kernel hands out the lowest number that is free, so a flat array by number has few gaps: redis
//! (`events[fd]`), libuv (`watchers[fd]`) and libev (`anfds[fd]`) have one, which is as long as the
//! largest number. This one is cut into pages, and only pages with a descriptor are allocated: a
//! descriptor that was moved to a large number, and one of a kernel in memory, whose numbers begin at a
//! billion, costs a page.

use super::shrink;

/// The descriptors of one page.
const PAGE: usize = 64;

/// The word of a number that has none. No key of a [`Slab`](super::slab::Slab) has it.
const ABSENT: u64 = u64::MAX;

#[derive(Debug)]
struct Page {
    /// The descriptors of the page, divided by their number.
    number: u32,
    /// How many of its descriptors have a word.
    used: u32,
    words: Box<[u64; PAGE]>,
}

/// A table of words by descriptor.
#[derive(Debug, Default)]
pub(crate) struct FdTable {
    /// Sorted by number.
    pages: Vec<Page>,
    /// How many of the pages have no word.
    unused: usize,
    len: usize,
}

/// The number of a descriptor's page, and its place there.
#[inline]
fn split(fd: i32) -> (u32, usize) {
    (fd as u32 / PAGE as u32, fd as u32 as usize % PAGE)
}

impl FdTable {
    /// The number of descriptors that have a word.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number of words that are allocated.
    pub(crate) fn room(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The place of a page if there are no gaps before it, as usual: its distance from the first one.
    #[inline(always)]
    fn usual_place(&self, number: u32) -> usize {
        let first = self.pages.first().map_or(0, |page| page.number);
        number.wrapping_sub(first) as usize
    }

    /// The page with this number, if it is at the usual place.
    #[inline(always)]
    fn usual_page(&mut self, number: u32) -> Option<&mut Page> {
        let place = self.usual_place(number);
        self.pages
            .get_mut(place)
            .filter(|page| page.number == number)
    }

    /// The place of a page, or where it is to be inserted.
    #[inline]
    fn find(&self, number: u32) -> Result<usize, usize> {
        let place = self.usual_place(number);
        match self.pages.get(place) {
            Some(page) if page.number == number => Ok(place),
            _ => self.search(number),
        }
    }

    #[cold]
    fn search(&self, number: u32) -> Result<usize, usize> {
        self.pages.binary_search_by_key(&number, |page| page.number)
    }

    #[cold]
    fn insert_page(&mut self, place: usize, number: u32) {
        let words = Box::new([ABSENT; PAGE]);
        let used = 0;
        self.pages.insert(
            place,
            Page {
                number,
                used,
                words,
            },
        );
        self.unused += 1;
    }

    /// The word of `fd`.
    #[inline]
    pub(crate) fn get(&self, fd: i32) -> Option<u64> {
        let (number, at) = split(fd);
        let word = self.pages[self.find(number).ok()?].words[at];
        (word != ABSENT).then_some(word)
    }

    /// Sets the word of `fd`, whether it had one or not; any word but [`ABSENT`].
    pub(crate) fn insert(&mut self, fd: i32, word: u64) {
        let (number, at) = split(fd);
        if self.insert_new(fd, word).is_err() {
            let place = self.find(number).expect("the page of a word");
            self.pages[place].words[at] = word;
        }
    }

    /// Sets the word of `fd`, any but [`ABSENT`], if it has none.
    ///
    /// # Errors
    ///
    /// The word that it has.
    #[inline(always)]
    pub(crate) fn insert_new(&mut self, fd: i32, word: u64) -> Result<(), u64> {
        debug_assert!(word != ABSENT);
        let (number, at) = split(fd);
        let page = match self.usual_page(number) {
            Some(page) => page,
            None => self.make_page(number),
        };
        let old = &mut page.words[at];
        if *old != ABSENT {
            return Err(*old);
        }
        *old = word;
        let unused = usize::from(page.used == 0);
        page.used += 1;
        self.unused -= unused;
        self.len += 1;
        Ok(())
    }

    /// The page with this number, wherever it is: made, if there is none.
    #[cold]
    #[inline(never)]
    fn make_page(&mut self, number: u32) -> &mut Page {
        let place = self.find(number).unwrap_or_else(|place| {
            self.insert_page(place, number);
            place
        });
        &mut self.pages[place]
    }

    /// Removes the word of `fd`, and returns it.
    #[inline(always)]
    pub(crate) fn remove(&mut self, fd: i32) -> Option<u64> {
        let (number, at) = split(fd);
        let page = match self.usual_page(number) {
            Some(page) => page,
            None => {
                let place = self.search(number).ok()?;
                &mut self.pages[place]
            }
        };
        let word = std::mem::replace(&mut page.words[at], ABSENT);
        if word == ABSENT {
            return None;
        }
        page.used -= 1;
        let unused = usize::from(page.used == 0);
        self.unused += unused;
        self.len -= 1;
        // R126.
        if self.unused != 0 {
            self.shrink();
        }
        Some(word)
    }

    #[inline(never)]
    fn shrink(&mut self) {
        if self.len < shrink::shrink_below(self.room()) {
            self.free_unused();
        }
    }

    #[cold]
    fn free_unused(&mut self) {
        self.pages.retain(|page| page.used != 0);
        self.unused = 0;
        shrink::shrink(&mut self.pages);
    }

    /// Calls `visit` with each descriptor that has a word, by their pages.
    pub(crate) fn each_fd(&self, visit: &mut dyn FnMut(i32)) {
        for page in &self.pages {
            for at in 0..PAGE {
                if page.words[at] != ABSENT {
                    visit((page.number as usize * PAGE + at) as i32);
                }
            }
        }
    }

    /// Asserts what must hold between two calls.
    pub(crate) fn verify(&self) {
        let (mut len, mut unused) = (0, 0);
        for page in &self.pages {
            let mut used = 0;
            for &word in &*page.words {
                used += u32::from(word != ABSENT);
            }
            assert_eq!(used, page.used, "the words of a page are counted");
            unused += usize::from(used == 0);
            len += used as usize;
        }
        assert_eq!(len, self.len, "len counts the words");
        assert_eq!(unused, self.unused, "the pages without a word are counted");
    }
}

#[cfg(test)]
mod tests {
    use super::super::rng::Rng;
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_answers_as_a_tree_does_whatever_is_inserted_and_removed() {
        // From the first descriptor on, around it, as in a kernel in memory, and at the largest number.
        for (fds, first) in [
            (4, 0),
            (300, -70),
            (20_000, 0),
            (3_000, 1_000_000_000),
            (90, i32::MAX - 90),
        ] {
            let mut rng = Rng::seeded(fds as u64);
            let (mut table, mut model) = (FdTable::default(), BTreeMap::new());
            for step in 0..100_000_u64 {
                let fd = first + rng.below(fds) as i32;
                // It grows, shrinks to almost nothing, and grows again.
                match rng.below(8) < 2 + step as usize / 20_000 % 2 * 4 {
                    true => assert_eq!(table.remove(fd), model.remove(&fd)),
                    false => {
                        let old = model.insert(fd, step);
                        assert_eq!(table.insert_new(fd, step).err(), old);
                        table.insert(fd, step);
                    }
                }
                let other = first + rng.below(fds) as i32;
                assert_eq!(table.get(other), model.get(&other).copied());
                assert_eq!(table.len(), model.len());
            }
            table.verify();
            let mut found = Vec::new();
            table.each_fd(&mut |fd| found.push(fd));
            found.sort_unstable();
            assert!(model.keys().eq(&found));
        }
    }

    #[test]
    fn a_descriptor_far_from_the_others_costs_one_page() {
        let mut table = FdTable::default();
        let far = [3, 1 << 20, 1_000_000_000, i32::MAX, i32::MIN, -1];
        for (word, fd) in (0..).zip(far) {
            table.insert(fd, word);
        }
        assert_eq!(table.room(), far.len() * PAGE);
        for (word, fd) in (0..).zip(far) {
            assert_eq!(table.get(fd), Some(word));
            assert_eq!(table.get(fd ^ 1), None);
        }
        table.verify();
    }

    /// R126.
    #[test]
    fn pages_are_freed_after_a_burst_and_kept_for_the_next_small_one() {
        for burst in [100_000, shrink::MIN_CAPACITY as i32] {
            let mut table = FdTable::default();
            (0..burst).for_each(|fd| table.insert(fd, 7));
            let room = table.room();
            // One descriptor of the burst stays.
            for fd in (0..burst).filter(|&fd| fd != 70) {
                assert_eq!(table.remove(fd), Some(7));
            }
            table.verify();
            assert!(table.room() <= room.min(shrink::MIN_CAPACITY));
            let is_small = room == shrink::MIN_CAPACITY;
            assert!(
                !is_small || table.room() == room,
                "a small burst frees no page"
            );
            assert_eq!((table.len(), table.get(70)), (1, Some(7)));
        }
    }
}
