//! One word for the waiter of a task, or for the box of its rare fields, which then has the waiter.
//!
//! Most tasks have one waiter and no rare fields, many have neither. The lowest bit of the word shows
//! which it is: both are aligned to words.
//!
//! In the notes: the queries of a Task (N16).

use super::TaskWaker;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

/// The bit of a pointer to a box.
const BOXED: usize = 1;

/// Null, or an owned waker's pointer, or, with [`BOXED`], that of an owned `Box<R>`.
pub(super) struct Extra<R>(Cell<*mut ()>, PhantomData<(TaskWaker, Box<R>)>);

impl<R> Extra<R> {
    const ALIGNED: () = assert!(align_of::<R>() > BOXED);

    pub(super) fn new() -> Self {
        let () = Self::ALIGNED;
        Self(Cell::new(null_mut()), PhantomData)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.get().is_null()
    }

    /// The pointer of the box.
    #[inline]
    fn boxed(&self) -> Option<*mut R> {
        let word = self.0.get();
        let is_boxed = word.addr() & BOXED != 0;
        is_boxed.then(|| word.map_addr(|word| word & !BOXED).cast())
    }

    #[inline]
    pub(super) fn get(&self) -> Option<&R> {
        // SAFETY: the box is there until this is dropped, and only shared references are made to what
        // is in it.
        self.boxed().map(|rare| unsafe { &*rare })
    }

    /// Returns the rare fields, which are made at first, of the waiter.
    pub(super) fn get_or_init(&self, make: impl FnOnce(Option<TaskWaker>) -> R) -> &R {
        if self.boxed().is_none() {
            let rare = Box::new(make(self.take()));
            let rare = Box::into_raw(rare).cast::<()>();
            self.0.set(rare.map_addr(|word| word | BOXED));
        }
        self.get().expect("it was made")
    }

    /// Takes the waiter, if there is no box.
    #[inline]
    pub(super) fn take(&self) -> Option<TaskWaker> {
        if self.boxed().is_some() {
            return None;
        }
        let waiter = NonNull::new(self.0.replace(null_mut()))?;
        // SAFETY: without the bit it is a pointer of `set`, which the word owns no more.
        Some(unsafe { TaskWaker::from_raw(waiter) })
    }

    /// Stores a waiter, and returns it if there is a box.
    #[inline]
    pub(super) fn set(&self, waiter: TaskWaker) -> Option<TaskWaker> {
        if self.boxed().is_some() {
            return Some(waiter);
        }
        let _old = self.take();
        self.0.set(waiter.into_raw().as_ptr());
        None
    }
}

impl<R> Drop for Extra<R> {
    fn drop(&mut self) {
        let Some(rare) = self.boxed() else {
            return drop(self.take());
        };
        self.0.set(null_mut());
        // SAFETY: the pointer is that of the box of `get_or_init`, which is owned here and dropped once.
        drop(unsafe { Box::from_raw(rare) });
    }
}
