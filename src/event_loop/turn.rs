//! The steps of a turn, which [`EventLoop::turn`](super::EventLoop::turn) calls in order.
//!
//! Each step takes its work out of the cell before it calls user code (L8), and does only the work
//! that was there when it began (L5). So a turn ends, however much work its callbacks add.
//!
//! In the notes: wait for events with a timeout, and for each of them, … (N7).

use super::dispatch::Batch;
use super::error::Error;
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::panics::{Payload, catch};
use super::ready::{MAIN_TASK, NEXT_CALL};
use crate::poll::Event;
use readily_sys::block_cache;
use std::panic::Location;
use std::time::Duration;

/// L9: at most this many closures and task polls run between two calls of `Poller::wait` (or one
/// batch, if that is larger). A call of `Poller::wait` costs as much as several of them.
const EVENT_INTERVAL: usize = 61;

impl LoopHandle {
    /// Step 2. Sleeps until there is work.
    #[inline]
    pub(super) fn wait(&self, limit: Option<Duration>) -> Result<Vec<Event>, Error> {
        let mut timeout = self.timeout(limit);
        // W1: a message that is sent from here on notifies the loop; one that was sent before makes
        // `fall_asleep` return `false`.
        if timeout != Some(Duration::ZERO) && !self.inbox.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        let mut events = self.events.take();
        let waited = self.poller.borrow_mut().wait(&mut events, timeout);
        // Also if the wait failed: the notification may have been consumed, and is not repeated.
        self.consume_notification();
        if let Err(error) = waited {
            self.recycle(events);
            return Err(error.into());
        }
        self.begin_turn();
        let stats = &self.stats;
        stats.polls.set(stats.polls.get() + 1);
        stats.events.set(stats.events.get() + events.len() as u64);
        self.calls_since_poll.set(0);
        Ok(events)
    }

    #[inline]
    fn consume_notification(&self) {
        let notified = self.replayed_or(self.inbox.wake_up());
        self.notified.set(notified || self.notified.get());
    }

    #[inline]
    fn is_notified(&self) -> bool {
        self.consume_notification();
        self.notified.get()
    }

    /// Keeps the buffer for the next turn.
    #[inline]
    fn recycle(&self, mut events: Vec<Event>) {
        events.clear();
        self.events.set(events);
    }

