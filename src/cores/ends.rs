//! The ends of the cores: each is put here once, and waiters are woken when the last one is.
//!
//! It is the only state of a group under a lock. A waiter is a thread that sleeps on the condition
//! variable, or a task on a loop of its own, whose waker is kept. Both look under the lock, so the last
//! end is either there when they look, or finds them waiting. Wakers are called after the lock is
//! released (L8).
//!
//! Rule: M3.

use super::now;
use super::report::{CoreEnd, CoreReport, CoresReport};
use crate::base::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::Instant;

/// The reports of the cores that have ended.
pub(super) struct Ends {
    state: Mutex<State>,
    all: Condvar,
}

struct State {
    reports: Vec<Option<CoreReport>>,
    running: usize,
    wakers: Vec<Waker>,
}

impl Ends {
    pub(super) fn new(count: usize) -> Self {
        Self {
            state: Mutex::new(State {
                reports: vec![None; count],
                running: count,
                wakers: Vec::new(),
            }),
            all: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent even if the lock is poisoned: nothing that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// M3: puts the end of a core, and wakes the waiters if it is the last one. A second end of a core
    /// has no effect.
    pub(super) fn put(&self, report: CoreReport) {
        let mut state = self.state();
        let State {
            reports, running, ..
        } = &mut *state;
        match reports.get_mut(report.core) {
            Some(place @ None) => *place = Some(report),
            _ => return,
        }
        *running -= 1;
        if *running > 0 {
            return;
        }
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.all.notify_all();
        // L8: not under the lock.
        for waker in wakers {
            waker.wake();
        }
    }

    /// Whether all cores have ended. If not, wakes `waker` when they have.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<()> {
        // L8: cloned before the lock, and dropped after it, if it is not needed.
        let waker = waker.clone();
        let mut state = self.state();
        if state.running == 0 {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|kept| kept.will_wake(&waker)) {
            state.wakers.push(waker);
        }
        Poll::Pending
    }

    /// Blocks this thread until all cores have ended, or until this time.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let mut state = self.state();
        while state.running > 0 {
            state = match until {
                None => self.all.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now());
                    if left.is_zero() {
                        return;
                    }
                    let waited = self.all.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The ends so far. A core that has not ended is [`CoreEnd::Running`].
    pub(super) fn report(&self) -> CoresReport {
        let reports = self.state().reports.clone().into_iter().enumerate();
        let running = |core| CoreReport::new(core, CoreEnd::Running);
        let cores = reports.map(|(core, report)| report.unwrap_or_else(|| running(core)));
        CoresReport {
            cores: cores.collect(),
        }
    }

    /// Whether this core has ended.
    pub(super) fn has(&self, core: usize) -> bool {
        self.state().reports[core].is_some()
    }
}
