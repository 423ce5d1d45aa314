//! The steps of a turn, which [`EventLoop::turn`](super::EventLoop::turn) puts in order.
//!
//! Each step takes what it works on out of its cell before it calls anybody (L8), and works on
//! what was there when it began (L5), so a turn ends however busy its callbacks are.
//!
//! In the notes: wait for events with a timeout, and for each of them, … (N7).

use super::error::Error;
use super::inbox::Letter;
use super::local::Local;
use super::origin::Origin;
use super::ready::{Call, Item, MAIN_JOB};
use super::unhandled::Unhandled;
use crate::poll::NOTIFIER;
use std::time::Duration;

impl Local {
    /// Step 1. Sleeps until something can be done.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Result<(), Error> {
        let mut timeout = self.timeout(limit);
        // W1: who comes from here on rings; who came before keeps us from sleeping.
        if timeout != Some(Duration::ZERO) && !self.inbox.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        let waited = self
            .poller
            .borrow_mut()
            .wait(&mut self.events.borrow_mut(), timeout);
        // Before the error gets out: the ring has been heard, and will not be repeated.
        let rung = self.decide(self.inbox.wake_up());
        self.called.set(rung || self.called.get());
        waited?;
        self.times.begin_turn();
        self.ready.begin();
        let mut stats = self.stats.get();
        stats.turns += 1;
        stats.events += self.events.borrow().len() as u64;
        self.stats.set(stats);
        Ok(())
    }

    /// C5: zero if something is ready, else until the next timer, else for ever.
    pub(super) fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() || self.called.get() || self.reports.has_panic() {
            return Some(Duration::ZERO);
        }
        match (limit, self.times.until_next()) {
            (Some(limit), Some(next)) => Some(limit.min(next)),
            (limit, next) => limit.or(next),
        }
    }

    /// Step 2. What other threads sent is ready, or already done.
    pub(super) fn read_inbox(&self) {
        if !self.called.take() {
            return;
        }
        let mut letters = self.letters.take();
        self.inbox.drain(&mut letters);
        if let Some(kernel) = &self.kernel {
            self.in_order(&**kernel, &mut letters);
        }
        for letter in letters.drain(..) {
            match letter {
                Letter::Call(run, site) => self.ready.push_sent(Call { run, site }),
                Letter::Job(job) => self.ready.queue_woken_job(job),
                Letter::Stop => self.stop(),
            }
        }
        self.letters.replace(letters);
    }

    /// Step 3. For each `(fd, event)`. The batch is out of its cell meanwhile (L8).
    pub(super) fn dispatch_events(&self) {
        let mut events = self.events.take();
        let stale = self.stats.get().stale;
        for &event in &events {
            if event.token != NOTIFIER {
                self.dispatch(event);
            }
        }
        let stale = self.stats.get().stale - stale;
        self.watch_for_ghosts(events.len() as u64, stale);
        events.clear();
        self.events.replace(events);
    }

    /// R004: a descriptor that was closed behind our back, and whose file lives on under another
    /// number, is reported by epoll for ever, and nobody can take it out any more. Nothing but
    /// such events, turn after turn, is a loop that spins: that is told once.
    fn watch_for_ghosts(&self, events: u64, stale: u64) {
        const TURNS: u32 = 64;
        if events == 0 {
            return;
        }
        let ghosts = match stale == events {
            true => self.ghosts.get().saturating_add(1),
            false => 0,
        };
        self.ghosts.set(ghosts);
        if ghosts == TURNS {
            self.report(&Unhandled::Ghost);
        }
    }

    /// Step 5. What was ready when this step began, in order; what it adds is for a later
    /// turn (L5).
    pub(super) fn run_ready(&self, main: &mut dyn FnMut()) {
        self.ready.end_finding();
        while let Some(item) = self.ready.pop() {
            match item {
                Item::Call(key) => {
                    if let Some(call) = self.ready.take_call(key) {
                        self.note("call", key.to_bits());
                        let origin = || Origin::Closure { site: call.site };
                        self.call_out(origin, || (call.run)(self));
                    }
                }
                Item::Job(MAIN_JOB) => {
                    self.note("main", 0);
                    self.guard(&mut *main);
                }
                Item::Job(job) => {
                    if let Some(jobs) = self.jobs.get() {
                        self.note("job", job);
                        let origin = self.is_debug().then(|| jobs.origin(job));
                        let origin = || origin.unwrap_or(Origin::Other);
                        self.call_out(origin, || jobs.run(self, job));
                    }
                }
            }
        }
    }
}
