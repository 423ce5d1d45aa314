//! Wakers that count, panic, call back or clone into other wakers.
//!
//! A future may get a waker from any executor. Such a waker can run arbitrary code when it is woken,
//! cloned or dropped, on the stack of its user: the code may use the same object again ([R055]) or panic
//! ([R057]). These wakers find a future that holds a borrow across such code, or that does not wake the
//! other waiters when one waker panics. [`hostile`] returns one of each kind.
//!
//! [R055]: https://docs.rs/readily/latest/readily/book/faults/index.html#r055
//! [R057]: https://docs.rs/readily/latest/readily/book/faults/index.html#r057

use crate::hostile_waker::{self, Hostile};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The counts of a waker of [`counting`]: its wakes, and its clones that still exist.
#[derive(Clone, Debug)]
pub struct Count(Arc<Counts>);

impl Count {
    /// Returns the number of wakes since the last call of `take`.
    #[must_use]
    pub fn take(&self) -> usize {
        self.0.0.swap(0, Ordering::SeqCst)
    }

    /// Returns the number of wakes without resetting it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// Returns how many clones of the waker exist, itself included.
    #[must_use]
    pub fn kept(&self) -> usize {
        // One reference is that of this `Count`.
        Arc::strong_count(&self.0) - 1
    }
}

#[derive(Debug)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns a waker that counts its wakes, and its counts.
///
/// ```
/// use readily_testing::wakers;
///
/// let (waker, count) = wakers::counting();
/// waker.wake_by_ref();
/// assert_eq!((count.take(), count.kept()), (1, 1));
/// let another = waker.clone();
/// assert_eq!(count.kept(), 2);
/// drop((waker, another));
/// assert_eq!(count.kept(), 0);
/// ```
#[must_use]
pub fn counting() -> (Waker, Count) {
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    (Waker::from(Arc::clone(&counts)), Count(counts))
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

/// Returns a waker that runs `on_wake` when it is woken, and `on_drop` when its last clone is dropped.
///
/// Both run on the stack of the code that wakes or drops the waker. They must be `Send`, so they reach
/// the state of this thread only through a thread-local.
pub fn calling(
    on_wake: impl Fn() + Send + Sync + 'static,
    on_drop: impl Fn() + Send + Sync + 'static,
) -> Waker {
    Waker::from(Arc::new(Calls { on_wake, on_drop }))
}

/// Returns a waker that panics when it is woken.
#[must_use]
pub fn panicking() -> Waker {
    calling(|| panic!("a waker panics when it is woken"), || ())
}

/// Returns a waker that panics when its last clone is dropped.
#[must_use]
pub fn panicking_when_dropped() -> Waker {
    calling(|| (), || panic!("a waker panics when it is dropped"))
}

struct Clones<C: Fn() -> Option<Waker> + Send + Sync + 'static>(C);

impl<C: Fn() -> Option<Waker> + Send + Sync + 'static> Hostile for Clones<C> {
    fn on_clone(self: &Arc<Self>) -> Waker {
        let other = (self.0)();
        other.unwrap_or_else(|| hostile_waker::waker(Arc::clone(self)))
    }

    fn on_wake(&self) {}

    fn on_drop(&self) {}
}

/// Returns a waker that runs `on_clone` when it is cloned, on the stack of the code that clones it.
///
/// The clone is the waker that `on_clone` returns, or the same waker for `None`. Its wakes do nothing.
///
/// ```
/// use readily_testing::wakers;
/// use std::task::Waker;
///
/// let waker = wakers::cloning(|| Some(Waker::noop().clone()));
/// assert!(!waker.will_wake(&waker.clone()));
/// ```
pub fn cloning(on_clone: impl Fn() -> Option<Waker> + Send + Sync + 'static) -> Waker {
    hostile_waker::waker(Arc::new(Clones(on_clone)))
}

/// The clones that a waker of [`storing`] has kept.
#[derive(Clone, Debug, Default)]
pub struct WakerStore(Arc<Mutex<Vec<Waker>>>);

impl WakerStore {
    fn take_all(&self) -> Vec<Waker> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how many clones are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no clone is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wakes all stored clones.
    pub fn wake_all(&self) {
        // The lock is released first, because a wake can run arbitrary code.
        self.take_all().into_iter().for_each(Waker::wake);
    }

    /// Drops all stored clones.
    pub fn drop_all(&self) {
        drop(self.take_all());
    }
}

/// Wraps a waker so that each clone of it is also stored.
///
/// The test wakes or drops the stored clones later, when the task of the waker has ended or its loop is
/// closed ([R051], [W3]).
///
/// ```
/// use readily_testing::wakers;
///
/// let (waker, count) = wakers::counting();
/// let (storing, store) = wakers::storing(waker);
/// drop(storing.clone());
/// drop(storing);
/// assert_eq!((store.len(), count.take()), (1, 0));
/// store.wake_all();
/// assert_eq!((store.len(), count.take()), (0, 1));
/// ```
///
/// [R051]: https://docs.rs/readily/latest/readily/book/faults/index.html#r051
/// [W3]: https://docs.rs/readily/latest/readily/book/invariants/index.html#w3
pub fn storing(waker: Waker) -> (Waker, WakerStore) {
    let store = WakerStore::default();
    let kept = store.clone();
    let storing = cloning(move || {
        let (one, two) = (waker.clone(), waker.clone());
        let mut list = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(one);
        drop(list);
        Some(two)
    });
    (storing, store)
}

/// Returns one waker of each kind that misbehaves, with a name.
///
/// A future must survive a poll with each of them: other waiters go on working, and a drop of the
/// future releases everything.
#[must_use]
pub fn hostile() -> Vec<(&'static str, Waker)> {
    vec![
        ("panics when woken", panicking()),
        ("panics when dropped", panicking_when_dropped()),
        (
            "panics when cloned",
            cloning(|| panic!("a waker panics when it is cloned")),
        ),
        (
            "clones into another waker",
            cloning(|| Some(Waker::noop().clone())),
        ),
        (
            "clones into a new waker each time",
            cloning(|| Some(counting().0)),
        ),
        ("is kept after its task", storing(counting().0).0),
    ]
}
