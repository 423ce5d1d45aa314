//! A cache of freed memory blocks, one for each thread.
//!
//! A task is one block, and a program that spawns and ends a thousand tasks at a time asks the
//! allocator for as many blocks of one size. A list of free blocks for each size is several times
//! cheaper. So each thread keeps up to 256 KiB of the blocks it has freed for the next requests of
//! their sizes. It frees them after sixteen turns without a request (R126), and when it ends; a thread
//! that has never asked for a block keeps none.
//!
//! It makes no system call; it is in this crate because it needs `unsafe`.
//! Nothing in the notes; it is what makes a Task cheap (N15).
//!
//! # Rules
//!
//! - A block in a list has no other owner. Its first word points to the next one; it is as large and
//!   as aligned as the place of the list says, for it was handed in with that layout.
//! - A tool that looks for memory errors must see each block freed: with the cfg `readily_plain_blocks` nothing
//!   is kept. (Miri is run both ways: it checks the lists, too.)

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

const WORD: usize = size_of::<usize>();

/// The largest that is kept, in words.
const WORDS: usize = 64;

/// So many bytes are kept at most: two thousand tasks of the usual size (R126).
const ROOM: usize = 256 << 10;

/// After so many turns in which nothing came or went a burst is over.
const IDLE: u32 = 16;

const KEEPS: bool = !cfg!(readily_plain_blocks);

/// The beginning of a block that is kept.
struct Free {
    next: *mut Free,
}

struct Cache {
    /// By size in words.
    lists: [Cell<*mut Free>; WORDS + 1],
    /// For how many bytes more there is room. None before the thread has asked for something.
    room: Cell<usize>,
    /// In how many turns running nothing has come or gone, up to [`IDLE`].
    turns: Cell<u32>,
}

thread_local! {
    static KEPT: Cache = const { Cache::new(0) };
}

/// A block of this layout; what is in it is anything.
///
/// Aborts the process if there is no memory left, as `Box` does.
///
/// # Panics
///
/// For a layout of no bytes.
#[inline]
#[must_use = "it is lost without `give`"]
pub fn allocate(layout: Layout) -> NonNull<u8> {
    if let Some(list) = list_of(layout) {
        let kept = KEPT.try_with(|kept| kept.pop(list)); // none where the thread ends
        if let Ok(Some(block)) = kept {
            return block;
        }
    }
    allocate_new(layout)
}

