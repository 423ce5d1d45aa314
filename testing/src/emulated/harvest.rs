//! The events of a wait: which registrations are queried when, and which are reported.
//!
//! In the notes this is "wait for events" (N7), as a kqueue does it.

use super::filters::{self, Found};
use super::knotes::{Knote, Name};
use super::look::Looker;
use super::watches::Watches;
use super::{BATCH, BELL, Bell, EmulatedQueue};
use readily::poll::NOTIFIER;
use readily_sys::facts;
use readily_sys::kq_abi::{EV_CLEAR, Filter, Kevent, Personality};
use std::io;
use std::time::Duration;

impl EmulatedQueue {
    /// What a registration's filter finds now.
    pub(super) fn look(&mut self, name: Name) -> Option<Found> {
        find(self.system, &mut self.looker, name, self.knotes.get(name)?)
    }

    /// Takes note of what epoll reports.
    pub(super) fn take_news(&mut self) -> io::Result<()> {
        let mut news = std::mem::take(&mut self.news);
        let taken = self.watches.news(&mut news);
        for (name, generation) in news.drain(..) {
            let Some(knote) = self.knotes.get(name).copied() else {
                continue;
            };
            if knote.generation != generation {
                continue;
            }
            let Ok(look) = self.looker.look(name.0, knote.file) else {
                continue;
            };
            let found = filters::found(self.system, knote.file, name.1, &look, knote.as_listener);
            let deaf = filters::is_deaf(self.system, knote.file, name.1, &look);
            if found.above(knote.fflags, knote.least).holds && !deaf {
                self.knotes.activate(name);
            }
        }
        self.news = news;
        taken
    }

    /// Looks at what changes without epoll's notice: a connection that is accepted while others
    /// wait, bytes that are acknowledged while there is room.
    fn count(&mut self) {
        let mut counting = std::mem::take(&mut self.counting);
        counting.extend(self.knotes.counting());
        for name in counting.drain(..) {
            let Some(knote) = self.knotes.get_mut(name) else {
                continue;
            };
            let Ok(look) = self.looker.look(name.0, knote.file) else {
                continue;
            };
            let (before, now) = (knote.counted, look.counted(name.1));
            knote.counted = now;
            let changed = match look.is_listener {
                true => now < before,
                false => now > before,
            };
            let found = filters::found(self.system, knote.file, name.1, &look, knote.as_listener);
            if changed && found.holds {
                self.knotes.activate(name);
            }
        }
        self.counting = counting;
    }

    fn harvest(&mut self, out: &mut Vec<Kevent>) {
        let (system, watches, looker) = (self.system, &self.watches, &mut self.looker);
        let gone = self.knotes.harvest(out, BATCH, |name, knote| {
            is_open(watches, name, knote)
                .then(|| find(system, looker, name, knote))
                .flatten()
        });
        for (fd, _) in gone.closed {
            self.forget_if_closed(fd);
        }
        for name in gone.spent {
            self.forget(name);
        }
    }

    /// Says to hosts whether a harvest may find something.
    pub(super) fn show(&mut self) {
        match (self.knotes.is_ready(), self.is_ready) {
            (true, false) => self.ready.notify(),
            (false, true) => self.ready.drain(),
            _ => return,
        }
        self.is_ready = !self.is_ready;
    }

    /// One look, or one sleep; whether there were events.
    pub(super) fn wait_once(
        &mut self,
        out: &mut Vec<Kevent>,
        limit: Option<Duration>,
    ) -> io::Result<bool> {
        let before = out.len();
        self.count();
        let at_once = self.knotes.is_ready();
        self.outer
            .wait(if at_once { Some(Duration::ZERO) } else { limit })?;
        let rung = self.outer.events().any(|(token, _)| token == BELL);
        if let (true, Bell::User(notifier)) = (rung, &*self.bell) {
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
        self.take_news()?;
        self.harvest(out);
        self.show();
        Ok(out.len() > before)
    }
}

/// Whether the number is still that of the file for which the registration was made.
pub(super) fn is_open(watches: &Watches, name: Name, knote: &Knote) -> bool {
    match knote.is_watched {
        true => watches.is_the_same(name),
        false => facts::file(name.0).is_ok_and(|file| file == knote.file),
    }
}

fn find(system: Personality, looker: &mut Looker, name: Name, knote: &Knote) -> Option<Found> {
    let look = looker.look(name.0, knote.file).ok()?;
    let found = filters::found(system, knote.file, name.1, &look, knote.as_listener);
    Some(found.above(knote.fflags, knote.least))
}

#[cfg(test)]
mod tests;
