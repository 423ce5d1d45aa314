//! The end of a loop: everything that is left is cancelled and dropped, in a stated order.
//!
//! Destructors are user code: they may wake, spawn, register and cancel while the loop is
//! being emptied (R081). So it is marked closed first, each thing is taken out before it is
//! dropped, and what comes in meanwhile is refused, or dropped at once.
//!
//! In the notes: reclaim its resources (N7); in asyncio, what `run` does at its end.

use super::current::Here;
use super::inbox::Letter;
use super::local::Local;

/// What was still there when a loop was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// The jobs (tasks) that were not done, by name. They were cancelled.
    pub jobs: Vec<String>,
    /// Descriptors that were registered.
    pub registrations: usize,
    /// Timers that were armed.
    pub timers: usize,
    /// Closures that waited for their turn, from this thread or another.
    pub closures: usize,
}

impl Local {
    /// Empties everything, in the order that [`EventLoop::close`](super::EventLoop::close) states. Twice is harmless.
    pub(super) fn shut(&self) -> CloseReport {
        let mut report = CloseReport::default();
        if self.closed.replace(true) {
            return report;
        }
        let Some(me) = self.me.upgrade() else {
            return report;
        };
        let _here = Here::enter(&me);
        let mut letters = self.inbox.close();
        letters.append(&mut self.held.take());
        report.closures += letters
            .iter()
            .filter(|l| matches!(l, Letter::Call(..)))
            .count();
        for letter in letters {
            self.drop_guarded(letter);
        }
        if let Some(jobs) = self.jobs.get() {
            report.jobs = jobs.close(self);
        }
        while let Some(slot) = self.registry.first() {
            report.registrations += 1;
            let registration = self.strike(slot);
            self.drop_guarded(registration);
        }
        while let Some(expiry) = self.times.pop_any() {
            report.timers += 1;
            self.drop_guarded(expiry);
        }
        while let Some(call) = self.ready.pop_call() {
            report.closures += 1;
            self.drop_guarded(call);
        }
        let freed = self.freed.take();
        self.drop_guarded(freed);
        self.drop_hook();
        report
    }
}
