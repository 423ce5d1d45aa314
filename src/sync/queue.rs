//! `Queue`, `LifoQueue`, `PriorityQueue`: from producers to consumers.
//!
//! A bounded queue makes a fast producer wait for its consumers: that is back-pressure. Closing a queue
//! means that no more items will come; consumers take the items that are left, and then get an error.
//! `join` waits until all items are done. An empty queue does not mean that, because the last item may
//! still be in progress.
//!
//! In asyncio: `Queue` and its two kinds, with `shutdown`.

use super::errors::{Closed, GetError, PutError};
use super::queue_futures::{Get, Put};
use super::queue_order::{Fifo, Lifo, MinFirst, QueueOrder};
use super::queue_state::QueueState;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// The error of a [`task_done`](Queue::task_done) that was called more often than items were got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("task_done was called more often than items were got")]
pub struct TaskDoneError;

/// A queue of items, first in, first out. Clones refer to the same queue.
///
/// Waiters, on either side, are served in the order of their arrival, and no other call overtakes
/// them; nor does [`try_put`](Queue::try_put) or [`try_get`](Queue::try_get).
///
/// # Examples
///
/// ```
/// use readily::{Queue, run, spawn};
///
/// let squares = run(async {
///     let (numbers, squares) = (Queue::bounded(1), Queue::unbounded());
///     for _ in 0..2 {
///         let (numbers, squares) = (numbers.clone(), squares.clone());
///         spawn(async move {
///             while let Ok(n) = numbers.get().await {
///                 squares.try_put(n * n).unwrap();
///                 numbers.task_done().unwrap();
///             }
///         });
///     }
///     for n in 1..=4 {
///         numbers.put(n).await.unwrap();
///     }
///     numbers.join().await;
///     numbers.close(); // the workers end
///     let mut squares = squares.close_now();
///     squares.sort();
///     squares
/// })?;
/// assert_eq!(squares, [1, 4, 9, 16]);
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "mpsc")]
pub struct Queue<T, S: QueueOrder<T> = Fifo<T>> {
    pub(super) state: Rc<QueueState<T, S>>,
}

impl<T> Queue<T> {
    /// A queue that takes as much as there is memory for.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::with(usize::MAX)
    }

    /// A queue of so many items at most.
    ///
    /// # Panics
    ///
    /// If `maxsize` is zero: an item could never be put. In asyncio, `Queue(0)` is a queue without a
    /// limit; here that is [`Queue::unbounded`]. Check a number that comes from a configuration file
    /// first.
    #[must_use]
    pub fn bounded(maxsize: usize) -> Self {
        Self::with(maxsize)
    }
}

impl<T, S: QueueOrder<T>> Queue<T, S> {
    fn with(maxsize: usize) -> Self {
        assert!(maxsize > 0, "a queue is for one item at least");
        Self {
            state: Rc::new(QueueState::new(maxsize)),
        }
    }

    /// Waits for room, and puts `item`.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `item` in it, if the queue is closed, or is closed meanwhile.
    ///
    /// # Cancellation
    ///
    /// If the item was not put yet, dropping the future drops the item, and gives up the place among the waiters. But
    /// the item may have been put since the future was polled last; then it stays in the queue. So a `put` that was
    /// dropped may have put its item. To rule that out, use [`reserve`](Queue::reserve).
    #[doc(alias = "send")]
    #[doc(alias = "push")]
    pub fn put(&self, item: T) -> impl Future<Output = Result<(), Closed<T>>> {
        Put::new(&*self.state, item)
    }

