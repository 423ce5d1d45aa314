//! Done-callbacks: closures that the loop calls after a task or a future has ended.
//!
//! They go through `call_soon`, in the order in which they were added, so they never run on the
//! stack of the code that settled the future. A closure cannot be compared in Rust, so each is
//! removed by the key that adding it returned.
//!
//! In the notes: `add_done_callback`, `remove_done_callback` (N16, N17).

use crate::base::unique_id;
use crate::event_loop::user_code::drop_bounded;
use crate::event_loop::{LoopHandle, WeakHandle};
use std::cell::RefCell;
use std::panic::Location;

/// Identifies a done-callback of one task or future; all others reject it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DoneCallbackKey(u64);

/// The line that added a callback.
type Site = &'static Location<'static>;

type DoneCallback<A> = Box<dyn FnOnce(A)>;

pub(crate) struct DoneList<A> {
    callbacks: RefCell<Vec<(u64, Site, DoneCallback<A>)>>,
}

impl<A> Default for DoneList<A> {
    fn default() -> Self {
        Self {
            callbacks: RefCell::default(),
        }
    }
}

impl<A: 'static> DoneList<A> {
    /// Adds a callback for later.
    #[track_caller]
    pub(crate) fn add(&self, callback: impl FnOnce(A) + 'static) -> DoneCallbackKey {
        let number = unique_id::next();
        self.callbacks
            .borrow_mut()
            .push((number, Location::caller(), Box::new(callback)));
        DoneCallbackKey(number)
    }

    /// Removes a callback; `false` if it has been scheduled, or removed before.
    pub(crate) fn remove(&self, home: &WeakHandle, key: DoneCallbackKey) -> bool {
        let mut callbacks = self.callbacks.borrow_mut();
        let Some(place) = callbacks.iter().position(|(number, ..)| *number == key.0) else {
            return false;
        };
        let removed = callbacks.remove(place);
        drop(callbacks);
        home.with(|handle| handle.drop_guarded(removed));
        true
    }

    /// Drops all callbacks: their loop is gone and calls none. A callback that owns the task or
    /// future it was added to would otherwise keep it for ever.
    pub(crate) fn drop_all(&self) {
        // Not under the borrow: a destructor may add another callback.
        for (_, _, callback) in self.callbacks.take() {
            drop_bounded(callback);
        }
    }

    /// Queues all callbacks, each with an argument made by `ended`.
    pub(crate) fn schedule(&self, handle: &LoopHandle, ended: impl Fn() -> A) {
        let callbacks = self.callbacks.take();
        for (_, site, callback) in callbacks {
            let ended = ended();
            handle.call_soon_from(site, move |_| callback(ended));
        }
    }
}
