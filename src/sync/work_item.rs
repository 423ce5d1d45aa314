//! `WorkItem`: an item of a queue that counts as done when its worker drops it.
//!
//! A worker that gets an item and is cancelled before it calls `task_done` would make every `join` wait for
//! ever. This guard calls it however the worker ends: by a return, an error, a panic, or a drop at an
//! `await`.
//!
//! In asyncio one writes `try: ... finally: queue.task_done()`. Rule: Q7.

use super::errors::{Closed, GetError};
use super::queue::Queue;
use super::queue_order::{Fifo, QueueOrder};
use super::queue_state::QueueState;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// An item from [`Queue::get_work_item`], which counts as [done](Queue::task_done) when this is dropped. Dereferences
/// to the item.
#[must_use = "the item counts as done when this is dropped"]
pub struct WorkItem<T, S: QueueOrder<T> = Fifo<T>> {
    // Before `done`, which speaks when the item has gone, also if its destructor panics.
    item: T,
    done: Done<T, S>,
}

/// What says it when it is dropped.
struct Done<T, S: QueueOrder<T>>(Rc<QueueState<T, S>>);

impl<T, S: QueueOrder<T>> Drop for Done<T, S> {
    fn drop(&mut self) {
        // The program may have called `task_done` itself.
        if self.0.has_taken_items() {
            self.0.done(1);
        }
    }
}

impl<T, S: QueueOrder<T>> WorkItem<T, S> {
    pub(super) fn new(item: T, state: &Rc<QueueState<T, S>>) -> Self {
        Self {
            item,
            done: Done(Rc::clone(state)),
        }
    }

    /// Marks the item as done, and returns it.
    pub fn finish(self) -> T {
        let Self { item, done } = self;
        drop(done);
        item
    }
}

impl<T, S: QueueOrder<T>> Queue<T, S> {
    /// Waits for an item, as [`get`](Queue::get) does, and returns it as a [`WorkItem`]: the item counts as done when
    /// that is dropped. So [`join`](Queue::join) ends even if a worker fails, or is cancelled, in the middle of an
    /// item.
    ///
    /// # Errors
    ///
    /// As [`get`](Queue::get).
    ///
    /// # Cancellation
    ///
    /// As [`get`](Queue::get): no item is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Queue, run, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// run(async {
    ///     let pages = Queue::unbounded();
    ///     pages.try_put("/slow").unwrap();
    ///     let theirs = pages.clone();
    ///     let worker = spawn(async move {
    ///         let _page = theirs.get_work_item().await.unwrap();
    ///         sleep(Duration::from_secs(3600)).await;
    ///     });
    ///     yield_now().await;
    ///     worker.cancel();
    ///     pages.join().await; // for ever, after a `get`
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub async fn get_work_item(&self) -> Result<WorkItem<T, S>, Closed> {
        let item = self.get().await?;
        Ok(WorkItem::new(item, &self.state))
    }

    /// Takes an item, as [`try_get`](Queue::try_get) does, and returns it as a [`WorkItem`].
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn try_get_work_item(&self) -> Result<WorkItem<T, S>, GetError> {
        let item = self.try_get()?;
        Ok(WorkItem::new(item, &self.state))
    }
}

impl<T, S: QueueOrder<T>> Deref for WorkItem<T, S> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T, S: QueueOrder<T>> DerefMut for WorkItem<T, S> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug, S: QueueOrder<T>> fmt::Debug for WorkItem<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkItem").field(&self.item).finish()
    }
}
