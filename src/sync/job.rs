//! `Job`: an item of a queue that counts as done when its worker lets go of it.
//!
//! A worker that gets an item and is cancelled in the middle never says that it is done, and
//! whoever waits for all to be done (`join`) waits for ever. A guard says it for him, however he
//! ends: by returning, by an error, by a panic, or dropped where he waits.
//!
//! Not in asyncio, where one writes `try: ... finally: queue.task_done()`. Rule: Q7.

use super::errors::{GetError, Shut};
use super::queue::Queue;
use super::shelf::Shelf;
use super::store::{Fifo, Store};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// An item that was got by [`Queue::get_job`], to which this dereferences.
/// When it is dropped, the item counts as [done](Queue::task_done).
#[must_use = "the item counts as done when this is dropped"]
pub struct Job<T, S: Store<T> = Fifo<T>> {
    // Before `done`, which speaks when the item has gone, also if its destructor panics.
    item: T,
    done: Done<T, S>,
}

/// What says it when it is dropped.
struct Done<T, S: Store<T>>(Rc<Shelf<T, S>>);

impl<T, S: Store<T>> Drop for Done<T, S> {
    fn drop(&mut self) {
        // Somebody may have said so by hand.
        if self.0.at_work() {
            self.0.done(1);
        }
    }
}

impl<T, S: Store<T>> Job<T, S> {
    pub(super) fn new(item: T, shelf: &Rc<Shelf<T, S>>) -> Self {
        Self {
            item,
            done: Done(Rc::clone(shelf)),
        }
    }

    /// Says that it is done, and hands the item out.
    pub fn finish(self) -> T {
        let Self { item, done } = self;
        drop(done);
        item
    }
}

impl<T, S: Store<T>> Queue<T, S> {
    /// [`get`](Queue::get), as a [`Job`]: the item counts as done when that is dropped. So
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
    /// use readily::sync::Queue;
    /// use readily::{run, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// run(async {
    ///     let pages = Queue::unbounded();
    ///     pages.put_nowait("/slow").unwrap();
    ///     let theirs = pages.clone();
    ///     let worker = spawn(async move {
    ///         let _page = theirs.get_job().await.unwrap();
    ///         sleep(Duration::from_secs(3600)).await;
    ///     });
    ///     yield_now().await;
    ///     worker.cancel();
    ///     pages.join().await; // for ever, after a `get`
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub async fn get_job(&self) -> Result<Job<T, S>, Shut> {
        let item = self.get().await?;
        Ok(Job::new(item, &self.shelf))
    }

    /// [`get_nowait`](Queue::get_nowait), as a [`Job`].
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn get_job_nowait(&self) -> Result<Job<T, S>, GetError> {
        let item = self.get_nowait()?;
        Ok(Job::new(item, &self.shelf))
    }
}

impl<T, S: Store<T>> Deref for Job<T, S> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T, S: Store<T>> DerefMut for Job<T, S> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug, S: Store<T>> fmt::Debug for Job<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.item).finish()
    }
}