    /// Puts `item`, if there is room and no task waits for it.
    ///
    /// # Errors
    ///
    /// [`PutError`] with `item` in it.
    #[doc(alias = "put_nowait")]
    #[doc(alias = "try_send")]
    #[doc(alias = "try_push")]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.state.try_put(item)
    }

    /// Waits for an item, and takes it. If the returned future has been granted an item, and is then neither awaited
    /// nor dropped, no other waiter can get that item: see [futurelock](crate::select#futurelock).
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed, and empty.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up its place among the waiters. No item is lost: an item stays in the queue until this
    /// returns it.
    #[doc(alias = "recv")]
    #[doc(alias = "pop")]
    pub fn get(&self) -> impl Future<Output = Result<T, Closed>> {
        Get::new(&*self.state)
    }

    /// Takes an item, if there is one that is not reserved for a waiter.
    ///
    /// # Errors
    ///
    /// [`GetError`].
    #[doc(alias = "get_nowait")]
    #[doc(alias = "try_recv")]
    #[doc(alias = "try_pop")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.state.try_take()
    }

    /// Returns the number of items, including those that are reserved for getters which have not run yet.
    #[doc(alias = "len")]
    #[must_use]
    pub fn qsize(&self) -> usize {
        self.state.len()
    }

    /// Whether the queue is empty.
    #[doc(alias = "is_empty")]
    #[must_use]
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether the queue is full.
    #[doc(alias = "is_full")]
    #[must_use]
    pub fn full(&self) -> bool {
        !self.state.has_room()
    }

    /// Returns the largest number of items; `None` if the queue has no limit.
    #[doc(alias = "capacity")]
    #[must_use]
    pub fn maxsize(&self) -> Option<usize> {
        Some(self.state.maxsize).filter(|&maxsize| maxsize < usize::MAX)
    }

    /// Marks one item that was got as done. If a worker may be cancelled before it calls this, let it take items with
    /// [`get_work_item`](Queue::get_work_item); otherwise [`join`](Queue::join) may wait for ever.
    ///
    /// # Errors
    ///
    /// [`TaskDoneError`] if all items that were got are done already; nothing has changed.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        if !self.state.has_taken_items() {
            return Err(TaskDoneError);
        }
        self.state.done(1);
        Ok(())
    }

    /// Waits until each item that was put is [done](Queue::task_done). Returns at once if that is so already.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn join(&self) {
        self.state.idle.wait().await;
    }

    /// Closes the queue: it takes no more items. Waiting putters get their items back; getters take the
    /// items that are left, and then get an error. Closing it twice has no further effect.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.state.close();
    }

    /// Closes the queue and returns its items, in the order in which they would have been got. Each
    /// of them counts as [done](Queue::task_done). All waiters are woken.
    ///
    /// If comparing the items panics, all of them are returned in any order, and the panic follows
    /// the [`PanicPolicy`](crate::PanicPolicy) of the loop.
    #[doc(alias = "drain")]
    #[doc(alias = "shutdown")]
    pub fn close_now(&self) -> Vec<T> {
        self.state.clear()
    }

    /// Whether the queue was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.closed.get()
    }
}

impl<T, S: QueueOrder<T>> Clone for Queue<T, S> {
    fn clone(&self) -> Self {
        Self {
            state: Rc::clone(&self.state),
        }
    }
}

impl<T, S: QueueOrder<T>> fmt::Debug for Queue<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("qsize", &self.qsize())
            .field("maxsize", &self.maxsize())
            .field("closed", &self.is_closed())
            .finish()
    }
}

macro_rules! kind_of_queue {
    ($(#[$doc:meta])* $name:ident $store:ident $($ord:ident)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T $(: $ord)?> {
            queue: Queue<T, $store<T>>,
        }

        impl<T $(: $ord)?> $name<T> {
            /// A queue that takes as much as there is memory for.
            #[must_use]
            pub fn unbounded() -> Self {
                Self { queue: Queue::with(usize::MAX) }
            }

            /// A queue of so many items at most.
            ///
            /// # Panics
            ///
            /// If `maxsize` is zero. In asyncio that is a queue without a limit, which is
            /// `unbounded` here.
            #[must_use]
            pub fn bounded(maxsize: usize) -> Self {
                Self { queue: Queue::with(maxsize) }
            }
        }

        impl<T $(: $ord)?> Deref for $name<T> {
            type Target = Queue<T, $store<T>>;

            fn deref(&self) -> &Self::Target {
                &self.queue
            }
        }

        impl<T $(: $ord)?> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { queue: self.queue.clone() }
            }
        }
    };
}

kind_of_queue! {
    /// A [`Queue`] that returns the last item first (last in, first out). Dereferences to the [`Queue`].
    ///
    /// ```
    /// let queue = readily::sync::LifoQueue::unbounded();
    /// queue.try_put(1).unwrap();
    /// queue.try_put(2).unwrap();
    /// assert_eq!(queue.try_get(), Ok(2));
    /// ```
    LifoQueue Lifo
}

kind_of_queue! {
    /// A [`Queue`] that returns the least item first, and of equal items the one that was put first. Dereferences to
    /// the [`Queue`]. To get the greatest item first, put [`Reverse`](std::cmp::Reverse) items.
    ///
    /// Its calls compare items before they change anything. A comparison must not use the queue,
    /// which would panic. If a comparison panics, so does the call: an item that was to be got is
    /// still in the queue, one that was to be put is not in it and is dropped, and other waiters are
    /// served as before.
    ///
    /// ```
    /// let queue = readily::sync::PriorityQueue::unbounded();
    /// for item in [(2, "b"), (1, "a"), (3, "c")] {
    ///     queue.try_put(item).unwrap();
    /// }
    /// assert_eq!(queue.try_get(), Ok((1, "a")));
    /// ```
    PriorityQueue MinFirst Ord
}
