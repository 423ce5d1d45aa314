//! The current loop of a thread: two of the crate's nine thread-locals.
//!
//! `spawn`, `sleep` and wakers find their loop through `HERE` and `STACK`, so a wake on the
//! loop's own thread costs one comparison and a push. `HERE` also counts the loops that are turning:
//! a turn that may sleep, inside a callback of another loop, would block that loop (N5). A turn
//! that does not sleep is allowed, so that two libraries can each embed a loop.
//!
//! A loop that a callback or a poll enters is left before the callback or poll returns. A guard of
//! [`EventLoop::enter`](super::EventLoop::enter) that is held across an await is taken out of the
//! list as soon as the poll is over. Otherwise the tasks after it would spawn, sleep and register on
//! a loop that is not turned.
//!
//! In asyncio this is `get_running_loop`.

use super::error::Error;
use super::loop_handle::{Inbox, LoopHandle};
use super::loop_stack::LoopStack;
use super::loops;
use super::origin::Origin;
use super::report::Unhandled;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The address and the id of a loop.
#[derive(Clone, Copy)]
struct Current {
    handle: *const LoopHandle,
    loop_id: u64,
}

impl Current {
    const NONE: Self = Self {
        handle: std::ptr::null(),
        loop_id: u64::MAX,
    };

    fn of(handle: &LoopHandle) -> Self {
        Self {
            handle,
            loop_id: handle.loop_id,
        }
    }
}

/// What a thread knows of its loops, apart from the stack of them: no borrow is needed to look at it,
/// and no destructor. All of it in one, so that its address is computed once.
pub(super) struct Here {
    /// The current loop, to compare with.
    current: Cell<Current>,
    /// Whether the current loop is not in the stack (see [`UnlistedGuard`]).
    is_unlisted: Cell<bool>,
    /// The number of the next loop that is entered.
    next: Cell<u64>,
    /// How many loops are turning, each inside a callback of the one before.
    turning: Cell<u32>,
    /// How many drops are nested (G5), and whether others are queued: see `user_code.rs`.
    pub(super) drop_depth: Cell<u32>,
    pub(super) has_deferred_drops: Cell<bool>,
}

thread_local! {
    static STACK: RefCell<LoopStack<LoopHandle>> = const { RefCell::new(LoopStack::new()) };
    pub(super) static HERE: Here = const {
        Here {
            current: Cell::new(Current::NONE),
            is_unlisted: Cell::new(false),
            next: Cell::new(0),
            turning: Cell::new(0),
            drop_depth: Cell::new(0),
            has_deferred_drops: Cell::new(false),
        }
    };
}

/// Runs `f` with this thread's loop; `None` if there is none, or if the thread is ending and its
/// locals are gone (R096).
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&LoopHandle) -> R) -> Option<R> {
    // Cloned, so that `f`, which may be user code, does not run under the borrow (L8).
    Some(f(&*current()?))
}

#[inline]
fn current() -> Option<Rc<LoopHandle>> {
    list_unlisted();
    let current = STACK.try_with(|entered| entered.borrow().current().map(Rc::clone));
    current.ok().flatten()
}

/// This thread's loop; `NONE` if there is none, or if the thread is ending (R096).
#[inline]
fn current_ptr() -> Current {
    let current = HERE.try_with(|here| here.current.get());
    current.unwrap_or(Current::NONE)
}

/// Sets the pointer in `HERE` to the loop that was entered last.
#[inline]
fn set_current_ptr(current: Option<&Rc<LoopHandle>>) {
    let now = current.map_or(Current::NONE, |handle| Current::of(handle));
    let _ = HERE.try_with(|here| here.current.set(now));
}

/// Whether this thread has a current loop.
#[inline]
pub(crate) fn is_any() -> bool {
    !current_ptr().handle.is_null()
}

/// Whether `handle` is this thread's current loop.
#[inline]
pub(crate) fn is(handle: *const LoopHandle) -> bool {
    current_ptr().handle == handle
}

/// Whether another loop than `handle` is this thread's current loop. A wait on `handle` would then
/// never end, because it does not turn while the other loop runs.
#[inline]
pub(crate) fn is_other(handle: *const LoopHandle) -> bool {
    let now = current_ptr().handle;
    !now.is_null() && now != handle
}

/// Whether a loop is turning on this thread: a blocking wait for another thread would block it.
pub(crate) fn is_turning() -> bool {
    HERE.try_with(|here| here.turning.get() > 0) == Ok(true)
}

