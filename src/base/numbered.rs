//! A queue from which entries can be removed by number.
//!
//! A removed entry leaves an empty place until its turn, so that no other entry moves. Such places do
//! not accumulate, even if the first entry is never taken. All of its operations take constant
//! or logarithmic time, on the average.

use super::shrink;

/// A FIFO of numbered entries.
#[derive(Debug)]
pub(crate) struct NumberedQueue<T> {
    /// Oldest first, with rising numbers; `None` was taken out. No ring, which has more code for each type.
    places: Vec<(u64, Option<T>)>,
    /// The places before this one are empty.
    front: usize,
    len: usize,
}

impl<T> Default for NumberedQueue<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            front: 0,
            len: 0,
        }
    }
}

impl<T> NumberedQueue<T> {
    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.places
            .binary_search_by_key(&number, |place| place.0)
            .ok()
    }

    /// Adds an entry at the end, with a number above all that were added before.
    pub(crate) fn push(&mut self, number: u64, entry: T) {
        debug_assert!(self.places.last().is_none_or(|last| last.0 < number));
        self.places.push((number, Some(entry)));
        self.len += 1;
    }

    /// The entry of that number, unless it was taken out.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.place(number)?;
        self.places[place].1.as_mut()
    }

    /// Takes out the entry of that number.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.place(number)?;
        let entry = self.places[place].1.take()?;
        self.leave();
        Some(entry)
    }

    /// An entry was taken out.
    fn leave(&mut self) {
        self.len -= 1;
        if self.len == 0 {
            self.places.clear();
        } else if self.places.len() > 2 * self.len + 8 {
            self.places.retain(|place| place.1.is_some());
        } else {
            return;
        }
        self.front = 0;
        shrink::shrink(&mut self.places); // R126
    }

    /// Takes out the oldest entry.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.pop_numbered().map(|(_, entry)| entry)
    }

    /// Takes out the oldest entry, with its number.
    pub(crate) fn pop_numbered(&mut self) -> Option<(u64, T)> {
        loop {
            let (number, entry) = self.places.get_mut(self.front)?;
            let (number, entry) = (*number, entry.take());
            self.front += 1;
            if let Some(entry) = entry {
                self.leave();
                return Some((number, entry));
            }
        }
    }

    /// The oldest entry.
    pub(crate) fn first(&self) -> Option<&T> {
        self.places[self.front..]
            .iter()
            .find_map(|place| place.1.as_ref())
    }

    /// The number of the entry that has `nth` older ones.
    pub(crate) fn number_of(&self, nth: usize) -> Option<u64> {
        let mut left = self.places.iter().filter(|place| place.1.is_some());
        left.nth(nth).map(|place| place.0)
    }

    /// Takes out all entries, the oldest first.
    pub(crate) fn into_entries(mut self) -> impl Iterator<Item = T> {
        std::iter::from_fn(move || self.pop())
    }

    /// The number of places, empty ones included.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rng::Rng;
    use super::*;
    use std::collections::BTreeMap;

    /// Against a tree by number.
    #[test]
    fn what_is_left_comes_in_its_order_whatever_is_taken_out() {
        let mut chance = Rng::seeded(7);
        let mut queue = NumberedQueue::default();
        let mut model = BTreeMap::new();
        let mut next = 0;
        for _ in 0..20_000 {
            match chance.below(8) {
                0..4 => {
                    next += 1 + chance.below(3) as u64;
                    queue.push(next, next);
                    model.insert(next, next);
                }
                4..7 => {
                    let number = chance.below(next as usize + 2) as u64;
                    assert_eq!(queue.get_mut(number), model.get_mut(&number));
                    assert_eq!(queue.remove(number), model.remove(&number));
                }
                _ => assert_eq!(queue.pop(), model.pop_first().map(|(_, entry)| entry)),
            }
            assert_eq!(queue.len(), model.len());
            assert_eq!(queue.first(), model.values().next());
            let nth = chance.below(queue.len() + 1);
            assert_eq!(queue.number_of(nth), model.keys().nth(nth).copied());
            assert!(queue.places() <= 2 * queue.len() + 9);
        }
    }
}
