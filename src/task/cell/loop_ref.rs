//! What the tasks of a loop share: `L`, which is the executor, for the loop's thread, and the inbox
//! for any thread.
//!
//! A task needs the executor as long as the loop's thread has a reference to it, and the inbox as long
//! as it has a waker, on any thread. With one counted pointer for each, a spawn takes and releases two
//! counts, one of them with locked instructions. Here both are in one allocation with two counts, as
//! those of a task's cell: the references of the loop's thread, which a plain number counts, have one
//! share together. A task whose wakers outlive its references takes a share of its own only then.
//!
//! Nothing in the notes; it is what makes a Task cheap (N15).
//!
//! # Rules
//!
//! - A [`LoopRef`] is not `Send`. `L` is touched through one, and dropped with the last one.
//! - A [`LoopPtr`] owns what [`LoopRef::into_ptr`] gave it, until it is released by one of its unsafe
//!   functions. Any thread may use its inbox until then.

use crate::event_loop::Inbox;
use std::cell::{Cell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// Allocated as an `Arc`, whose count is that of the shares.
struct Shared<L> {
    /// For any thread.
    inbox: Arc<Inbox>,
    /// That of the inbox, for each wake.
    loop_id: u64,
    /// The references of the loop's thread.
    references: Cell<usize>,
    /// For the loop's thread; dropped there, with the last reference. In an `UnsafeCell`: another
    /// thread that releases a share borrows this struct for a moment, perhaps while it is dropped.
    local: UnsafeCell<ManuallyDrop<L>>,
}

/// A reference on the loop's thread.
pub(in crate::task) struct LoopRef<L> {
    /// From `Arc::into_raw`.
    shared: NonNull<Shared<L>>,
}

impl<L> LoopRef<L> {
    #[allow(clippy::arc_with_non_send_sync)] // `LoopPtr` has the reason
    pub(in crate::task) fn new(inbox: Arc<Inbox>, local: L) -> Self {
        let shared = Arc::new(Shared {
            loop_id: inbox.loop_id,
            inbox,
            references: Cell::new(1),
            local: UnsafeCell::new(ManuallyDrop::new(local)),
        });
        let shared = Arc::into_raw(shared).cast_mut();
        // SAFETY: a pointer from `into_raw` is not null.
        let shared = unsafe { NonNull::new_unchecked(shared) };
        Self { shared }
    }

    #[inline]
    fn shared(&self) -> &Shared<L> {
        // SAFETY: the references of this thread have a share, and this is one of them; only shared
        // references are made before the last one is dropped.
        unsafe { self.shared.as_ref() }
    }

    pub(in crate::task) fn inbox(&self) -> &Arc<Inbox> {
        &self.shared().inbox
    }

    #[inline]
    pub(super) fn into_ptr(self) -> LoopPtr<L> {
        LoopPtr(ManuallyDrop::new(self).shared)
    }

    /// The references of this thread, and the shares of tasks whose wakers have outlived theirs.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        // SAFETY: the pointer is from `into_raw`, and the share is not released here.
        let shares = ManuallyDrop::new(unsafe { Arc::from_raw(self.shared.as_ptr()) });
        self.shared().references.get() + Arc::strong_count(&shares) - 1
    }
}

impl<L> Deref for LoopRef<L> {
    type Target = L;

    #[inline]
    fn deref(&self) -> &L {
        // SAFETY: this thread has a reference, so it is not dropped yet, and is borrowed only as shared.
        unsafe { &*self.shared().local.get() }
    }
}

impl<L> Clone for LoopRef<L> {
    #[inline]
    fn clone(&self) -> Self {
        let references = &self.shared().references;
        // Each is in a value of this many bytes at least, so it does not overflow, but for leaked ones.
        match references.get().checked_add(1) {
            Some(more) => references.set(more),
            None => std::process::abort(), // as `Rc` does
        }
        let shared = self.shared;
        Self { shared }
    }
}

impl<L> Drop for LoopRef<L> {
    #[inline]
    fn drop(&mut self) {
        let references = &self.shared().references;
        references.set(references.get() - 1);
        if references.get() == 0 {
            // SAFETY: the count shows that it was the last one, and it is being dropped.
            unsafe { drop_last(self.shared) }
        }
    }
}

/// # Safety
///
/// The last reference of this thread is being dropped.
#[inline(never)]
unsafe fn drop_last<L>(shared: NonNull<Shared<L>>) {
    /// Releases the share also if the destructor of `L` panics.
    struct Share<L>(NonNull<Shared<L>>);
    impl<L> Drop for Share<L> {
        fn drop(&mut self) {
            // SAFETY: the pointer is from `into_raw`, and the share is that of the references, none of
            // which is left.
            unsafe { Arc::decrement_strong_count(self.0.as_ptr()) }
        }
    }
    let share = Share(shared);
    // SAFETY: within the allocation, which the share keeps.
    let local = unsafe { (*share.0.as_ptr()).local.get() };
    // SAFETY: by the contract no reference is left that could borrow it; no other thread touches it.
    let local = unsafe { &mut *local };
    // SAFETY: it is dropped here only, and not used after this.
    unsafe { ManuallyDrop::drop(local) }
}

/// A [`LoopRef`] without its destructor, for the part of a task that any thread touches. Later on, a
/// share: see [`LoopPtr::release`].
pub(super) struct LoopPtr<L>(NonNull<Shared<L>>);

// SAFETY: without `unsafe` only the inbox is reached through it, which is `Sync`, and whose `Arc` is
// `Send`. The functions that touch more have contracts.
unsafe impl<L> Send for LoopPtr<L> {}
// SAFETY: as above.
unsafe impl<L> Sync for LoopPtr<L> {}

impl<L> LoopPtr<L> {
    #[inline]
    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        // SAFETY: it owns a reference or a share until it is released, and a field is borrowed that is
        // never changed.
        unsafe { &(*self.0.as_ptr()).inbox }
    }

    /// The id of the loop.
    #[inline]
    pub(super) fn loop_id(&self) -> u64 {
        // SAFETY: as in `inbox`.
        unsafe { (*self.0.as_ptr()).loop_id }
    }

    /// # Safety
    ///
    /// On the loop's thread, before [`release`](Self::release).
    #[inline]
    pub(super) unsafe fn local(&self) -> &L {
        // SAFETY: by the contract it owns a reference of this thread, which keeps the allocation.
        let local = unsafe { (*self.0.as_ptr()).local.get() };
        // SAFETY: it is dropped after that reference, and borrowed only as shared.
        unsafe { &*local }
    }

    /// Returns the reference that it owns. With `keeps_share` it owns a share from here on.
    ///
    /// # Safety
    ///
    /// On the loop's thread, once. Without `keeps_share` it is not used any more.
    #[inline]
    pub(super) unsafe fn release(&self, keeps_share: bool) -> LoopRef<L> {
        if keeps_share {
            // SAFETY: the pointer is from `into_raw`, and the reference that is returned keeps it.
            unsafe { Arc::increment_strong_count(self.0.as_ptr()) }
        }
        LoopRef { shared: self.0 }
    }

    /// Drops the share.
    ///
    /// # Safety
    ///
    /// After `release(true)`, once; it is not used any more.
    pub(super) unsafe fn drop_share(&self) {
        // SAFETY: the pointer is from `into_raw`, and by the contract it owns a share. `L` is not
        // dropped by that: the last reference of the loop's thread does it.
        unsafe { Arc::decrement_strong_count(self.0.as_ptr()) }
    }
}