#[cold]
fn allocate_new(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() != 0, "a block has a size");
    let _ = KEPT.try_with(Cache::make_room);
    // SAFETY: it is not of size zero.
    let block = unsafe { alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a block back, as [`free`] does; `list` is that of its layout, found beforehand.
///
/// # Safety
///
/// As [`free`], and [`list_of`] returns `list` for this layout.
#[inline]
pub unsafe fn free_to(block: NonNull<u8>, layout: Layout, list: Option<usize>) {
    if let Some(list) = list {
        // SAFETY: by our contract the block has no owner, and is of the size of this list.
        let kept = KEPT.try_with(|kept| unsafe { kept.push(block, list) });
        if kept == Ok(true) {
            return;
        }
    }
    // SAFETY: by our contract it came from `alloc` with this layout, at the latest before it was kept,
    // and is not used any more.
    unsafe { dealloc(block.as_ptr(), layout) }
}

/// Gives a block back: to this thread's next [`allocate`] of its size, or to the allocator.
///
/// # Safety
///
/// It came from [`allocate`] with this layout, on any thread, and is not used any more.
#[inline]
pub unsafe fn free(block: NonNull<u8>, layout: Layout) {
    // SAFETY: the contract is the same.
    unsafe { free_to(block, layout, list_of(layout)) }
}

/// A turn of this thread's loop has ended: what is kept may be of a burst that is over. Returns whether
/// the end of another turn may free something.
#[inline]
pub fn end_turn() -> bool {
    KEPT.try_with(Cache::end_turn).unwrap_or(false)
}

/// In which list such a block is kept; `None` if in none.
#[inline]
#[must_use]
pub const fn list_of(layout: Layout) -> Option<usize> {
    let words = layout.size() / WORD;
    let fits = layout.align() == WORD && layout.size() % WORD == 0 && words.wrapping_sub(1) < WORDS;
    if KEEPS && fits { Some(words) } else { None }
}

impl Cache {
    const fn new(room: usize) -> Self {
        Self {
            lists: [const { Cell::new(null_mut()) }; WORDS + 1],
            room: Cell::new(room),
            turns: Cell::new(0),
        }
    }

    #[inline]
    fn pop(&self, list: usize) -> Option<NonNull<u8>> {
        let first = &self.lists[list];
        let block = NonNull::new(first.get())?;
        // SAFETY: a block in a list is ours alone, and begins with this.
        let next = unsafe { (*block.as_ptr()).next };
        first.set(next);
        self.room.set(self.room.get() + list * WORD);
        self.turns.set(0);
        Some(block.cast())
    }

    /// `false`, and nothing done, if there is no room.
    ///
    /// # Safety
    ///
    /// The block has no owner, and [`list_of`] returns this list for its layout.
    #[inline]
    unsafe fn push(&self, block: NonNull<u8>, list: usize) -> bool {
        let Some(room) = self.room.get().checked_sub(list * WORD) else {
            return false;
        };
        self.room.set(room);
        self.turns.set(0);
        let block = block.as_ptr().cast::<Free>();
        let next = self.lists[list].replace(block);
        // SAFETY: by our contract the block has no owner, has a word at least, and is aligned for that.
        unsafe { block.write(Free { next }) };
        true
    }

    /// Nothing of some size was there. If what is kept is of other sizes mostly, it is in the way.
    fn make_room(&self) {
        if self.room.get() < ROOM / 2 {
            self.let_go();
            self.room.set(ROOM);
        }
    }

    #[inline]
    fn end_turn(&self) -> bool {
        let turns = self.turns.get();
        if turns < IDLE {
            self.turns.set(turns + 1);
            if turns + 1 == IDLE {
                self.let_go();
                self.turns.set(IDLE);
            }
        }
        self.turns.get() < IDLE
    }

    #[cold]
    fn let_go(&self) {
        for list in 1..=WORDS {
            let layout = Layout::from_size_align(list * WORD, WORD).expect("a few words");
            while let Some(block) = self.pop(list) {
                // SAFETY: it was handed in with such a layout, and is in no list any more.
                unsafe { dealloc(block.as_ptr(), layout) }
            }
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: usize) -> Layout {
        Layout::from_size_align(words * WORD, WORD).unwrap()
    }

    #[test]
    fn a_block_is_kept_for_its_own_size_and_handed_out_once() {
        let kept = Cache::new(ROOM);
        let (small, large) = (allocate_new(of(3)), allocate_new(of(4)));
        for (block, list) in [(small, 3), (large, 4)] {
            // SAFETY: it was taken a moment ago with the layout of this list, and is used no more.
            assert!(unsafe { kept.push(block, list) });
        }
        assert_eq!(kept.room.get(), ROOM - 7 * WORD);
        assert_eq!(kept.pop(4), Some(large));
        assert_eq!((kept.pop(4), kept.pop(2)), (None, None));
        assert_eq!(kept.pop(3), Some(small));
        assert_eq!(kept.room.get(), ROOM);
        for (block, words) in [(small, 3), (large, 4)] {
            // SAFETY: it was taken with this layout, and popped from its list.
            unsafe { free(block, of(words)) };
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let kept = Cache::new(0);
        let block = allocate_new(of(5));
        // SAFETY: it is of five words, and has no owner.
        assert!(!unsafe { kept.push(block, 5) }, "no room before a request");
        kept.make_room();
        // SAFETY: as above; it was not kept.
        assert!(unsafe { kept.push(block, 5) });
        kept.make_room();
        assert_eq!(kept.room.get(), ROOM - 5 * WORD, "the list has room again");
        kept.room.set(4 * WORD);
        let another = allocate_new(of(5));
        // SAFETY: another of five words.
        assert!(!unsafe { kept.push(another, 5) });
        kept.make_room();
        assert_eq!(kept.pop(5), None, "it has made room for other sizes");
        // SAFETY: it was taken with this layout, and not kept.
        unsafe { free(another, of(5)) };
    }

    #[test]
    fn blocks_unused_for_so_many_turns_are_given_back() {
        let kept = Cache::new(ROOM);
        for turns in [IDLE - 1, IDLE] {
            let block = kept.pop(6).unwrap_or_else(|| allocate_new(of(6)));
            // SAFETY: it is of six words, and in no list.
            assert!(unsafe { kept.push(block, 6) });
            let ends: Vec<bool> = (0..turns).map(|_| kept.end_turn()).collect();
            assert!(ends[..IDLE as usize - 1].iter().all(|&more| more));
            assert_eq!(ends.last(), Some(&(turns != IDLE)));
            assert_eq!(kept.room.get() == ROOM, turns == IDLE);
        }
        assert_eq!(kept.pop(6), None);
    }

    #[test]
    fn what_is_too_large_or_aligned_otherwise_is_not_kept() {
        let odd = Layout::from_size_align(WORD + 1, WORD).unwrap();
        let wide = Layout::from_size_align(8 * WORD, 4 * WORD).unwrap();
        for layout in [of(WORDS + 1), odd, wide] {
            assert_eq!(list_of(layout), None);
            let block = allocate(layout);
            // SAFETY: it was taken with this layout a moment ago.
            unsafe { free(block, layout) };
        }
        assert_eq!(list_of(of(0)), None);
        assert_eq!(list_of(of(WORDS)), KEEPS.then_some(WORDS));
    }
}