/// Whether a loop is turning inside a callback or a task of another one.
#[inline]
pub(crate) fn is_nested() -> bool {
    HERE.try_with(|here| here.turning.get() > 1) == Ok(true)
}

/// Whether the loop of this inbox is this thread's current loop. This takes no lock, no borrow and no
/// reference count, and no loop of another thread has the same id. The unsafe code of a task's cell
/// relies on it: what belongs to that loop's thread may be touched.
#[inline]
pub(crate) fn is_own_thread(home: &Inbox) -> bool {
    is_own_loop(home.loop_id)
}

/// The same for the loop with this id.
#[inline]
pub(crate) fn is_own_loop(loop_id: u64) -> bool {
    current_ptr().loop_id == loop_id
}

/// Makes a loop this thread's current loop until the guard is dropped. Guards may be dropped in any
/// order.
#[must_use]
pub(crate) struct CurrentGuard {
    number: u64,
}

impl CurrentGuard {
    /// For `spawn` and the like, outside a turn.
    #[inline]
    pub(crate) fn enter(handle: &Rc<LoopHandle>) -> Self {
        list_unlisted();
        let number = HERE.try_with(|here| here.next.replace(here.next.get() + 1));
        let number = number.unwrap_or(0);
        let _ = STACK.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            if let Some(before) = entered.current() {
                before.check_after_call.set(true);
            }
            entered.enter(number, Rc::clone(handle));
            set_current_ptr(entered.current());
        });
        Self { number }
    }
}

impl Drop for CurrentGuard {
    #[inline]
    fn drop(&mut self) {
        list_unlisted();
        // Dropped after the borrow: it may be the last reference to its loop.
        let _left = STACK.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let left = entered.leave(self.number);
            set_current_ptr(entered.current());
            left
        });
    }
}

/// Makes a loop this thread's current loop for a call of user code outside a turn, and until the
/// guard is dropped. The loop is not entered in the stack, which would cost more than most of these
/// calls; [`list_unlisted`] enters it if the user code looks for it, or enters or leaves a loop.
#[must_use]
pub(crate) struct UnlistedGuard {
    before: Current,
    /// Under which the loop is in the stack if it was entered there meanwhile.
    number: u64,
}

impl Drop for UnlistedGuard {
    #[inline]
    fn drop(&mut self) {
        let is_unlisted = HERE.try_with(|here| {
            here.current.set(self.before);
            here.is_unlisted.replace(false)
        });
        if is_unlisted != Ok(true) {
            leave(self.number);
        }
    }
}

/// Enters the current loop in the stack if it is not there.
#[inline]
fn list_unlisted() {
    if HERE.try_with(|here| here.is_unlisted.replace(false)) == Ok(true) {
        list_current();
    }
}

#[cold]
fn list_current() {
    if let Some(handle) = loops::find(current_ptr().loop_id) {
        std::mem::forget(CurrentGuard::enter(&handle));
    }
}

/// Leaves the loop that was entered under `number`.
#[cold]
fn leave(number: u64) {
    drop(CurrentGuard { number });
}

/// Guards a turn, or a row of turns: the loop is current, and a nested turn of it is refused.
pub(super) struct Turning<'a> {
    handle: &'a LoopHandle,
    here: CurrentGuard,
}

impl<'a> Turning<'a> {
    /// L3: not inside another turn of the same loop; and if it `may_sleep`, not inside one of another.
    pub(super) fn begin(handle: &'a Rc<LoopHandle>, may_sleep: bool) -> Result<Self, Error> {
        if handle.turn.get().is_some() {
            return Err(Error::Nested);
        }
        if may_sleep && is_turning() {
            return Err(Error::WouldBlockLoop);
        }
        let _ = HERE.try_with(|here| here.turning.set(here.turning.get() + 1));
        let here = CurrentGuard::enter(handle);
        handle.turn.set(Some(here.number));
        handle.leave_host();
        Ok(Self { handle, here })
    }
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.handle.turn.set(None);
        let _ = HERE.try_with(|here| here.turning.set(here.turning.get() - 1));
        // A guard that a callback has kept must not change the current loop of our caller.
        let is_last = |entered: &RefCell<LoopStack<_>>| entered.borrow().is_last(self.here.number);
        if !STACK.try_with(is_last).unwrap_or(true) {
            leave_above(self.here.number);
        }
    }
}

/// Makes the loop that was entered under `number` current again.
#[cold]
fn leave_above(number: u64) {
    // Dropped after the borrow: one may be the last reference to its loop.
    let _above = STACK.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        let above = entered.leave_above(number);
        set_current_ptr(entered.current());
        above
    });
}

