//! `Semaphore`: a limited number of permits; `BoundedSemaphore`: never more than at the start.
//!
//! A permit is a value and goes back when it is dropped, so no permit is released twice, and none is lost
//! in a panic. `forget` keeps a permit out of circulation. A waiter that wants many permits keeps its place
//! until there are as many.
//!
//! In asyncio: `Semaphore`, `BoundedSemaphore`.

use super::permits::Permits;
use std::fmt;
use std::rc::Rc;

/// Limits how many tasks use something at once, with a number of permits. Clones refer to the same
/// semaphore.
///
/// # Examples
///
/// No more than two at a time:
///
/// ```
/// use readily::{Semaphore, gather, run, yield_now};
/// use std::cell::Cell;
///
/// let (two, inside, most) = (Semaphore::new(2), Cell::new(0), Cell::new(0));
/// let work = async || {
///     let _permit = two.acquire().await;
///     inside.set(inside.get() + 1);
///     most.set(most.get().max(inside.get()));
///     yield_now().await;
///     inside.set(inside.get() - 1);
/// };
/// run(async { gather((0..10).map(|_| work())).await })?;
/// assert_eq!((most.get(), two.available()), (2, 2));
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    permits: Rc<Permits>,
}

impl Semaphore {
    /// Creates a semaphore with this many permits. With zero, tasks wait for
    /// [`add_permits`](Semaphore::add_permits). (asyncio allows zero, too.)
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            permits: Rc::new(Permits::new(permits)),
        }
    }

    /// Waits for a permit. See [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # Cancellation
    ///
    /// As [`acquire_many`](Semaphore::acquire_many).
    pub fn acquire(&self) -> impl Future<Output = Permit> {
        self.acquire_many(1)
    }

    /// Waits for this many permits at once. No later waiter is served before this one, even if there are enough
    /// permits for it. A wait for more permits than there ever are lasts for ever. If the returned future has been
    /// granted permits, and is then neither awaited nor dropped, no other waiter can get them: see
    /// [futurelock](crate::select#futurelock).
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up its place in the queue. Permits that it was granted go to the next
    /// waiter.
    pub fn acquire_many(&self, permits: usize) -> impl Future<Output = Permit> {
        let made = move || self.permit(permits);
        self.permits.take_as(permits, made)
    }

    /// Takes a permit if there is one and no task waits.
    #[must_use = "the permit goes back when it is dropped"]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.try_acquire_many(1)
    }

    /// Takes this many permits if they are free and no task waits.
    #[must_use = "the permits go back when they are dropped"]
    pub fn try_acquire_many(&self, permits: usize) -> Option<Permit> {
        let taken = self.permits.try_take(permits);
        taken.then(|| self.permit(permits))
    }

    /// Adds new permits to the semaphore.
    ///
    /// # Panics
    ///
    /// If there are more than `usize::MAX` permits then, including those that are held.
    #[doc(alias = "release")]
    pub fn add_permits(&self, permits: usize) {
        self.permits.add(permits);
    }

    /// Returns the number of free permits. They may be reserved for a waiter that wants more.
    #[doc(alias = "available_permits")]
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.free()
    }

    /// Whether [`acquire`](Self::acquire) would wait now.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.permits.would_wait(1)
    }

    fn permit(&self, permits: usize) -> Permit {
        Permit {
            home: Rc::clone(&self.permits),
            permits,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

/// One or more permits of a semaphore, which are returned when this is dropped. It may be passed to another task.
#[doc(alias = "SemaphorePermit")]
#[doc(alias = "OwnedSemaphorePermit")]
#[must_use = "the permit goes back when this is dropped"]
pub struct Permit {
    home: Rc<Permits>,
    permits: usize,
}

impl Permit {
    /// Returns the number of permits.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Drops this without returning the permits. They may be replaced by
    /// [`add_permits`](Semaphore::add_permits), or [`release`](BoundedSemaphore::release).
    pub fn forget(mut self) {
        self.home.forget(self.permits);
        self.permits = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.home.give(self.permits);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.permits).finish()
    }
}

/// The error of a [`release`](BoundedSemaphore::release) without a missing permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("released more often than forgotten: all other permits go back by themselves")]
pub struct ReleaseError;

/// A semaphore that never has more permits than it began with.
///
/// A [`Permit`] that is dropped has gone back; so what can be [released](Self::release) by hand is
/// what was [forgotten](Permit::forget), and no more.
///
/// # Examples
///
/// ```
/// use readily::sync::BoundedSemaphore;
///
/// let seats = BoundedSemaphore::new(2);
/// drop(seats.try_acquire());
/// assert!(seats.release().is_err(), "both are there");
/// seats.try_acquire().unwrap().forget();
/// assert_eq!(seats.available(), 1);
/// seats.release().unwrap();
/// assert_eq!(seats.available(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct BoundedSemaphore {
    semaphore: Semaphore,
    bound: usize,
}

impl BoundedSemaphore {
    /// Creates a semaphore with this many permits, and never more.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            semaphore: Semaphore::new(permits),
            bound: permits,
        }
    }

    /// Waits for a permit.
    ///
    /// # Cancellation
    ///
    /// As [`Semaphore::acquire_many`].
    pub fn acquire(&self) -> impl Future<Output = Permit> {
        self.semaphore.acquire()
    }

    /// Takes a permit if there is one and no task waits.
    #[must_use = "the permit goes back when it is dropped"]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.semaphore.try_acquire()
    }

    /// Returns a permit that was [forgotten](Permit::forget).
    ///
    /// # Errors
    ///
    /// [`ReleaseError`] if none is missing; nothing has changed.
    pub fn release(&self) -> Result<(), ReleaseError> {
        if self.semaphore.permits.total() == self.bound {
            return Err(ReleaseError);
        }
        self.semaphore.add_permits(1);
        Ok(())
    }

    /// Returns the number of free permits.
    #[must_use]
    pub fn available(&self) -> usize {
        self.semaphore.available()
    }

    /// Whether [`acquire`](Self::acquire) would wait now.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.semaphore.locked()
    }
}
