//! The owned waits: `acquire_owned`, `wait_owned`, `get_owned` and their like.
//!
//! A future of [`Lock::acquire`] borrows the lock, so a task that is to wait by itself needs a clone, and an
//! `async move` block around it. An owned wait has the clone in it: it is `'static`, and can be given to
//! [`spawn`](crate::spawn) as it is. They are functions of their own, because a clone in each wait would cost all
//! those that borrow a count of references and a word.
//!
//! In asyncio: `create_task(lock.acquire())`. In tokio: `lock_owned`, `acquire_owned`.

use super::{
    Barrier, BoundedSemaphore, BrokenBarrierError, Closed, Condition, Event, Lock, LockGuard,
    Permit, Queue, QueueOrder, Reservation, Semaphore, WorkItem,
};

impl<T> Lock<T> {
    /// Waits for the lock as [`acquire`](Lock::acquire) does; the future owns a clone of the lock.
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Lock::acquire): a grant that was not fetched goes to the next waiter.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Lock, run, spawn};
    ///
    /// run(async {
    ///     let lock = Lock::new(1);
    ///     let held = lock.acquire().await;
    ///     let next = spawn(lock.acquire_owned());
    ///     drop(held);
    ///     let guard = next.await.unwrap();
    ///     assert_eq!(*guard, 1);
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "lock_owned")]
    pub fn acquire_owned(&self) -> impl Future<Output = LockGuard<T>> + use<T> {
        let lock = self.clone();
        async move { lock.acquire().await }
    }
}

impl Event {
    /// Waits for the event as [`wait`](Event::wait) does; the future owns a clone of the event.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Event, run, spawn};
    ///
    /// run(async {
    ///     let opened = Event::new();
    ///     let waits = spawn(opened.wait_owned());
    ///     opened.set();
    ///     waits.await.unwrap();
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn wait_owned(&self) -> impl Future<Output = ()> + use<> {
        let event = self.clone();
        async move { event.wait().await }
    }
}

impl Condition {
    /// Waits for a notice as [`wait`](Condition::wait) does; the future owns a clone of the condition.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Condition::wait): the guard is dropped, and a notice goes to another waiter.
    pub fn wait_owned<T>(
        &self,
        guard: LockGuard<T>,
    ) -> impl Future<Output = LockGuard<T>> + use<T> {
        let condition = self.clone();
        async move { condition.wait(guard).await }
    }

    /// Waits until `is_so` returns `true`, as [`wait_for`](Condition::wait_for) does; the future owns a clone of the
    /// condition.
    ///
    /// # Panics
    ///
    /// If `is_so` does.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Condition::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::sync::Condition;
    /// use readily::{Lock, run, spawn};
    ///
    /// run(async {
    ///     let (stock, changed) = (Lock::new(0), Condition::new());
    ///     let guard = stock.acquire().await;
    ///     let enough = spawn(changed.wait_for_owned(guard, |stock| *stock > 2));
    ///     *stock.acquire().await = 3;
    ///     changed.notify_all();
    ///     assert_eq!(*enough.await.unwrap(), 3);
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn wait_for_owned<T, P>(
        &self,
        guard: LockGuard<T>,
        is_so: P,
    ) -> impl Future<Output = LockGuard<T>> + use<T, P>
    where
        P: FnMut(&mut T) -> bool,
    {
        let condition = self.clone();
        async move { condition.wait_for(guard, is_so).await }
    }
}

impl Semaphore {
    /// Waits for a permit as [`acquire`](Semaphore::acquire) does; the future owns a clone of the semaphore.
    ///
    /// # Cancellation
    ///
    /// As [`acquire_many`](Semaphore::acquire_many): a grant that was not fetched goes to the next waiter.
    pub fn acquire_owned(&self) -> impl Future<Output = Permit> + use<> {
        self.acquire_many_owned(1)
    }