impl LoopHandle {
    /// Makes this the current loop of this thread, unless it is already. For user code that is
    /// called outside a turn: a destructor may spawn. Not if the loop itself is being dropped.
    #[inline]
    pub(crate) fn enter_if_needed(&self) -> Option<UnlistedGuard> {
        if is(self) || self.weak_self.strong_count() == 0 {
            return None;
        }
        let entered = HERE.try_with(|here| {
            if here.is_unlisted.get() {
                list_unlisted();
            }
            here.is_unlisted.set(true);
            UnlistedGuard {
                before: here.current.replace(Current::of(self)),
                number: here.next.get(),
            }
        });
        entered.ok()
    }

    /// Checks the current loop after a callback or a poll: if it is not this one, this loop is made
    /// current again, and `origin` is reported.
    #[inline]
    pub(crate) fn check_current(&self, origin: impl FnOnce() -> Origin) {
        if !is(self) {
            self.be_current_again(origin());
        }
    }

    #[cold]
    fn be_current_again(&self, origin: Origin) {
        if let Some(number) = self.turn.get() {
            leave_above(number);
            self.report(&Unhandled::EnterHeld { origin });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::loop_time::TimeSource;
    use super::super::loops::ListGuard;
    use super::*;
    use crate::base::clock::Manual;
    use crate::poll::default_poller::LoopPoller;
    use crate::poll::poll2::PollPoller;

    fn local() -> Rc<LoopHandle> {
        let poller = PollPoller::new().unwrap();
        let clock = TimeSource::Other(Box::new(Manual::new()));
        LoopHandle::new(LoopPoller::Other(Box::new(poller)), clock).unwrap()
    }

    /// L3.
    #[test]
    fn a_loop_does_not_turn_inside_itself_however_many_are_between() {
        let (one, other) = (local(), local());
        let outer = Turning::begin(&one, true).unwrap();
        for may_sleep in [true, false] {
            let nested = Turning::begin(&one, may_sleep);
            assert!(matches!(nested, Err(Error::Nested)));
        }
        let inner = Turning::begin(&other, false).unwrap();
        assert!(is(Rc::as_ptr(&other)) && is_nested());
        assert!(matches!(Turning::begin(&one, false), Err(Error::Nested)));
        drop(inner);
        assert!(is(Rc::as_ptr(&one)) && is_turning() && !is_nested());
        drop(outer);
        assert!(!is_any() && !is_turning());
        drop(Turning::begin(&one, true).unwrap());
    }

    #[test]
    fn what_was_entered_in_a_turn_and_kept_is_left_with_it() {
        let (one, other) = (local(), local());
        let before = CurrentGuard::enter(&other);
        let turn = Turning::begin(&one, false).unwrap();
        let kept = [
            CurrentGuard::enter(&other),
            CurrentGuard::enter(&one),
            CurrentGuard::enter(&other),
        ];
        drop(turn);
        assert!(is(Rc::as_ptr(&other)));
        drop(before);
        assert!(
            !is_any(),
            "the guards that were kept have no effect any more"
        );
        drop(kept);
        assert!(!is_any());
    }

    /// What `with` finds.
    fn found() -> *const LoopHandle {
        with(std::ptr::from_ref).unwrap_or(std::ptr::null())
    }

    #[test]
    fn user_code_outside_a_turn_finds_its_loop_whatever_it_enters_and_leaves() {
        let (one, other, third) = (local(), local(), local());
        let _listed = [&one, &other, &third].map(ListGuard::new);
        let [first, second, last] = [&one, &other, &third].map(Rc::as_ptr);
        for looks in [false, true] {
            let look = |handle| {
                assert!(is(handle));
                assert!(!looks || found() == handle);
            };
            let before = CurrentGuard::enter(&other);
            let user_code = one.enter_if_needed();
            look(first);
            assert!(one.enter_if_needed().is_none());
            let nested = third.enter_if_needed();
            look(last);
            let entered = CurrentGuard::enter(&other);
            look(second);
            drop(entered);
            look(last);
            drop(nested);
            look(first);
            drop(before);
            look(first);
            let kept = CurrentGuard::enter(&third);
            drop(user_code);
            look(last);
            drop(kept);
            assert!(!is_any() && found().is_null());
        }
        let before = CurrentGuard::enter(&other);
        drop(one.enter_if_needed());
        drop(third.enter_if_needed());
        assert_eq!((is(second), found()), (true, second));
        drop(before);
        for handle in [one, other, third] {
            assert_eq!(Rc::strong_count(&handle), 1);
        }
    }
}
