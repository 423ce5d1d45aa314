//! One turn of the loop: the steps in their order, and each step.
//!
//! [`LoopHandle::turn`] is the loop of the notes (N7). Each step takes its work out of the cell before it
//! calls user code (L8), and does only the work that was there when it began (L5). So a turn ends,
//! however much work its callbacks add. The numbers of the steps are those of `ARCHITECTURE.md`.

use super::dispatch::Running;
use super::error::Error;
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::panics::{Payload, catch};
use super::rows::Kind;
use crate::poll::Event;
use readily_sys::block_cache;
use std::cell::Cell;
use std::panic::Location;
use std::time::Duration;

/// L9: at most this many closures and task polls run between two calls of `Poller::wait` (or one
/// batch, if that is larger). A call of `Poller::wait` costs as much as several of them.
pub(super) const EVENT_INTERVAL: usize = 61;

impl LoopHandle {
    /// Waits for events, then acts on what the kernel, other threads and the clock made ready.
    ///
    /// As long as there is ready work, the turns that follow do not poll the kernel, until `calls`
    /// closures and tasks have run (L9). Such a turn is called a round, and is counted as a turn. With
    /// zero `calls` there are no rounds.
    ///
    /// `attention` is set wherever work is added, a timer is armed, or the loop must stop or report:
    /// while it is not set, a turn is wait and dispatch. After such a turn of a run, the next one follows
    /// here, because nothing has changed that the run checks.
    pub(super) fn turn(
        &self,
        limit: Option<Duration>,
        calls: usize,
        events: &mut Vec<Event>,
        main: &mut dyn FnMut(),
    ) -> Result<(), Error> {
        loop {
            self.wait(limit, events)?; //                   N7: events = selector.wait(timeout)
            self.calls_left.set(calls);
            self.begin_turn(); //                           messages of other threads
            self.dispatch_all(events); //                   N7: for each (fd, event): …
            if self.ready.rows.attention.get() {
                self.rounds(main);
            } else if self.caches_blocks.get() {
                self.caches_blocks.set(block_cache::end_turn());
            }
            if !self.is_calm() {
                return Ok(());
            }
        }
    }

    /// Whether the next turn follows at once: this is a run, and nothing has changed that it checks.
    #[inline]
    fn is_calm(&self) -> bool {
        let is_run = self.calls_left.get() != 0;
        let goes_on = !self.ready.rows.attention.get() && self.registry.len() != 0;
        is_run && goes_on && !self.inbox.forked()
    }

    /// Runs the other steps of a turn, and the turns that skip the poller.
    #[inline(never)] // so that the turn of an event saves no registers for it
    fn rounds(&self, main: &mut dyn FnMut()) {
        self.inbox.stay_awake();
        loop {
            self.fire_due_timers(); // N1: timers
            self.run_ready(main); //   N1: callbacks and coroutines
            self.end_debugged_turn();
            if !self.may_skip_poll() {
                break;
            }
            self.begin_round();
        }
        if self.ready.is_after_burst() {
            self.shrink_queues();
        }
        block_cache::end_turn();
        let has_timer = !self.times.timers.borrow().is_empty();
        let ends = self.is_pressed() || self.stopping.get() || self.is_observed();
        let attention = has_timer || ends || !self.ready.is_empty();
        self.ready.rows.attention.set(attention);
    }

    /// Shrinks the queues of ready work after a burst (R126).
    #[cold]
    fn shrink_queues(&self) {
        self.ready.shrink();
        if let Some(scheduler) = self.scheduler.get() {
            scheduler.shrink();
        }
    }

