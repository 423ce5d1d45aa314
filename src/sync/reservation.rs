//! `Reservation`: a place in a queue for an item that comes later.
//!
//! A `put` that is cancelled, or loses a race, drops its item, or has put it already: its caller does
//! not know, and one that tries again may put it twice. Waiting for a place is what may be given
//! up; putting an item into that place is done at once, and fails only where the queue was closed.
//!
//! Not in asyncio. In tokio: `mpsc::Sender::reserve`. Rule: Q6.

use super::errors::{PutError, Shut};
use super::queue::Queue;
use super::shelf::Shelf;
use super::shelf_waits::Reserve;
use super::store::{Fifo, Store};
use std::fmt;
use std::rc::Rc;

/// A place in a queue that is kept until this is used, or dropped. It may be sent to another task.
///
/// One that is kept and neither used nor dropped takes room from all others; so does a future of
/// [`Queue::reserve`] that was granted one: see [futurelock](crate::select#futurelock).
#[must_use = "dropping it gives the place up"]
pub struct Reservation<T, S: Store<T> = Fifo<T>> {
    shelf: Rc<Shelf<T, S>>,
}

impl<T, S: Store<T>> Reservation<T, S> {
    pub(super) fn new(shelf: &Rc<Shelf<T, S>>) -> Self {
        let shelf = Rc::clone(shelf);
        Self { shelf }
    }

    /// Puts `item` into the place, without waiting.
    ///
    /// # Errors
    ///
    /// [`Shut`] with `item` in it, if the queue was closed since.
    ///
    /// # Panics
    ///
    /// If comparing it with the others does: `item` is not in the queue then.
    pub fn put(self, item: T) -> Result<(), Shut<T>> {
        // The place is given up afterwards, when the item has it.
        self.shelf.put_reserved(item)
    }
}

impl<T, S: Store<T>> Drop for Reservation<T, S> {
    fn drop(&mut self) {
        self.shelf.give_up_place();
    }
}

impl<T, S: Store<T>> fmt::Debug for Reservation<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}

impl<T, S: Store<T>> Queue<T, S> {
    /// Waits for room, and keeps a place for an item that comes later. It waits in one line with
    /// [`put`](Queue::put).
    ///
    /// What may be cancelled, or lose a race, waits here and then puts at once: the item is never in
    /// question. A [`put`](Queue::put) that was dropped may have put.
    ///
    /// # Errors
    ///
    /// [`Shut`] if the queue is closed, or is closed meanwhile.
    ///
    /// # Cancellation
    ///
    /// Dropping it gives up its place in the line, and a place that it was granted is the next one's.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::sync::Queue;
    /// use readily::{run, wait_for};
    /// use std::time::Duration;
    ///
    /// run(async {
    ///     let queue = Queue::bounded(1);
    ///     queue.put_nowait("the first").unwrap();
    ///     let item = "the second";
    ///     loop {
    ///         match wait_for(Duration::from_millis(5), queue.reserve()).await {
    ///             // However often this has failed: it is put once.
    ///             Ok(place) => break place.unwrap().put(item).unwrap(),
    ///             Err(_elapsed) => drop(queue.get_nowait()),
    ///         }
    ///     }
    ///     assert_eq!(queue.close_now(), ["the second"]);
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn reserve(&self) -> impl Future<Output = Result<Reservation<T, S>, Shut>> {
        Reserve::new(&self.shelf)
    }

    /// Keeps a place for an item that comes later, if there is room and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`PutError`].
    #[doc(alias = "try_reserve")]
    pub fn reserve_nowait(&self) -> Result<Reservation<T, S>, PutError<()>> {
        self.shelf.try_reserve()?;
        Ok(Reservation::new(&self.shelf))
    }
}
