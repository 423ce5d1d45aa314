//! A task's panic payload that has not been retrieved yet. Dropped unread, it is reported.
//!
//! Between the end of a task and the code that asks for its result, a payload may be stored in a
//! cell that two threads share, or in a future that is dropped. It is kept with the name of the
//! task and the line that spawned it, so that wherever it is dropped it is sent to the loop and
//! reported there; or, if the loop is gone, on standard error.
//!
//! In asyncio: "Task exception was never retrieved".

use super::cell::Header;
use crate::event_loop::{Inbox, Origin, Payload, current, panics, stderr};
use std::panic::Location;
use std::sync::Arc;

/// A panic payload that is reported as unhandled when it is dropped unread.
pub(crate) struct UnclaimedPanic {
    payload: Option<Payload>,
    /// The name of the task; `None` if there was no task yet.
    name: Option<String>,
    site: &'static Location<'static>,
    inbox: Arc<Inbox>,
    /// Whether it has been sent to its loop already.
    forwarded: bool,
}

impl UnclaimedPanic {
    /// The payload of this task.
    pub(super) fn of_task(task: &Header, payload: Payload) -> Self {
        let mut unclaimed = Self::of_closure(task.site(), task.inbox(), payload);
        unclaimed.name = Some(task.name().to_string());
        unclaimed
    }

    /// The payload of a closure that was sent to make a task.
    pub(crate) fn of_closure(
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

    /// Takes the payload, which is then not reported.
    pub(crate) fn take(mut self) -> Payload {
        self.payload.take().expect("it is taken once, or dropped")
    }

    /// Reports the payload right after another report of the same caller.
    pub(crate) fn report(mut self) {
        if !current::is_own_thread(&self.inbox) {
            return; // the drop at the end of this function reports it
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
            current::with(|handle| handle.apply_panic_policy(payload, origin));
        } else if self.inbox.forked() {
            // The parent process has it too, and reports it.
            panics::drop_quietly(payload);
        } else if self.forwarded {
            // A closed loop has dropped the message.
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