    /// C5: zero if work is ready, else the time until the next timer, else `None` (for ever).
    #[inline]
    pub(super) fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        match self.is_pressed() || !self.ready.is_empty() {
            true => Some(Duration::ZERO),
            false => self.until_timer(limit),
        }
    }

    /// Step 2. Sleeps until there is work.
    #[inline]
    fn wait(&self, limit: Option<Duration>, events: &mut Vec<Event>) -> Result<(), Error> {
        let mut timeout = match self.ready.rows.attention.get() {
            true => self.timeout(limit),
            false => limit,
        };
        // W1: a message that is sent from here on notifies the loop; one that was sent before makes
        // `fall_asleep` return `false`.
        let may_sleep = timeout.is_none_or(|timeout| !timeout.is_zero());
        if may_sleep && !self.inbox.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        events.clear();
        // If it fails, a notification is left in the inbox for the next turn.
        self.poller.borrow_mut().wait(events, timeout)?;
        let stats = &self.stats;
        stats.polls.set(stats.polls.get() + 1);
        stats.events.set(stats.events.get() + events.len() as u64);
        Ok(())
    }

    /// Begins a turn that has polled the kernel. Step 3 is here, because most turns have none. A turn that
    /// has nothing to do but to dispatch events does not wake up.
    #[inline]
    fn begin_turn(&self) {
        if self.ready.rows.attention.get() || self.inbox.is_notified() {
            self.consume_notification();
            self.times.begin_round();
            self.receive_messages();
        } else {
            self.times.begin_round_without_timers();
        }
    }

    /// Begins a turn without a poll. L5: a timer that is armed from here on fires in a later one.
    #[inline]
    fn begin_round(&self) {
        self.times.begin_round();
        self.receive_messages();
        self.stats.rounds.set(self.stats.rounds.get() + 1);
    }

    /// Step 7. L9: whether the next turn is a round, which skips the poller: work is ready, few enough
    /// calls have run since the last poll, and nothing else has to be done first.
    #[inline]
    fn may_skip_poll(&self) -> bool {
        let ready = self.ready.len();
        // W2: after a use of the notifier no other one before a wait.
        if ready == 0 || ready > self.calls_left.get() || self.inbox.has_used_notifier() {
            return false;
        }
        self.consume_notification();
        !self.stopping.get() && !self.reports.has_panic() && !self.inbox.forked()
    }

    /// Makes the next turn poll the kernel even if work is ready. The run checks before that turn
    /// whether it ends.
    pub(crate) fn poll_next(&self) {
        self.calls_left.set(0);
    }

    /// Step 4. For each `(fd, event)`. After a panic, the same for the rest of the batch (L6).
    #[inline]
    fn dispatch_all(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let (mut rest, mut running) = (events.iter(), Running::default());
        while let Err(payload) = catch(|| {
            for event in rest.by_ref() {
                self.dispatch(event, &mut running);
            }
        }) {
            self.remove_panicked(&mut running, payload);
        }
        self.detect_stale_spin(events.len(), running.stale);
    }

    /// Step 6. Runs the ready batch: the work that is in the queue when this step begins, in order.
    /// Work that the batch adds is for the next turn (L5). One `catch_unwind` for all of it, as for events.
    #[inline]
    fn run_ready(&self, main: &mut dyn FnMut()) {
        if self.begin_batch() == 0 {
            return;
        }
        let mut running = Current::default();
        while let Err(payload) = catch(|| self.run_batch(main, &mut running)) {
            self.report_call_panic(&running, payload);
            if self.is_debug() && running.begun.is_none() {
                return; // the clock has failed, and might fail for ever
            }
        }
    }

    /// Returns the number of closures and tasks in the batch.
    #[inline]
    fn begin_batch(&self) -> usize {
        let ready = self.ready.begin_batch(|order| {
            if let Some(scheduler) = self.scheduler.get() {
                scheduler.reorder(order);
            }
        });
        self.calls_left
            .set(self.calls_left.get().saturating_sub(ready));
        ready
    }

    fn run_batch(&self, main: &mut dyn FnMut(), running: &mut Current) {
        running.begun = None;
        loop {
            if self.is_observed() {
                match self.run_observed(main, running) {
                    true => continue,
                    false => return,
                }
            }
            let Some(next) = self.ready.rows.pop() else {
                match self.begin_plain_round() {
                    true => continue,
                    false => return,
                }
            };
            match next {
                Kind::Closure => self.run_calls(running),
                Kind::Main => {
                    main();
                    self.check_current(|| self.main_origin());
                }
                Kind::Task => {
                    if let Some(scheduler) = self.scheduler.get() {
                        scheduler.run(self);
                    }
                }
            }
        }
    }

    /// Runs the closures of the row whose first place was popped, and those of the next rounds, as long as
    /// these are plain and have nothing else.
    #[inline]
    fn run_calls(&self, running: &Current) {
        let mut row = self.ready.take_calls();
        let calls = &self.ready.calls;
        loop {
            while calls.first_key() < row.end && calls.run_first(self, &running.site) {
                self.check_current(|| running.closure());
            }
            // A closure that queues the next one is a round each time.
            match self.begin_plain_row() {
                0 => return,
                len => row.go_on(len),
            }
        }
    }

    /// Reports a panic of the closure or task that ran in step 6.
    #[cold]
    fn report_call_panic(&self, running: &Current, payload: Payload) {
        let (origin, left) = match (self.ready.rows.current(), self.scheduler.get()) {
            (Kind::Task, Some(scheduler)) => scheduler.end_panicked(self, payload),
            (Kind::Closure, _) => (running.closure(), Some(payload)),
            (Kind::Main, _) => (self.main_origin(), Some(payload)),
            _ => (Origin::Other, Some(payload)),
        };
        self.check_current(|| origin.clone());
        self.end_call(running.begun, || origin.clone());
        if let Some(payload) = left {
            self.apply_panic_policy(payload, origin);
        }
    }

    /// Whether the next turn must not sleep even if no closure and no task is ready.
    #[inline]
    pub(super) fn is_pressed(&self) -> bool {
        self.notified.get() || self.reports.has_panic()
    }

    #[inline]
    pub(super) fn until_timer(&self, limit: Option<Duration>) -> Option<Duration> {
        let no_timer = self.times.timers.borrow().is_empty();
        match no_timer {
            true => limit,
            false => self.until_next_timer(limit),
        }
    }

    /// Out of line, because a loop without timers does not need it.
    #[inline(never)]
    fn until_next_timer(&self, limit: Option<Duration>) -> Option<Duration> {
        match (limit, self.times.until_next()) {
            (Some(limit), Some(next)) => Some(limit.min(next)),
            (limit, next) => limit.or(next),
        }
    }
}

/// The closure or task that runs in step 6, for the code that catches its panic.
#[derive(Default)]
pub(super) struct Current {
    pub(super) site: Cell<Option<&'static Location<'static>>>,
    pub(super) begun: Option<u64>,
}

impl Current {
    /// The closure that runs.
    pub(super) fn closure(&self) -> Origin {
        let closure = |site| Origin::Closure { site };
        self.site.get().map_or(Origin::Other, closure)
    }
}
