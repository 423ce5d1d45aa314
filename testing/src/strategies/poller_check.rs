//! Compares the poller's reports with the state of the simulated kernel.
//!
//! A loop depends on the reports of its poller, and a wrong interest after some operation of a
//! callback shows only in them. So, as far as epoll and the kqueues agree: no report is wrong, no
//! report is for a removed registration, and a registration that asks for a direction that is ready
//! is reported. The systems differ in how much room makes a descriptor writable, so that is not
//! checked.
//!
//! This is "the selector" (N2).

use super::checker::{RuleViolation, violation};
use super::harness::Harness;
use super::model::{Model, Registered};
use crate::sim::Faults;
use crate::tracing_poller::TraceListener;
use readily::event_loop::Role;
use readily::poll::Event;
use readily::{Interest, LoopHandle, Readiness, Trigger};
use std::collections::BTreeMap;
use std::time::Duration;

/// The directions of a registration that are ready on every system.
fn certain_interest(registered: &Registered, (holds, unread): (Readiness, usize)) -> Interest {
    let arrives = matches!(registered.role, Some(Role::Listener | Role::Datagram));
    let comes = arrives && holds.contains(Readiness::READ);
    let read = unread > 0 || holds.contains(Readiness::READ_CLOSED) || comes;
    let over = Readiness::ERROR | Readiness::WRITE_CLOSED;
    let write = holds.contains(Readiness::WRITE) && !holds.intersects(over);
    let mut can = Interest::NONE;
    for (one, holds) in [(Interest::READ, read), (Interest::WRITE, write)] {
        can |= if holds { one } else { Interest::NONE };
    }
    can
}

/// The directions that an event reports.
fn directions(ready: Readiness) -> Interest {
    let mut directions = Interest::NONE;
    for (bit, one) in [
        (Readiness::READ, Interest::READ),
        (Readiness::WRITE, Interest::WRITE),
    ] {
        directions |= if ready.contains(bit) {
            one
        } else {
            Interest::NONE
        };
    }
    directions
}

impl Model {
    /// Events as text.
    pub(super) fn describe_events(&self, events: &[Event]) -> String {
        let words = events.iter().filter_map(|event| {
            let id = self.tokens.get(&event.token())?;
            let facts = format!("{:?}", event.ready()).to_lowercase();
            let facts = facts.replace(" | ", ", ").replace('_', "-");
            Some(format!("{} as {facts}", self.names[*id]))
        });
        let words: Vec<String> = words.collect();
        match words.is_empty() {
            true => "the poller reports nothing".to_owned(),
            false => format!("the poller reports {}", words.join("; ")),
        }
    }

    /// Checks the events of a wait.
    pub(super) fn check_events(&mut self, events: &[Event]) -> Result<(), RuleViolation> {
        let faults = self.kernel.faults();
        let mut reported = BTreeMap::new();
        let late = std::mem::take(&mut self.late);
        let is_late = |event: &&Event| late.contains(&event.token());
        let events: Vec<&Event> = events.iter().filter(|event| !is_late(event)).collect();
        for &event in &events {
            let Some(&id) = self.tokens.get(&event.token()) else {
                continue;
            };
            let name = &self.names[id];
            if reported.insert(id, event.ready()).is_some() {
                return Err(violation(
                    "R030",
                    format!("{name} is reported twice at once"),
                ));
            }
            let Some(registered) = self.registered.get(&id) else {
                let how = &self.how_ended[&id];
                return Err(violation(
                    "R004",
                    format!("{name}, which {how}, is reported"),
                ));
            };
            let (holds, _) = self.kernel.inspect(registered.raw_fd).unwrap_or_default();
            let certain = Readiness::READ_CLOSED | Readiness::ERROR;
            let certain = match faults.spurious {
                0 => certain | Readiness::READ,
                _ => certain,
            };
            // epoll reports only an error to the writer of a pipe without a reader, and no closed
            // side; a kqueue reports both sides closed, and no error.
            let certain = match holds.contains(Readiness::ERROR) {
                true => certain.without(Readiness::READ_CLOSED),
                false => certain,
            };
            let wrong = event.ready().without(holds);
            if wrong.intersects(certain) {
                let what = format!("{name} is reported as {wrong:?}, which does not hold");
                return Err(violation("R022", what));
            }
        }
        // A batch may be too small for all events, and an interrupted wait has none.
        let is_complete = faults.batch == 0 && (faults.early_return == 0 || !events.is_empty());
        self.check_missing(&reported, is_complete)
    }

    fn check_missing(
        &mut self,
        reported: &BTreeMap<usize, Readiness>,
        is_complete: bool,
    ) -> Result<(), RuleViolation> {
        let refuses = may_refuse(&self.kernel.faults());
        for (id, registered) in &mut self.registered {
            let state = self.kernel.inspect(registered.raw_fd).unwrap_or_default();
            let can = certain_interest(registered, state);
            // While a datagram socket has an error, it is registered edge-triggered, and registered
            // again after each event, which the kernel may refuse.
            let is_failed =
                registered.role == Some(Role::Datagram) && state.0.contains(Readiness::ERROR);
            registered.is_uncertain |= is_failed && refuses;
            let seen = reported
                .get(id)
                .map_or(Interest::NONE, |ready| directions(*ready));
            let due = match registered.trigger {
                Trigger::Level => Interest::BOTH,
                _ => registered.expected,
            };
            let asked = registered.effective().unwrap_or_default();
            let missing = (asked & due & can).without(seen);
            if is_complete && !registered.is_uncertain && !is_failed && !missing.is_empty() {
                let name = &self.names[*id];
                let what = format!(
                    "{name} has interest in {missing:?}, which is ready, and is not reported"
                );
                return Err(violation("R024", what));
            }
            registered.expected = match registered.trigger {
                // One event disarms it, whatever the event reports.
                Trigger::OneShot if reported.contains_key(id) => Interest::NONE,
                Trigger::OneShot => registered.expected,
                // A direction that is not ready now must be reported when it is.
                _ => registered.expected.without(seen) | Interest::READ.without(can),
            };
        }
        Ok(())
    }
}

/// Whether a fault of the kernel may be the reason of a refusal.
pub(super) fn may_refuse(faults: &Faults) -> bool {
    faults.enomem != 0 || faults.fails.is_some()
}

impl TraceListener for Harness {
    fn before_wait(&self, timeout: Option<Duration>) {
        self.sync_turns();
        let mut model = self.model.borrow_mut();
        if model.is_run_overdue() {
            self.fail("R046", "a run does not end");
        }
        if self.has_failed() {
            // The violation may be a missing end of a run, which would then never return.
            self.handle.with(LoopHandle::stop);
            return;
        }
        // Within a run only this call shows that the turn before is over.
        self.check(model.end_turn(&|raw_fd| self.poller_trace.refused(raw_fd)));
        self.check(model.check_wait(timeout));
        let notifications = self.poller_trace.take_notifications();
        if notifications > 1 {
            self.fail(
                "W2",
                "the poller was notified more than once since the last wait",
            );
        }
        // Within a run the loop does not sleep between turns, so it needs no notification.
        let awake = model.run.is_some() || model.ran_future || notifications > 0;
        if model.notified && !awake {
            self.fail(
                "W1",
                "another thread has sent a message, and did not notify the poller",
            );
        }
    }

    fn after_wait(&self, events: &[Event]) {
        if self.has_failed() {
            return;
        }
        let mut model = self.model.borrow_mut();
        self.transcript
            .line_in_next_turn(model.describe_events(events));
        self.check(model.check_events(events));
        model.begin_turn(events);
    }
}
