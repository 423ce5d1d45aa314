//! A panic in somebody's keeping: whoever lets it go unseen has it told.
//!
//! Between the end of a task and whoever asks for its result a panic may lie in a cell that two
//! threads share, or in a future that is dropped. There it is kept with the name of its task and the
//! line that made it, so that wherever it is dropped it goes home, and is told there; or, where home
//! is gone, on standard error.
//!
//! In asyncio: "Task exception was never retrieved".

use super::cell::Header;
use crate::event_loop::{Inbox, Origin, Payload, current, panics, stderr};
use std::panic::Location;
use std::sync::Arc;

/// Told when it is dropped: as a panic that nobody waits for.
pub(crate) struct UnclaimedPanic {
    payload: Option<Payload>,
    /// The task's; `None` if it was none yet.
    name: Option<String>,
    site: &'static Location<'static>,
    inbox: Arc<Inbox>,
    /// Whether it is on its way home already.
    forwarded: bool,
}

impl UnclaimedPanic {
    /// What this task has panicked with.
    pub(super) fn of_task(task: &Header, payload: Payload) -> Self {
        let mut unclaimed = Self::of_closure(task.site(), task.inbox(), payload);
        unclaimed.name = Some(task.name().to_string());
        unclaimed
    }

    /// What a closure has panicked with that was sent to make a task.
    pub(super) fn of_closure(
        site: &'static Location<'static>,
        home: &Arc<Inbox>,
        payload: Payload,
    ) -> Self {
        Self {
            payload: Some(payload),
            name: None,
            site,
            inbox: Arc::clone(home),
            forwarded: false,
        }
    }

    /// Somebody asks for it, so it need not be told.
    pub(crate) fn take(mut self) -> Payload {
        self.payload.take().expect("it is taken once, or dropped")
    }

    /// Tells it behind another that goes out in the same place.
    pub(crate) fn report(mut self) {
        if !current::is_own_thread(&self.inbox) {
            return; // it is told when it is dropped, now
        }
        if let Some(payload) = self.payload.take() {
            current::with(|handle| handle.report_panic(payload, self.origin()));
        }
    }

    fn origin(&self) -> Origin {
        let site = self.site;
        match &self.name {
            Some(name) => Origin::Task {
                name: name.as_str().into(),
                site,
            },
            None => Origin::Closure { site },
        }
    }
}

impl Drop for UnclaimedPanic {
    fn drop(&mut self) {
        let Some(payload) = self.payload.take() else {
            return;
        };
        let origin = self.origin();
        if current::is_own_thread(&self.inbox) {
            current::with(|handle| handle.note_panic(payload, origin));
        } else if self.inbox.forked() {
            // The parent has it too, and tells it.
            panics::drop_quietly(payload);
        } else if self.forwarded {
            // A closed loop has let it go.
            stderr::print_panic(payload, origin);
        } else {
            let home = Arc::clone(&self.inbox);
            let unclaimed = Self {
                payload: Some(payload),
                name: self.name.take(),
                site: self.site,
                inbox: Arc::clone(&home),
                forwarded: true,
            };
            home.send_call(move |_| drop(unclaimed), Location::caller());
        }
    }
}
