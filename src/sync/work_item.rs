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

/// An item that was got by [`Queue::get_work_item`], to which this dereferences.
/// When it is dropped, the item counts as [done](Queue::task_done).
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

    /// Says that it is done, and hands the item out.
    pub fn finish(self) -> T {
        let Self { item, done } = self;
        drop(done);
        item
    }
}

impl<T, S: QueueOrder<T>> Queue<T, S> {
    /// [`get`](Queue::get), as a [`WorkItem`]: the item counts as done when that is dropped. So
    /// [`join`](Queue::join) ends also where a worker fails, or is cancelled, over its item.
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

    /// [`try_get`](Queue::try_get), as a [`WorkItem`].
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
