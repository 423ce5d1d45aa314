//! Wakers that count, panic, come back in or clone oddly: what a future may be handed by others.
//!
//! An executor's own wakers are well behaved. Those of others need not be: they run code when
//! they are woken, cloned and dropped, on the stack of whoever does it ([R055], [R057]). A future that
//! keeps a waker under a borrow, or forgets the others when one panics, is found with these, and
//! [`hostile`] has all of them in one list.
//!
//! [R055]: https://docs.rs/readily/latest/readily/book/faults/index.html#r055
//! [R057]: https://docs.rs/readily/latest/readily/book/faults/index.html#r057

use crate::hostile_waker::{self, Hostile};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// How often a waker of [`counting`] was woken, and whether any of its clones is left.
#[derive(Clone, Debug)]
pub struct Count(Arc<Counts>);

impl Count {
    /// How often it was woken since this was last asked.
    #[must_use]
    pub fn take(&self) -> usize {
        self.0.0.swap(0, Ordering::SeqCst)
    }

    /// The same, without taking them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// How many clones of the waker there are.
    #[must_use]
    pub fn kept(&self) -> usize {
        // Ours is one of them.
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

/// A waker that counts its wakes.
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

struct Clones<C: Fn() -> Option<Waker> + Send + Sync + 'static>(C);

impl<C: Fn() -> Option<Waker> + Send + Sync + 'static> Hostile for Clones<C> {
    fn on_clone(self: &Arc<Self>) -> Waker {
        let other = (self.0)();
        other.unwrap_or_else(|| hostile_waker::waker(Arc::clone(self)))
    }

    fn on_wake(&self) {}

    fn on_drop(&self) {}
}

/// A waker that runs `on_clone` when it is cloned, on the stack of whoever does it. The clone is
/// what that returns, and the same waker for `None`. It wakes nobody.
///
/// ```
/// use readily_testing::wakers;
/// use std::task::Waker;
///
/// let changeling = wakers::cloning(|| Some(Waker::noop().clone()));
/// assert!(!changeling.will_wake(&changeling.clone()));
/// ```
pub fn cloning(on_clone: impl Fn() -> Option<Waker> + Send + Sync + 'static) -> Waker {
    hostile_waker::waker(Arc::new(Clones(on_clone)))
}

/// What was kept of a waker of [`storing`].
#[derive(Clone, Debug, Default)]
pub struct WakerStore(Arc<Mutex<Vec<Waker>>>);

impl WakerStore {
    fn wakers(&self) -> Vec<Waker> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many clones are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wakes all that are kept, late.
    pub fn wake_all(&self) {
        // Out of the lock first: they run somebody's code.
        self.wakers().into_iter().for_each(Waker::wake);
    }

    /// Drops all that are kept, late.
    pub fn drop_all(&self) {
        drop(self.wakers());
    }
}

/// `waker`, but that each clone of it is cloned once more, and the second one kept, to be woken or
/// dropped when whatever it was for has long gone ([R051], [W3]).
///
/// ```
/// use readily_testing::wakers;
///
/// let (waker, count) = wakers::counting();
/// let (hoarding, hoard) = wakers::storing(waker);
/// drop(hoarding.clone());
/// drop(hoarding);
/// assert_eq!((hoard.len(), count.take()), (1, 0));
/// hoard.wake_all();
/// assert_eq!((hoard.len(), count.take()), (0, 1));
/// ```
///
/// [R051]: https://docs.rs/readily/latest/readily/book/faults/index.html#r051
/// [W3]: https://docs.rs/readily/latest/readily/book/invariants/index.html#w3
pub fn storing(waker: Waker) -> (Waker, WakerStore) {
    let store = WakerStore::default();
    let kept = store.clone();
    let odd = cloning(move || {
        let wakers = [waker.clone(), waker.clone()];
        let [one, two] = wakers;
        let mut list = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(one);
        drop(list);
        Some(two)
    });
    (odd, store)
}

/// One of each kind that misbehaves, by name. Whatever waits must survive being polled with each
/// of them: go on working for others, and hold nothing when it is dropped.
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
            "is another when cloned",
            cloning(|| Some(Waker::noop().clone())),
        ),
        ("never the same", cloning(|| Some(counting().0))),
        ("kept beyond its time", storing(counting().0).0),
    ]
}
