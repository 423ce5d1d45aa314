//! The action of a timer, or of a waiter for a free descriptor: a closure to run, or a waker to wake.
//!
//! A waker costs no allocation, and is all that `sleep` needs. Both kinds store the line that made
//! them, even where it is not used: a reference is never null, so `Option<Action>` needs no more
//! memory than `Action`.
//!
//! Both are generic over the handle of the loop, `H`, with which a closure is called.
//!
//! In the notes: the *timers* of N1.

use readily_sys::inline_fn::InlineFn;
use std::panic::Location;
use std::task::Waker;

/// A closure that runs once on the loop's thread, with the loop's handle `H`, and the line that queued it.
pub(super) struct Call<H: 'static> {
    pub(super) run: InlineFn<H>,
    pub(super) site: &'static Location<'static>,
}

impl<H> Call<H> {
    #[inline]
    pub(super) fn new(site: &'static Location<'static>, run: impl FnOnce(&H) + 'static) -> Self {
        let run = InlineFn::new(run);
        Self { run, site }
    }
}

#[repr(C)] // in the order of `Call`, so that its words are copied as they are
pub(super) struct Action<H: 'static> {
    what: ActionKind<H>,
    site: &'static Location<'static>,
}

enum ActionKind<H: 'static> {
    Call(InlineFn<H>),
    Wake(Waker),
}

/// An [`Action`] that is due.
pub(super) enum DueAction<H: 'static> {
    Call(Call<H>),
    Wake(Waker),
}

impl<H> Action<H> {
    #[inline]
    pub(super) fn call(call: Call<H>) -> Self {
        let Call { run, site } = call;
        let what = ActionKind::Call(run);
        Self { what, site }
    }

    #[inline]
    pub(super) fn wake(waker: Waker) -> Self {
        let what = ActionKind::Wake(waker);
        let site = Location::caller();
        Self { what, site }
    }

    #[inline]
    pub(super) fn into_due(self) -> DueAction<H> {
        let site = self.site;
        match self.what {
            ActionKind::Call(run) => DueAction::Call(Call { run, site }),
            ActionKind::Wake(waker) => DueAction::Wake(waker),
        }
    }

    #[inline]
    pub(super) fn waker(&mut self) -> Option<&mut Waker> {
        match &mut self.what {
            ActionKind::Call(_) => None,
            ActionKind::Wake(waker) => Some(waker),
        }
    }

    /// The waker of an action that has one.
    #[inline]
    pub(super) fn into_waker(self) -> Waker {
        match self.what {
            ActionKind::Call(_) => unreachable!("a wake timer has a waker"),
            ActionKind::Wake(waker) => waker,
        }
    }

    /// Whether dropping it may run user code.
    #[inline]
    pub(super) fn needs_drop(&self) -> bool {
        match &self.what {
            ActionKind::Call(run) => run.needs_drop(),
            ActionKind::Wake(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn none_takes_no_room_of_its_own() {
        assert_eq!(size_of::<Action<u8>>(), 40);
        assert_eq!(size_of::<Option<Action<u8>>>(), 40);
    }
}