    /// Waits for `permits` permits at once, as [`acquire_many`](Semaphore::acquire_many) does; the future owns a
    /// clone of the semaphore.
    ///
    /// # Cancellation
    ///
    /// As [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Semaphore, run, spawn};
    ///
    /// run(async {
    ///     let seats = Semaphore::new(1);
    ///     let waits = spawn(seats.acquire_many_owned(3));
    ///     seats.add_permits(2);
    ///     assert_eq!(waits.await.unwrap().permits(), 3);
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn acquire_many_owned(&self, permits: usize) -> impl Future<Output = Permit> + use<> {
        let semaphore = self.clone();
        async move { semaphore.acquire_many(permits).await }
    }
}

impl BoundedSemaphore {
    /// Waits for a permit as [`acquire`](BoundedSemaphore::acquire) does; the future owns a clone of the semaphore.
    ///
    /// # Cancellation
    ///
    /// As [`Semaphore::acquire_many`].
    pub fn acquire_owned(&self) -> impl Future<Output = Permit> + use<> {
        let semaphore = self.clone();
        async move { semaphore.acquire().await }
    }
}

impl Barrier {
    /// Waits for all parties as [`wait`](Barrier::wait) does; the future owns a clone of the barrier. It counts
    /// as a party from its first poll on.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrierError`] if the barrier is broken, or is aborted or reset during the wait.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Barrier::wait): a future that is dropped before all parties have come is not counted.
    pub fn wait_owned(&self) -> impl Future<Output = Result<usize, BrokenBarrierError>> + use<> {
        let barrier = self.clone();
        async move { barrier.wait().await }
    }
}

impl<T, S: QueueOrder<T>> Queue<T, S> {
    /// Waits for an item as [`get`](Queue::get) does; the future owns a clone of the queue.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed and empty.
    ///
    /// # Cancellation
    ///
    /// As [`get`](Queue::get): no item is lost. Of a task, that holds until the task has run: an item in its result
    /// has left the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Queue, run, spawn};
    ///
    /// run(async {
    ///     let queue = Queue::unbounded();
    ///     let next = spawn(queue.get_owned());
    ///     queue.try_put("item").unwrap();
    ///     assert_eq!(next.await.unwrap(), Ok("item"));
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn get_owned(&self) -> impl Future<Output = Result<T, Closed>> + use<T, S> {
        let queue = self.clone();
        async move { queue.get().await }
    }

    /// Waits for an item as [`get_work_item`](Queue::get_work_item) does; the future owns a clone of the queue.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed and empty.
    ///
    /// # Cancellation
    ///
    /// As [`get`](Queue::get): no item is lost.
    pub fn get_work_item_owned(
        &self,
    ) -> impl Future<Output = Result<WorkItem<T, S>, Closed>> + use<T, S> {
        let queue = self.clone();
        async move { queue.get_work_item().await }
    }

    /// Waits for room and puts `item`, as [`put`](Queue::put) does; the future owns a clone of the queue.
    ///
    /// # Errors
    ///
    /// [`Closed`] with `item` in it, if the queue is closed, or is closed during the wait.
    ///
    /// # Cancellation
    ///
    /// As [`put`](Queue::put): an item that is not in the queue yet is dropped.
    pub fn put_owned(&self, item: T) -> impl Future<Output = Result<(), Closed<T>>> + use<T, S> {
        let queue = self.clone();
        async move { queue.put(item).await }
    }

    /// Waits for room and reserves it, as [`reserve`](Queue::reserve) does; the future owns a clone of the queue.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed, or is closed during the wait.
    ///
    /// # Cancellation
    ///
    /// As [`reserve`](Queue::reserve): room that was granted goes to the next waiter.
    pub fn reserve_owned(
        &self,
    ) -> impl Future<Output = Result<Reservation<T, S>, Closed>> + use<T, S> {
        let queue = self.clone();
        async move { queue.reserve().await }
    }

    /// Waits until all items are done, as [`join`](Queue::join) does; the future owns a clone of the queue.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn join_owned(&self) -> impl Future<Output = ()> + use<T, S> {
        let queue = self.clone();
        async move { queue.join().await }
    }
}
