//! The current loop of a thread: three of the crate's nine thread-locals.
//!
//! `spawn`, `sleep` and wakers find their loop through `CURRENT` and `STACK`, so a wake on the
//! loop's own thread costs one comparison and a push. `TURNING` counts the loops that are turning:
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
use super::origin::Origin;
use super::report::Unhandled;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The loops that were entered, each under a number of its own: later ones have larger ones.
struct LoopStack {
    /// The last one, which is current. Apart from the list, because only a loop that is entered
    /// inside another one needs the list.
    current: Option<(u64, Rc<LoopHandle>)>,
    below: Vec<(u64, Rc<LoopHandle>)>,
    next: u64,
}

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
}

thread_local! {
    static STACK: RefCell<LoopStack> = const {
        RefCell::new(LoopStack {
            current: None,
            below: Vec::new(),
            next: 0,
        })
    };
    /// The current loop, to compare with: it needs no borrow and no destructor.
    static CURRENT: Cell<Current> = const { Cell::new(Current::NONE) };
    /// How many loops are turning, each inside a callback of the one before.
    static TURNING: Cell<u32> = const { Cell::new(0) };
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
    let current = STACK.try_with(|entered| {
        let entered = entered.borrow();
        entered
            .current
            .as_ref()
            .map(|(_, handle)| Rc::clone(handle))
    });
    current.ok().flatten()
}

/// The address of this thread's loop; null if there is none, or if the thread is ending (R096).
#[inline]
fn current_ptr() -> *const LoopHandle {
    CURRENT.try_with(Cell::get).unwrap_or(Current::NONE).handle
}

/// Sets `CURRENT` to the loop that was entered last.
#[inline]
fn set_current_ptr(current: Option<&(u64, Rc<LoopHandle>)>) {
    let now = current.map_or(Current::NONE, |(_, handle)| Current {
        handle: Rc::as_ptr(handle),
        loop_id: handle.loop_id,
    });
    let _ = CURRENT.try_with(|place| place.set(now));
}

/// The number of loops that are turning on this thread.
#[inline]
fn turning() -> u32 {
    TURNING.try_with(Cell::get).unwrap_or(0)
}

/// Whether this thread has a current loop.
#[inline]
pub(crate) fn is_any() -> bool {
    !current_ptr().is_null()
}

/// Whether `handle` is this thread's current loop.
#[inline]
pub(crate) fn is(handle: *const LoopHandle) -> bool {
    current_ptr() == handle
}

/// Whether another loop than `handle` is this thread's current loop. A wait on `handle` would then
/// never end, because it does not turn while the other loop runs.
#[inline]
pub(crate) fn is_other(handle: *const LoopHandle) -> bool {
    let now = current_ptr();
    !now.is_null() && now != handle
}

/// Whether a loop is turning on this thread: a blocking wait for another thread would block it.
pub(crate) fn is_turning() -> bool {
    turning() != 0
}

/// Whether a loop is turning inside a callback or a task of another one.
#[inline]
pub(crate) fn is_nested() -> bool {
    turning() > 1
}

/// Whether the loop of this inbox is this thread's current loop. This takes no lock, no borrow and no
/// reference count, and no loop of another thread has the same id. The unsafe code of a task's cell
/// relies on it: what belongs to that loop's thread may be touched.
#[inline]
pub(crate) fn is_own_thread(home: &Inbox) -> bool {
    let current = CURRENT.try_with(Cell::get).unwrap_or(Current::NONE);
    current.loop_id == home.loop_id
}

impl LoopStack {
    #[inline]
    fn enter(&mut self, handle: Rc<LoopHandle>) -> u64 {
        let number = self.next;
        self.next += 1;
        if let Some(before) = self.current.replace((number, handle)) {
            self.below.push(before);
        }
        number
    }

    #[inline]
    fn leave(&mut self, number: u64) -> Option<Rc<LoopHandle>> {
        let is_current = |entered: &mut (u64, _)| entered.0 == number;
        let left = match self.current.take_if(is_current) {
            Some(left) => left,
            None => self.take_below(number)?,
        };
        if self.current.is_none() {
            self.current = self.below.pop();
        }
        Some(left.1)
    }

    #[cold]
    fn take_below(&mut self, number: u64) -> Option<(u64, Rc<LoopHandle>)> {
        for place in (0..self.below.len()).rev() {
            if self.below[place].0 == number {
                return Some(self.below.remove(place));
            }
        }
        None
    }

    /// Takes out the loops that were entered after `number`, which is current then.
    fn leave_above(&mut self, number: u64) -> Vec<(u64, Rc<LoopHandle>)> {
        let mut above = Vec::new();
        if let Some(current) = self.current.take_if(|current| current.0 > number) {
            above.push(current);
        }
        // Later ones have larger numbers.
        while self.below.last().is_some_and(|last| last.0 > number) {
            above.extend(self.below.pop());
        }
        above.reverse();
        if self.current.is_none() {
            self.current = self.below.pop();
        }
        above
    }
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
        let number = STACK.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let number = entered.enter(Rc::clone(handle));
            set_current_ptr(entered.current.as_ref());
            number
        });
        Self {
            number: number.unwrap_or(0),
        }
    }
}

impl Drop for CurrentGuard {
    #[inline]
    fn drop(&mut self) {
        // Dropped after the borrow: it may be the last reference to its loop.
        let _left = STACK.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let left = entered.leave(self.number);
            set_current_ptr(entered.current.as_ref());
            left
        });
    }
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
        let _ = TURNING.try_with(|turning| turning.set(turning.get() + 1));
        let here = CurrentGuard::enter(handle);
        handle.turn.set(Some(here.number));
        handle.leave_host();
        Ok(Self { handle, here })
    }
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.handle.turn.set(None);
        let _ = TURNING.try_with(|turning| turning.set(turning.get() - 1));
        // A guard that a callback has kept must not change the current loop of our caller.
        let is_last = |entered: &RefCell<LoopStack>| {
            let entered = entered.borrow();
            entered
                .current
                .as_ref()
                .is_none_or(|last| last.0 == self.here.number)
        };
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
        set_current_ptr(entered.current.as_ref());
        above
    });
}

impl LoopHandle {
    /// Makes this the current loop of this thread, unless it is already. For user code that is
    /// called outside a turn: a destructor may spawn.
    pub(crate) fn enter_if_needed(&self) -> Option<CurrentGuard> {
        match is(self) {
            true => None,
            false => self.weak_self.upgrade().map(|me| CurrentGuard::enter(&me)),
        }
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
}