    /// Whether the next turn may skip the poller: work is ready, and running it does not exceed
    /// [`EVENT_INTERVAL`] (L9).
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.busy().is_some()
    }

    /// The number of ready closures and tasks, if the next turn may skip the poller.
    #[inline]
    fn busy(&self) -> Option<usize> {
        let ready = self.ready.len();
        let busy = self.in_run.get()
            && ready != 0
            && self.calls_since_poll.get() + ready <= EVENT_INTERVAL;
        busy.then_some(ready)
    }

    /// Makes the next turn poll the kernel even if work is ready. The run checks before that turn
    /// whether it ends.
    pub(crate) fn poll_next(&self) {
        self.calls_since_poll.set(EVENT_INTERVAL);
    }

    /// Replaces step 2 in a turn that skips the poller. Timers fire in such a turn as in any other.
    #[inline]
    pub(super) fn begin_round(&self) -> Vec<Event> {
        self.consume_notification();
        self.begin_turn();
        self.events.take()
    }

    #[inline]
    fn begin_turn(&self) {
        self.times.begin_turn();
        self.ready.begin();
        self.count_turn();
    }

    #[inline]
    fn count_turn(&self) {
        self.stats.turns.set(self.stats.turns.get() + 1);
    }

    #[inline]
    pub(super) fn end_turn(&self) {
        self.times.end_turn();
        self.end_debugged_turn();
    }

    /// C5: zero if work is ready, else the time until the next timer, else `None` (for ever).
    #[inline]
    pub(super) fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() || self.is_pressed() {
            return Some(Duration::ZERO);
        }
        self.until_timer(limit)
    }

    /// Whether the next turn must not sleep even if no closure and no task is ready.
    #[inline]
    fn is_pressed(&self) -> bool {
        self.notified.get() || self.reports.has_panic()
    }

    /// How long the loop has no work unless an event or a message arrives; `None` for ever.
    /// Cancelled work that is still in the queue does not count.
    pub(super) fn until_work(&self) -> Option<Duration> {
        match self.is_pressed() || self.inbox.has_messages() || self.has_ready_work() {
            true => Some(Duration::ZERO),
            false => self.until_timer(None),
        }
    }

    /// Whether a closure that was not cancelled, or a task that has not ended, is ready.
    pub(super) fn has_ready_work(&self) -> bool {
        let scheduler = self.scheduler.get();
        let is_alive = |task_id| {
            task_id == MAIN_TASK || scheduler.is_none_or(|scheduler| scheduler.is_alive(task_id))
        };
        !self.ready.is_empty() && self.ready.has_work(is_alive)
    }

    #[inline]
    fn until_timer(&self, limit: Option<Duration>) -> Option<Duration> {
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

    /// Step 4. For each `(fd, event)`. Meanwhile no cell is borrowed for the batch (L8).
    #[inline]
    pub(super) fn dispatch_events(&self, events: Vec<Event>) {
        match events.is_empty() {
            true => self.recycle(events),
            false => self.dispatch_batch(events),
        }
    }

    fn dispatch_batch(&self, events: Vec<Event>) {
        let mut batch = Batch::new(&events);
        let stale = self.stats.stale.get();
        while !batch.is_done() {
            // One `catch_unwind` covers the whole batch; it is re-entered only after a panic.
            if let Err(payload) = catch(|| self.dispatch(&mut batch)) {
                self.remove_panicked(&mut batch, payload);
            }
        }
        let stale = self.stats.stale.get() - stale;
        self.detect_stale_spin(events.len() as u64, stale);
        self.recycle(events);
    }

    /// Step 6. Runs the work that was ready when this step began, in order. Work that is added
    /// meanwhile is for a later turn (L5).
    #[inline]
    pub(super) fn run_ready(&self, main: &mut dyn FnMut()) {
        if self.ready.end_collecting() {
            self.run_queued(main);
        }
    }

    fn run_queued(&self, main: &mut dyn FnMut()) {
        let mut running = Current::default();
        self.count_calls(self.ready.len());
        // One `catch_unwind` for all of them, as for events.
        while let Err(payload) = catch(|| self.run_rounds(main, &mut running)) {
            self.report_call_panic(&running, payload);
        }
        self.ready.end();
        block_cache::end_turn(); // shrink after a burst (R126)
    }

    fn run_rounds(&self, main: &mut dyn FnMut(), running: &mut Current) {
        loop {
            self.run_batch(main, running);
            let Some(ready) = self.busy().filter(|_| self.is_undisturbed()) else {
                return;
            };
            // The next turn, without its first steps, which would find nothing to do.
            self.times.begin_round();
            self.ready.begin_round();
            self.count_turn();
            self.count_calls(ready);
        }
    }

    /// L9: counts work that runs without a call of the poller.
    #[inline]
    fn count_calls(&self, ready: usize) {
        self.calls_since_poll
            .set(self.calls_since_poll.get() + ready);
    }

    /// Whether the next turn has nothing to do but to run ready work.
    #[inline]
    fn is_undisturbed(&self) -> bool {
        !self.stopping.get()
            && !self.reports.has_panic()
            && !self.is_debug()
            && !self.inbox.forked()
            && self.times.timers.borrow().is_empty()
            && !self.is_notified()
    }

    fn run_batch(&self, main: &mut dyn FnMut(), running: &mut Current) {
        loop {
            // Before the pop: if the clock panicked after it, the popped work would be lost.
            running.begun = self.begin_call();
            let Some(next) = self.ready.pop() else { return };
            match next {
                NEXT_CALL => {
                    let Some(call) = self.ready.pop_next_call() else {
                        continue; // it was cancelled
                    };
                    if self.kernel.is_some() {
                        self.trace_call("call", self.ready.current_call());
                    }
                    let site = call.site;
                    running.site = Some(site);
                    call.run(self);
                    self.check_current(|| Origin::Closure { site });
                    self.end_call(running.begun, || Origin::Closure { site });
                }
                MAIN_TASK => {
                    self.trace_call("main", 0);
                    main();
                    self.check_current(|| self.main_origin());
                    self.end_call(running.begun, || self.main_origin());
                }
                task_id => {
                    let Some(scheduler) = self.scheduler.get() else {
                        continue;
                    };
                    self.trace_call("job", task_id);
                    // Before the run, because the task may be gone after it.
                    let origin = running.begun.map(|_| scheduler.origin(task_id));
                    scheduler.run(self, task_id);
                    self.end_call(running.begun, || origin.unwrap_or(Origin::Other));
                }
            }
        }
    }

    /// Reports a panic of the closure or task that ran in step 6.
    #[cold]
    fn report_call_panic(&self, running: &Current, payload: Payload) {
        let origin = match (self.ready.current(), running.site) {
            (NEXT_CALL, Some(site)) => Origin::Closure { site },
            (MAIN_TASK, _) => self.main_origin(),
            (task_id, _) => {
                let scheduler = self.scheduler.get();
                scheduler.map_or(Origin::Other, |scheduler| scheduler.origin(task_id))
            }
        };
        self.check_current(|| origin.clone());
        self.end_call(running.begun, || origin.clone());
        self.apply_panic_policy(payload, origin);
    }
}

/// The closure or task that runs in step 6, for the code that catches its panic.
#[derive(Default)]
struct Current {
    site: Option<&'static Location<'static>>,
    begun: Option<u64>,
}
