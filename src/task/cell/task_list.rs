//! The tasks of an executor that have not ended, as a list through their headers.
//!
//! A table of references costs eight bytes for each task beside the header, a key with a generation,
//! and several instructions for a free slot. A list through the headers needs neither a key nor an
//! allocation, and is in the order of creation, in which tasks are shown and closed. Since version
//! 3.14 asyncio has such a list, too.
//!
//! In the notes: `all_tasks()` (N18).
//!
//! # Rules
//!
//! - Each task is in the list of its own executor, once at most, and the list has a reference to it.
//!   So the pointers of the list are to headers that are there.
//! - Only this file changes a list and its links, on the loop's thread, and runs no other code
//!   meanwhile.

use super::TaskPtr;
use super::header::{Header, Links};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

type Link = Cell<Option<NonNull<Header>>>;

/// The tasks of an executor that have not ended, in the order of creation.
#[derive(Default)]
pub(in crate::task) struct TaskList {
    first: Link,
    last: Link,
    len: Cell<usize>,
}

/// The links of a header.
///
/// # Safety
///
/// The header is there while they are used, and this is the loop's thread.
#[inline]
unsafe fn links<'a>(header: NonNull<Header>) -> &'a Links {
    // SAFETY: by the contract.
    unsafe { &header.as_ref().local_part.links }
}

impl TaskPtr {
    /// Whether the task is in the list of its executor.
    #[inline]
    pub(in crate::task) fn is_linked(&self) -> bool {
        let is_first = || self.executor().all.first.get() == Some(self.header);
        self.local_part.links.previous.get().is_some() || is_first()
    }

    /// Appends the task to the list of its executor, which takes a reference.
    #[inline]
    pub(in crate::task) fn link(&self) {
        if self.is_linked() {
            return;
        }
        let list = &self.executor().all;
        let _owned = ManuallyDrop::new(self.clone());
        let last = list.last.replace(Some(self.header));
        match last {
            // SAFETY: the list has a reference to it, on this thread.
            Some(last) => unsafe { links(last) }.next.set(Some(self.header)),
            None => list.first.set(Some(self.header)),
        }
        self.local_part.links.previous.set(last);
        list.len.set(list.len.get() + 1);
    }

    /// Removes the task from the list of its executor, and returns the list's reference; `None` if it
    /// is not in the list.
    #[inline]
    pub(in crate::task) fn unlink(&self) -> Option<Self> {
        if !self.is_linked() {
            return None;
        }
        let list = &self.executor().all;
        let previous = self.local_part.links.previous.take();
        let next = self.local_part.links.next.take();
        match previous {
            // SAFETY: its neighbour is in the list, which has a reference to it, on this thread.
            Some(previous) => unsafe { links(previous) }.next.set(next),
            None => list.first.set(next),
        }
        match next {
            // SAFETY: as above.
            Some(next) => unsafe { links(next) }.previous.set(previous),
            None => list.last.set(previous),
        }
        list.len.set(list.len.get() - 1);
        let header = self.header;
        Some(Self { header }) // the reference that `link` took
    }
}

impl TaskList {
    #[inline]
    pub(in crate::task) fn len(&self) -> usize {
        self.len.get()
    }

    pub(in crate::task) fn first(&self) -> Option<TaskPtr> {
        self.first.get().map(Self::reference)
    }

    /// All tasks of the list.
    pub(in crate::task) fn all(&self) -> Vec<TaskPtr> {
        let mut all = Vec::with_capacity(self.len());
        let mut next = self.first.get();
        while let Some(header) = next {
            // SAFETY: it is in the list, which has a reference to it, on this thread.
            next = unsafe { links(header) }.next.get();
            all.push(Self::reference(header));
        }
        all
    }

    /// A reference to a task of a list.
    fn reference(header: NonNull<Header>) -> TaskPtr {
        TaskPtr::clone(&ManuallyDrop::new(TaskPtr { header }))
    }
}

/// The task that is being polled. It has no reference of its own.
#[derive(Default)]
pub(in crate::task) struct CurrentTask(Link);

impl CurrentTask {
    pub(in crate::task) fn get(&self) -> Option<TaskPtr> {
        self.0.get().map(TaskList::reference)
    }

    /// Runs `poll` while `task` is the current one. No task is the current one after it.
    pub(in crate::task) fn during<R>(&self, task: &TaskPtr, poll: impl FnOnce() -> R) -> R {
        /// Clears it also if the poll panics.
        struct Clears<'a>(&'a CurrentTask);
        impl Drop for Clears<'_> {
            fn drop(&mut self) {
                self.0.clear();
            }
        }
        self.set(task);
        let _clears = Clears(self);
        poll()
    }

    /// The caller has a reference to the task until it calls [`clear`](Self::clear), also if it
    /// unwinds.
    #[inline]
    pub(super) fn set(&self, task: &TaskPtr) {
        self.0.set(Some(task.header));
    }

    #[inline]
    pub(in crate::task) fn clear(&self) {
        self.0.set(None);
    }
}
