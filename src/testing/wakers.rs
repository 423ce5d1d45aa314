//! Wakers that count, panic, or come back in: what a future may be handed by somebody else.
//!
//! An executor's own wakers are well behaved. Those of others need not be: they run code when
//! they are woken and when they are dropped, on the stack of whoever does it (R055, R057). A
//! future that keeps a waker under a borrow, or forgets the others when one panics, is found with
//! these.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// How often a waker of [`counting`] was woken, and whether any of its clones is left.
#[derive(Clone, Debug)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// How often it was woken since this was last asked.
    #[must_use]
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }

    /// How many clones of the waker there are.
    #[must_use]
    pub fn kept(&self) -> usize {
        // Ours is one of them.
        Arc::strong_count(&self.0) - 1
    }
}

struct Counts(Arc<AtomicUsize>);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waker that counts its wakes.
///
/// ```
/// use readily::testing::wakers;
///
/// let (waker, count) = wakers::counting();
/// waker.wake_by_ref();
/// assert_eq!((count.take(), count.kept()), (1, 1));
/// drop(waker);
/// assert_eq!(count.kept(), 0);
/// ```
#[must_use]
pub fn counting() -> (Waker, Count) {
    let wakes = Arc::new(AtomicUsize::new(0));
    let waker = Waker::from(Arc::new(Counts(Arc::clone(&wakes))));
    (waker, Count(wakes))
}

struct Calls<W, D>
where
    W: Fn() + Send + Sync + 'static,
    D: Fn() + Send + Sync + 'static,
{
    on_wake: W,
    on_drop: D,
}

impl<W, D> Wake for Calls<W, D>
where
    W: Fn() + Send + Sync + 'static,
    D: Fn() + Send + Sync + 'static,
{
    fn wake(self: Arc<Self>) {
        (self.on_wake)();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        (self.on_wake)();
    }
}

impl<W, D> Drop for Calls<W, D>
where
    W: Fn() + Send + Sync + 'static,
    D: Fn() + Send + Sync + 'static,
{
    fn drop(&mut self) {
        (self.on_drop)();
    }
}

/// A waker that runs `on_wake` when it is woken, and `on_drop` when its last clone goes: on the
/// stack of whoever does it. What belongs to this thread they reach through a thread-local.
pub fn calling(
    on_wake: impl Fn() + Send + Sync + 'static,
    on_drop: impl Fn() + Send + Sync + 'static,
) -> Waker {
    Waker::from(Arc::new(Calls { on_wake, on_drop }))
}

/// A waker that panics when it is woken.
#[must_use]
pub fn panicking() -> Waker {
    calling(|| panic!("a waker panics when it is woken"), || ())
}

/// A waker that panics when its last clone is dropped.
#[must_use]
pub fn panicking_when_dropped() -> Waker {
    calling(|| (), || panic!("a waker panics when it is dropped"))
}
