//! What happens when time is up, or a descriptor has come free: a closure runs, or a waker wakes.
//!
//! A waker costs no allocation, and is all that `sleep` needs. Both have the line that made them
//! beside them, whether it is asked for or not: a reference is never null, so that "nobody" takes no
//! room of its own, and a timer's slot is forty-eight bytes instead of fifty-six.
//!
//! In the notes: what becomes of the *timers* of N1.

use super::local::LoopHandle;
use super::ready::Call;
use readily_sys::inline_fn::InlineFn;
use std::panic::Location;
use std::task::Waker;

#[repr(C)] // as a call has it, whose words are then copied as they lie
pub(super) struct Action {
    what: ActionKind,
    site: &'static Location<'static>,
}

enum ActionKind {
    Call(InlineFn<LoopHandle>),
    Wake(Waker),
}

/// An [`Action`] whose time has come.
pub(super) enum Expired {
    Call(Call),
    Wake(Waker),
}

impl Action {
    #[inline]
    pub(super) fn call(call: Call) -> Self {
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
    pub(super) fn open(self) -> Expired {
        let site = self.site;
        match self.what {
            ActionKind::Call(run) => Expired::Call(Call { run, site }),
            ActionKind::Wake(waker) => Expired::Wake(waker),
        }
    }

    #[inline]
    pub(super) fn waker(&mut self) -> Option<&mut Waker> {
        match &mut self.what {
            ActionKind::Call(_) => None,
            ActionKind::Wake(waker) => Some(waker),
        }
    }

    /// Whether to drop it may run anybody's code.
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
        assert_eq!(size_of::<Action>(), 40);
        assert_eq!(size_of::<Option<Action>>(), 40);
    }
}
