//! What the poller reports, held against the kernel in memory.
//!
//! The loop can be no better than what it is told; and that it asks for the right thing, after
//! whatever its callbacks did, shows only in what it hears. So, as far as epoll and the kqueues
//! agree: nobody is told what is not so, nothing is told of who was removed, and who asked and can
//! read or write is not passed over. How many bytes a writer must find room for is each system's
//! own affair.
//!
//! In the notes this is "the selector" (N2).

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

/// What of an interest could be served now, where no system disagrees.
fn can(registered: &Registered, (holds, unread): (Readiness, usize)) -> Interest {
    let arrives = matches!(registered.role, Role::Listener | Role::Datagram);
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

/// The directions that an event is about.
fn said(ready: Readiness) -> Interest {
    let mut said = Interest::NONE;
    for (bit, one) in [
        (Readiness::READ, Interest::READ),
        (Readiness::WRITE, Interest::WRITE),
    ] {
        said |= if ready.contains(bit) {
            one
        } else {
            Interest::NONE
        };
    }
    said
}

impl Model {
    /// Events in words.
    pub(super) fn reported(&self, events: &[Event]) -> String {
        let words = events.iter().filter_map(|event| {
            let id = self.tokens.get(&event.token)?;
            let facts = format!("{:?}", event.ready).to_lowercase();
            let facts = facts.replace(" | ", ", ").replace('_', "-");
            Some(format!("{} as {facts}", self.names[*id]))
        });
        let words: Vec<String> = words.collect();
        match words.is_empty() {
            true => "the poller reports nothing".to_owned(),
            false => format!("the poller reports {}", words.join("; ")),
        }
    }

    /// A wait has reported `events`.
    pub(super) fn hears(&mut self, events: &[Event]) -> Result<(), RuleViolation> {
        let faults = self.kernel.faults();
        let mut heard = BTreeMap::new();
        let late = std::mem::take(&mut self.late);
        let is_late = |event: &&Event| late.contains(&event.token);
        let events: Vec<&Event> = events.iter().filter(|event| !is_late(event)).collect();
        for &event in &events {
            let Some(&id) = self.tokens.get(&event.token) else {
                continue;
            };
            let name = &self.names[id];
            if heard.insert(id, event.ready).is_some() {
                return Err(violation(
                    "R030",
                    format!("{name} is reported twice at once"),
                ));
            }
            let Some(registered) = self.registered.get(&id) else {
                let how = &self.ends[&id];
                return Err(violation(
                    "R004",
                    format!("{name}, which {how}, is reported"),
                ));
            };
            let (holds, _) = self.kernel.inspect(registered.number).unwrap_or_default();
            let surely = Readiness::READ_CLOSED | Readiness::ERROR;
            let surely = match faults.spurious {
                0 => surely | Readiness::READ,
                _ => surely,
            };
            // epoll has no closed side for the writer of a pipe that nobody reads, only an error; a
            // kqueue has both sides and no error.
            let surely = match holds.contains(Readiness::ERROR) {
                true => surely.without(Readiness::READ_CLOSED),
                false => surely,
            };
            let false_alarm = event.ready.without(holds);
            if false_alarm.intersects(surely) {
                let what = format!("{name} is reported as {false_alarm:?}, and is not");
                return Err(violation("R022", what));
            }
        }
        // A batch may be too small for all, and after a signal there is none.
        let whole = faults.batch == 0 && (faults.early_return == 0 || !events.is_empty());
        self.passed_over(&heard, whole)
    }

    fn passed_over(
        &mut self,
        heard: &BTreeMap<usize, Readiness>,
        whole: bool,
    ) -> Result<(), RuleViolation> {
        let refuses = may_refuse(&self.kernel.faults());
        for (id, registered) in &mut self.registered {
            let look = self.kernel.inspect(registered.number).unwrap_or_default();
            let can = can(registered, look);
            // While its error is not fetched, a datagram socket is asked for by the edge, and anew after
            // each event; unless the kernel refuses that.
            let is_failed = registered.role == Role::Datagram && look.0.contains(Readiness::ERROR);
            registered.shaky |= is_failed && refuses;
            let told = heard.get(id).map_or(Interest::NONE, |ready| said(*ready));
            let due = match registered.trigger {
                Trigger::Level => Interest::BOTH,
                _ => registered.owed,
            };
            let asked = registered.effective().unwrap_or_default();
            let silent = (asked & due & can).without(told);
            if whole && !registered.shaky && !is_failed && !silent.is_empty() {
                let name = &self.names[*id];
                let what = format!("{name} asked for {silent:?}, which holds, and is not told");
                return Err(violation("R024", what));
            }
            registered.owed = match registered.trigger {
                // Once, whatever it was.
                Trigger::OneShot if heard.contains_key(id) => Interest::NONE,
                Trigger::OneShot => registered.owed,
                // What is not there now must be told when it comes.
                _ => registered.owed.without(told) | Interest::READ.without(can),
            };
        }
        Ok(())
    }
}

/// Whether a refusal may be the kernel's doing, and not ours.
pub(super) fn may_refuse(faults: &Faults) -> bool {
    faults.enomem != 0 || faults.fails.is_some()
}

impl TraceListener for Harness {
    fn asks(&self, timeout: Option<Duration>) {
        self.catches_up();
        let mut model = self.model.borrow_mut();
        if model.runs_on() {
            self.breaks("R046", "a run does not end");
        }
        if self.is_over() {
            // What went wrong may be what would have ended a run.
            self.handle.with(LoopHandle::stop);
            return;
        }
        // Within a run there is nobody else to say that the turn before is over.
        self.check(model.ends(&|number| self.poller_trace.refused(number)));
        self.check(model.asks(timeout));
        let rings = self.poller_trace.rings();
        if rings > 1 {
            self.breaks("W2", "the bell was rung more than once since the last wait");
        }
        // Within a run nobody waits who would have to be rung.
        let heard = model.run.is_some() || model.ran || rings > 0;
        if model.rung && !heard {
            self.breaks("W1", "somebody came, and nobody rang");
        }
    }

    fn told(&self, events: &[Event]) {
        if self.is_over() {
            return;
        }
        let mut model = self.model.borrow_mut();
        self.transcript.tell_coming(model.reported(events));
        self.check(model.hears(events));
        model.begins(events);
    }
}
