//! `Lock`: mutual exclusion between tasks, in the order of their requests.
//!
//! On one thread a value needs no lock between two `await`s; it needs one *across* them. The guard holds
//! the value, so no task can reach it without the guard. There is no poisoning: a panic ends a task and
//! not the thread, and the next task gets the value as it was left.
//!
//! In asyncio: `Lock`, which holds no value.

use super::permits::Permits;
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

struct Shared<T> {
    permits: Permits,
    /// `None` while it is with a guard. In a box, so that it does not move whatever its size.
    value: Cell<Option<Box<T>>>,
}

/// A lock that holds a value, for tasks on one thread. Clones refer to the same lock.
///
/// # Examples
///
/// ```
/// use readily::{Lock, gather, run, yield_now};
///
/// let words = Lock::new(String::new());
/// let say = async |word: &str| {
///     let mut all = words.acquire().await;
///     for letter in word.chars() {
///         all.push(letter);
///         yield_now().await; // the other waits meanwhile
///     }
/// };
/// run(async { gather((say("ace"), say("bdf"))).await })?;
/// assert_eq!(*words.try_acquire().unwrap(), "acebdf");
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "Mutex")]
pub struct Lock<T = ()> {
    shared: Rc<Shared<T>>,
}

impl<T> Lock<T> {
    /// Creates a free lock that holds `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self {
            shared: Rc::new(Shared {
                permits: Permits::new(1),
                value: Cell::new(Some(Box::new(value))),
            }),
        }
    }

    /// Waits until the lock is free, and takes it until the guard is dropped.
    ///
    /// A task that takes the lock a second time waits for ever. If the returned future has been granted the lock, and
    /// is then neither awaited nor dropped, all later waiters wait: see [futurelock](crate::select#futurelock).
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up its place in the queue. If it was granted the lock already, the lock goes to the
    /// next waiter.
    #[doc(alias = "lock")]
    pub fn acquire(&self) -> impl Future<Output = LockGuard<T>> {
        self.shared.permits.take_as(1, || self.guard())
    }

    /// Takes the lock if it is free and no task waits for it.
    #[doc(alias = "try_lock")]
    #[must_use = "the lock is free again when the guard is dropped"]
    pub fn try_acquire(&self) -> Option<LockGuard<T>> {
        self.shared.permits.try_take(1).then(|| self.guard())
    }

    /// Whether a task has the lock, or is about to take it: [`try_acquire`](Lock::try_acquire) would fail.
    #[doc(alias = "is_locked")]
    #[must_use]
    pub fn locked(&self) -> bool {
        self.shared.permits.would_wait(1)
    }

    /// The guard for the owner of the single permit (Q3).
    fn guard(&self) -> LockGuard<T> {
        LockGuard {
            value: self.shared.value.take(),
            lock: self.clone(),
        }
    }
}

impl<T> Clone for Lock<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.locked())
            .finish_non_exhaustive()
    }
}

/// The guard of a [`Lock`]: it dereferences to the value, and releases the lock when it is dropped.
///
/// It may be kept and passed to another task. A forgotten guard (`std::mem::forget`) locks for ever.
#[doc(alias = "MutexGuard")]
#[doc(alias = "OwnedMutexGuard")]
#[must_use = "the lock is free again when the guard is dropped"]
pub struct LockGuard<T = ()> {
    value: Option<Box<T>>,
    lock: Lock<T>,
}

impl<T> LockGuard<T> {
    /// The lock of this guard.
    pub(super) fn lock(&self) -> &Lock<T> {
        &self.lock
    }
}

impl<T> Deref for LockGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let value = self.value.as_deref();
        value.expect("a guard has the value until it is dropped")
    }
}

impl<T> DerefMut for LockGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        let value = self.value.as_deref_mut();
        value.expect("a guard has the value until it is dropped")
    }
}

impl<T> Drop for LockGuard<T> {
    fn drop(&mut self) {
        let shared = &self.lock.shared;
        shared.value.set(self.value.take());
        shared.permits.give(1);
    }
}

impl<T: fmt::Debug> fmt::Debug for LockGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_is_dropped_in_a_panic_leaves_the_value_and_no_poison() {
        let lock = Lock::new(1);
        let also = lock.clone();
        let panicked = crate::event_loop::panics::catch(move || {
            *also.try_acquire().expect("it is free") = 2;
            let _guard = also.try_acquire().expect("it is free again");
            panic!("in the middle");
        });
        assert!(panicked.is_err());
        assert_eq!(*lock.try_acquire().expect("no poison"), 2);
        assert!(!lock.locked());
    }
}
