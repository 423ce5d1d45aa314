//! The ring of a broadcast: its last values, and how many receivers have yet to get each.
//!
//! It only counts, and runs no user code: values that leave the ring are returned to the caller, which
//! drops them when the counts are right and nothing is borrowed (L8).
//!
//! Rule: Q8.

use crate::base::shrink;
use std::collections::VecDeque;
use std::rc::Rc;

/// A value, shared by the receivers that have got it; empty when it is kept for the next value.
pub(super) type Stored<T> = Rc<Option<T>>;

struct Slot<T> {
    /// `None` when all its receivers have got it.
    value: Option<Stored<T>>,
    /// How many have not got it yet.
    left: usize,
}

pub(super) struct Ring<T> {
    slots: VecDeque<Slot<T>>,
    /// The number of the value in the first slot; the first of all was zero.
    first: u64,
    capacity: usize,
    /// Empty ones, so that a warm ring allocates nothing.
    spare: Vec<Stored<T>>,
}

impl<T> Ring<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            capacity,
            spare: Vec::new(),
        }
    }

    /// The number of the oldest value that is there.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next value.
    pub(super) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// A new value, for so many receivers. The oldest is returned where there is no room for it.
    #[must_use = "it is the user's, and dropped when nothing is borrowed"]
    pub(super) fn push(&mut self, value: T, receivers: usize) -> Option<Stored<T>> {
        let mut kept = self.spare.pop().unwrap_or_default();
        *Rc::get_mut(&mut kept).expect("a spare one has no other owner") = Some(value);
        let oldest = match self.slots.len() < self.capacity {
            true => None,
            false => {
                self.first += 1;
                self.slots.pop_front().and_then(|slot| slot.value)
            }
        };
        self.slots.push_back(Slot {
            value: Some(kept),
            left: receivers,
        });
        oldest
    }

    /// An empty one, for a value to come.
    pub(super) fn keep(&mut self, empty: Stored<T>) {
        if self.spare.len() < self.slots.capacity() {
            self.spare.push(empty);
        }
    }

    /// Returns the value at `next` to one of its receivers. The last receiver gets the only
    /// reference.
    pub(super) fn take(&mut self, next: u64) -> Option<Stored<T>> {
        let slot = self.slots.get_mut((next - self.first) as usize)?;
        slot.left -= 1;
        let value = match slot.left {
            0 => slot.value.take(),
            _ => slot.value.clone(),
        };
        self.tidy();
        value
    }

    /// A receiver that has got all values before `next` is dropped: returns the values that were left
    /// for it alone.
    pub(super) fn give_up(&mut self, next: u64) -> Vec<Stored<T>> {
        let got = next.saturating_sub(self.first) as usize;
        let mut gone = Vec::new();
        for slot in self.slots.iter_mut().skip(got) {
            slot.left -= 1;
            if slot.left == 0 {
                gone.extend(slot.value.take());
            }
        }
        self.tidy();
        gone
    }

    /// Removes the values that all their receivers have got.
    fn tidy(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.value.is_none()) {
            self.slots.pop_front();
            self.first += 1;
        }
        // R126
        if shrink::shrink(&mut self.slots) {
            self.spare.truncate(self.slots.capacity());
            self.spare.shrink_to(self.slots.capacity());
        }
    }
}
