//! The events of a wait: when each filter is evaluated, and which registrations are reported.
//!
//! In the notes this is "wait for events" (N7), as a kqueue does it.

use super::epoll_pair::EpollPair;
use super::fd_state::FdInspector;
use super::filters::{self, FilterOutput};
use super::knotes::{Knote, Name};
use super::{BATCH, EmulatedKqueue, NOTIFIER_TOKEN, QueueNotifier};
use readily::poll::NOTIFIER;
use readily_sys::facts;
use readily_sys::kq_abi::{EV_CLEAR, Filter, Kevent, Personality};
use std::io;
use std::time::Duration;

impl EmulatedKqueue {
    /// Evaluates the filter of a registration; `None` if there is no such registration, or its
    /// descriptor cannot be queried.
    pub(super) fn evaluate(&mut self, name: Name) -> Option<FilterOutput> {
        evaluate(
            self.system,
            &mut self.inspector,
            name,
            self.knotes.get(name)?,
        )
    }

    /// Activates the registrations that epoll reports as changed, if their conditions hold.
    pub(super) fn activate_changed(&mut self) -> io::Result<()> {
        let mut changed = std::mem::take(&mut self.changed);
        let result = self.epolls.changes(&mut changed);
        for (name, generation) in changed.drain(..) {
            let Some(knote) = self.knotes.get(name).copied() else {
                continue;
            };
            if knote.generation != generation {
                continue;
            }
            let Ok(state) = self.inspector.inspect(name.0, knote.file) else {
                continue;
            };
            let file = knote.file;
            let output = filters::evaluate(self.system, file, name.1, &state, knote.as_listener);
            let missed = filters::misses_end(self.system, file, name.1, &state);
            if output.above(knote.fflags, knote.low_water).holds && !missed {
                self.knotes.activate(name);
            }
        }
        self.changed = changed;
        result
    }

    /// Activates the registrations whose counts have changed without a report by epoll: a
    /// connection was accepted while others wait, or bytes were acknowledged while there is room.
    fn activate_counted(&mut self) {
        let mut counted = std::mem::take(&mut self.counted);
        counted.extend(self.knotes.counted());
        for name in counted.drain(..) {
            let Some(knote) = self.knotes.get_mut(name) else {
                continue;
            };
            let Ok(state) = self.inspector.inspect(name.0, knote.file) else {
                continue;
            };
            let (before, now) = (knote.last_count, state.count(name.1));
            knote.last_count = now;
            let changed = match state.is_listener {
                true => now < before,
                false => now > before,
            };
            let file = knote.file;
            let output = filters::evaluate(self.system, file, name.1, &state, knote.as_listener);
            if changed && output.holds {
                self.knotes.activate(name);
            }
        }
        self.counted = counted;
    }

    fn collect(&mut self, out: &mut Vec<Kevent>) {
        let (system, epolls, inspector) = (self.system, &self.epolls, &mut self.inspector);
        let removals = self.knotes.collect(out, BATCH, |name, knote| {
            is_open(epolls, name, knote)
                .then(|| evaluate(system, inspector, name, knote))
                .flatten()
        });
        for (fd, _) in removals.closed {
            self.remove_if_closed(fd);
        }
        for name in removals.one_shots {
            self.remove(name);
        }
    }

    /// Makes the queue's descriptor readable while the next wait may have events, and not otherwise.
    pub(super) fn update_readiness(&mut self) {
        match (self.knotes.is_ready(), self.is_ready) {
            (true, false) => self.ready.notify(),
            (false, true) => {
                self.ready.drain();
            }
            _ => return,
        }
        self.is_ready = !self.is_ready;
    }

    /// Waits once, or does not wait if events are queued; returns whether there were events.
    pub(super) fn wait_once(
        &mut self,
        out: &mut Vec<Kevent>,
        limit: Option<Duration>,
    ) -> io::Result<bool> {
        let before = out.len();
        self.activate_counted();
        let at_once = self.knotes.is_ready();
        let limit = if at_once { Some(Duration::ZERO) } else { limit };
        self.events.clear();
        self.outer.wait(&mut self.events, limit)?;
        let notified = self.events.iter().any(|it| it.token() == NOTIFIER_TOKEN);
        if let (true, QueueNotifier::User(notifier)) = (notified, &*self.notifier) {
            notifier.drain();
            out.push(Kevent {
                ident: 0,
                filter: Filter::User,
                flags: EV_CLEAR,
                fflags: 0,
                data: 0,
                udata: NOTIFIER,
            });
        }
        self.activate_changed()?;
        self.collect(out);
        self.update_readiness();
        Ok(out.len() > before)
    }
}

/// Whether the number still refers to the file for which the registration was made.
pub(super) fn is_open(epolls: &EpollPair, name: Name, knote: &Knote) -> bool {
    match knote.is_watched {
        true => epolls.is_same_file(name),
        false => facts::file(name.0).is_ok_and(|file| file == knote.file),
    }
}

fn evaluate(
    system: Personality,
    inspector: &mut FdInspector,
    name: Name,
    knote: &Knote,
) -> Option<FilterOutput> {
    let state = inspector.inspect(name.0, knote.file).ok()?;
    let output = filters::evaluate(system, knote.file, name.1, &state, knote.as_listener);
    Some(output.above(knote.fflags, knote.low_water))
}

#[cfg(test)]
mod tests;
