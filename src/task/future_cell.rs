//! The state that a promise and its future share: whether it is settled, with which result, and its
//! waiters.
//!
//! It is settled once. The value is moved out to the task that awaits the future, or stays in the
//! cell if several futures share it, each of which gets a clone.
//!
//! In the notes: N17. Rule: T4.

use super::done::DoneList;
use super::waiters::WakerList;
use crate::event_loop::panics::catch;
use crate::event_loop::user_code::run_bounded;
use crate::event_loop::{Origin, WeakHandle};
use std::cell::RefCell;
use std::mem::needs_drop;
use std::rc::Rc;

/// The reason why a future gave no value.
#[doc(alias = "CancelledError")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FutureError {
    /// The future was cancelled.
    #[error("the future was cancelled")]
    Cancelled,
    /// The promise was dropped before it settled the future.
    #[error("the promise was dropped without a value")]
    PromiseDropped,
}

pub(super) enum Status<T> {
    Pending,
    Settled(Result<T, FutureError>),
    /// Shared by several futures, which get clones of the value. `None` while it is pending.
    Shared(Option<Rc<Result<T, FutureError>>>),
    /// T4: delivered once. The error is kept for later queries.
    Taken(Option<FutureError>),
}

pub(super) struct FutureState<T: 'static> {
    pub(super) status: RefCell<Status<T>>,
    pub(super) waiters: WakerList,
    pub(super) done: DoneList<Rc<Self>>,
    /// The loop that runs the done-callbacks by `call_soon`.
    pub(super) handle: WeakHandle,
}

impl<T: 'static> FutureState<T> {
    pub(super) fn new(handle: WeakHandle) -> Self {
        Self {
            status: RefCell::new(Status::Pending),
            waiters: WakerList::default(),
            done: DoneList::default(),
            handle,
        }
    }

    /// Settles once; returns `result` in the error if that has happened before.
    pub(super) fn settle(
        self: &Rc<Self>,
        result: Result<T, FutureError>,
    ) -> Result<(), Result<T, FutureError>> {
        let mut state = self.status.borrow_mut();
        match *state {
            Status::Pending => *state = Status::Settled(result),
            Status::Shared(None) => *state = Status::Shared(Some(Rc::new(result))),
            _ => return Err(result),
        }
        drop(state);
        // R057: a waker's panic does not belong to the caller, and must not cost the callbacks.
        if let Err(payload) = catch(|| self.waiters.wake_all()) {
            self.handle.apply_panic_policy(payload, Origin::Other);
        }
        self.schedule();
        Ok(())
    }

    pub(super) fn schedule(self: &Rc<Self>) {
        let scheduled = self
            .handle
            .with(|handle| self.done.schedule(handle, || Rc::clone(self)));
        if scheduled.is_none() {
            self.done.drop_all();
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        !matches!(
            *self.status.borrow(),
            Status::Pending | Status::Shared(None)
        )
    }

    pub(super) fn is_cancelled(&self) -> bool {
        let cancelled = Some(FutureError::Cancelled);
        match &*self.status.borrow() {
            Status::Pending | Status::Shared(None) => false,
            Status::Settled(result) => result.as_ref().err().copied() == cancelled,
            Status::Shared(Some(result)) => result.as_ref().as_ref().err().copied() == cancelled,
            Status::Taken(error) => *error == cancelled,
        }
    }

    pub(super) fn cancel(self: &Rc<Self>) -> bool {
        self.settle(Err(FutureError::Cancelled)).is_ok()
    }

    /// Makes the result one that many futures share. A result that was taken before stays taken.
    pub(super) fn share(&self) {
        let mut state = self.status.borrow_mut();
        *state = match std::mem::replace(&mut *state, Status::Pending) {
            Status::Pending => Status::Shared(None),
            Status::Settled(result) => Status::Shared(Some(Rc::new(result))),
            other => other,
        };
    }

    /// The shared result, once there is one.
    pub(super) fn shared(&self) -> Option<Rc<Result<T, FutureError>>> {
        match &*self.status.borrow() {
            Status::Shared(shared) => shared.clone(),
            _ => None,
        }
    }

    pub(super) fn take(&self) -> Option<Result<T, FutureError>> {
        let mut state = self.status.borrow_mut();
        match &*state {
            Status::Pending | Status::Shared(_) | Status::Taken(_) => None,
            Status::Settled(result) => {
                let taken = Status::Taken(result.as_ref().err().copied());
                match std::mem::replace(&mut *state, taken) {
                    Status::Settled(result) => Some(result),
                    _ => unreachable!("it was settled a moment ago"),
                }
            }
        }
    }
}

impl<T: 'static> Drop for FutureState<T> {
    fn drop(&mut self) {
        let has_value = matches!(
            self.status.get_mut(),
            Status::Settled(Ok(_)) | Status::Shared(Some(_))
        );
        // G5: the value may be the next one of its kind, and so on.
        if needs_drop::<T>() && has_value {
            let state = std::mem::replace(self.status.get_mut(), Status::Taken(None));
            run_bounded(move || drop(state));
        }
    }
}
