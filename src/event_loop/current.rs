//! Which loop is running here: three of the crate's five thread-locals.
//!
//! `spawn`, `sleep` and wakers find their loop through the first, so a wake at home costs
//! one comparison and a push. The second remembers that a loop is turning, since to turn
//! one inside a callback of another, or of itself, would block the outer one (N5).
//!
//! In asyncio this is `get_running_loop`.

use super::error::Error;
use super::inbox::Inbox;
use super::local::Local;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// The loops that were entered, each under a number of its own.
struct Entered {
    /// The last one, which is current. By itself, for it is all that is looked at but where one
    /// loop is entered inside another: to enter and leave costs a third of what a list does.
    current: Option<(u64, Rc<Local>)>,
    below: Vec<(u64, Rc<Local>)>,
}

thread_local! {
    static ENTERED: RefCell<Entered> = const {
        RefCell::new(Entered {
            current: None,
            below: Vec::new(),
        })
    };
    /// Where the current one is, to be compared with: it needs no borrow and no destructor.
    static NOW: Cell<*const Local> = const { Cell::new(std::ptr::null()) };
    static TURNING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with this thread's loop; `None` where there is none, or where the thread is
/// ending and its locals are gone (R096).
pub(crate) fn with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    // Cloned, so that `f`, which may be user code, does not run under the borrow (L8).
    let current = ENTERED.try_with(|entered| {
        let entered = entered.borrow();
        entered.current.as_ref().map(|(_, local)| Rc::clone(local))
    });
    Some(f(&*current.ok().flatten()?))
}

/// What `look` says of this thread's loop; `false` where there is none. It runs under the borrow, so
/// it is ours, and enters no loop.
#[inline]
fn is_so(look: impl FnOnce(&Rc<Local>) -> bool) -> bool {
    ENTERED
        .try_with(|entered| {
            let entered = entered.borrow();
            let current = entered.current.as_ref();
            current.is_some_and(|(_, local)| look(local))
        })
        .unwrap_or(false)
}

/// Whether a loop is this thread's.
#[inline]
pub(crate) fn is_any() -> bool {
    !NOW.get().is_null()
}

/// Whether `local` is this thread's loop.
#[inline]
pub(crate) fn is(local: *const Local) -> bool {
    NOW.get() == local
}

/// Whether another loop than `local` is this thread's: to wait on `local` is then to wait for
/// ever, for while that one runs, this one does not.
#[inline]
pub(crate) fn is_another(local: *const Local) -> bool {
    let now = NOW.get();
    !now.is_null() && now != local
}

/// Whether a loop is turning on this thread: to wait here for another thread would block it.
pub(crate) fn is_turning() -> bool {
    TURNING.try_with(Cell::get).unwrap_or(false)
}

/// Runs `queue` if `home` is of this thread's loop, or says that it is not. No lock, no call to the
/// system, no reference count; it runs under the borrow, so it is ours, and enters no loop.
#[inline]
pub(crate) fn at_home(home: &Arc<Inbox>, queue: impl FnOnce(&Local)) -> bool {
    is_so(|local| {
        let at_home = Arc::ptr_eq(&local.inbox, home);
        if at_home {
            queue(local);
        }
        at_home
    })
}

/// Whether the loop of this inbox is this thread's.
#[cold]
pub(crate) fn is_at_home(home: &Arc<Inbox>) -> bool {
    is_so(|local| Arc::ptr_eq(&local.inbox, home))
}

impl Entered {
    #[inline]
    fn enter(&mut self, local: Rc<Local>) -> u64 {
        // Above all that are there, so that no two guards have the same.
        let number = self.current.as_ref().map_or(0, |&(last, _)| last + 1);
        if let Some(before) = self.current.replace((number, local)) {
            self.below.push(before);
        }
        number
    }

    #[inline]
    fn leave(&mut self, number: u64) -> Option<Rc<Local>> {
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
    fn take_below(&mut self, number: u64) -> Option<(u64, Rc<Local>)> {
        let place = self.below.iter().rposition(|below| below.0 == number)?;
        Some(self.below.remove(place))
    }
}

/// Makes a loop this thread's loop until it is dropped. Guards may be dropped in any order.
#[must_use]
pub(crate) struct Here {
    number: u64,
    turning: bool,
}

impl Here {
    /// For `spawn` and the like, outside a turn.
    #[inline]
    pub(crate) fn enter(local: &Rc<Local>) -> Self {
        let number = ENTERED.try_with(|entered| {
            NOW.set(Rc::as_ptr(local));
            entered.borrow_mut().enter(Rc::clone(local))
        });
        Self {
            number: number.unwrap_or(0),
            turning: false,
        }
    }

    /// For a turn; L3: not inside another.
    pub(super) fn begin_turn(local: &Rc<Local>) -> Result<Self, Error> {
        if TURNING.replace(true) {
            return Err(Error::Nested);
        }
        let mut here = Self::enter(local);
        here.turning = true;
        Ok(here)
    }
}

impl Drop for Here {
    #[inline]
    fn drop(&mut self) {
        // What is taken out is dropped after the borrow: it may be the last of its loop.
        let _left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let left = entered.leave(self.number);
            let current = entered.current.as_ref();
            NOW.set(current.map_or(std::ptr::null(), |(_, local)| Rc::as_ptr(local)));
            left
        });
        if self.turning {
            TURNING.set(false);
        }
    }
}
