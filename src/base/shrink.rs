//! The rule by which a buffer shrinks after a burst.
//!
//! A buffer that grows with a burst of tasks, timers or closures must not keep that size for life
//! (R126), and must not be allocated anew for each burst either. So its capacity is halved, and only
//! while its entries fit into an eighth of it; small buffers never shrink. Queues, heaps and slabs
//! follow the same rule.

use std::collections::VecDeque;

/// A buffer with room for at most this many entries is never shrunk.
pub(crate) const MIN_CAPACITY: usize = 1024;

/// With fewer entries than this, room for `room` is too much; zero where it never is.
#[inline]
pub(crate) const fn shrink_below(room: usize) -> usize {
    if room > MIN_CAPACITY { room / 8 } else { 0 }
}

/// A list that can give back room.
pub(crate) trait Room {
    fn entries(&self) -> usize;
    fn room(&self) -> usize;
    fn shrink_to(&mut self, room: usize);
}

macro_rules! has_room {
    ($($list:ident: $shrink_to:expr;)*) => {$(
        impl<T> Room for $list<T> {
            fn entries(&self) -> usize {
                self.len()
            }

            fn room(&self) -> usize {
                self.capacity()
            }

            fn shrink_to(&mut self, room: usize) {
                $shrink_to(self, room);
            }
        }
    )*};
}

has_room! {
    Vec: Vec::shrink_to;
    // `VecDeque::shrink_to` has three times as much code, once for each type.
    VecDeque: move_to;
}

/// Moves the entries to a list with little room.
fn move_to<T>(list: &mut VecDeque<T>, room: usize) {
    let mut smaller = VecDeque::with_capacity(room.max(list.len()));
    smaller.append(list);
    *list = smaller;
}

/// Halves the room of a list that is far larger than what is in it (R126), as often as that is so. To be
/// called where entries have been taken out; whether it has shrunk.
#[inline]
pub(crate) fn shrink(list: &mut impl Room) -> bool {
    let is_large = list.entries() < shrink_below(list.room());
    if is_large {
        halve(list);
    }
    is_large
}

#[cold]
fn halve(list: &mut impl Room) {
    let mut room = list.room();
    while list.entries() < shrink_below(room) {
        room /= 2;
    }
    list.shrink_to(room);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_emptied_one_by_one_ends_with_a_small_room() {
        let mut list: VecDeque<usize> = (0..100_000).collect();
        let mut shrunk = 0;
        while let Some(first) = list.pop_front() {
            assert_eq!(first + list.len(), 99_999);
            shrunk += usize::from(shrink(&mut list));
        }
        assert!(list.capacity() <= MIN_CAPACITY);
        assert!((1..10).contains(&shrunk), "{shrunk} times");
    }
}
