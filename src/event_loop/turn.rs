//! The steps of a turn, which [`EventLoop::turn`](super::EventLoop::turn) puts in order.
//!
//! Each step takes what it works on out of its cell before it calls anybody (L8), and works on
//! what was there when it began (L5), so a turn ends however busy its callbacks are.
//!
//! In the notes: wait for events with a timeout, and for each of them, … (N7).

use super::dispatch::Batch;
use super::error::Error;
use super::local::LoopHandle;
use super::origin::Origin;
use super::panics::{Payload, catch};
use super::ready::{MAIN_TASK, NEXT_CALL};
use crate::poll::Event;
use readily_sys::block_cache;
use std::panic::Location;
use std::time::Duration;

/// L9: so many closures and polls may run between two looks at the kernel, or one turn's if those
/// are more. A look costs as much as several of them.
const EVENT_INTERVAL: usize = 61;

impl LoopHandle {
    /// Step 2. Sleeps until something can be done.
    #[inline]
    pub(super) fn wait(&self, limit: Option<Duration>) -> Result<Vec<Event>, Error> {
        let mut timeout = self.timeout(limit);
        // W1: who comes from here on rings; who came before keeps us from sleeping.
        if timeout != Some(Duration::ZERO) && !self.inbox.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        let mut events = self.events.take();
        let waited = self.poller.borrow_mut().wait(&mut events, timeout);
        // Before the error gets out: the ring has been heard, and will not be repeated.
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

    /// Keeps a buffer for the next turn.
    #[inline]
    fn recycle(&self, mut events: Vec<Event>) {
        events.clear();
        self.events.set(events);
    }

    /// Whether the next turn may do without a look at the kernel: something is ready, and will have
    /// been run before [`EVENT_INTERVAL`] are through without one (L9).
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.busy().is_some()
    }

    /// With how many that are ready.
    #[inline]
    fn busy(&self) -> Option<usize> {
        let ready = self.ready.len();
        let busy = self.in_run.get()
            && ready != 0
            && self.calls_since_poll.get() + ready <= EVENT_INTERVAL;
        busy.then_some(ready)
    }

    /// The next turn looks at the kernel, and whoever turns us is asked before it, however busy.
    pub(crate) fn poll_next(&self) {
        self.calls_since_poll.set(EVENT_INTERVAL);
    }

    /// In the place of step 2, in a turn that neither waits nor looks at the kernel. Timers are due
    /// in it as in any other.
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

    /// C5: zero if something is ready, else until the next timer, else for ever.
    #[inline]
    pub(super) fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() || self.is_pressed() {
            return Some(Duration::ZERO);
        }
        self.until_timer(limit)
    }

    /// Whether the next turn must not sleep, though no closure and no job is ready.
    #[inline]
    fn is_pressed(&self) -> bool {
        self.notified.get() || self.reports.has_panic()
    }

    /// How long the loop has nothing to do, unless an event or another thread comes; `None` for ever.
    /// What was cancelled is nothing to do, though the next turn will find it in the queue.
    pub(super) fn until_work(&self) -> Option<Duration> {
        match self.is_pressed() || self.inbox.has_messages() || self.has_ready_work() {
            true => Some(Duration::ZERO),
            false => self.until_timer(None),
        }
    }

    /// Whether a closure or a job is ready that has neither been cancelled nor ended.
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

    /// By itself: without timers nothing of it is looked at.
    #[inline(never)]
    fn until_next_timer(&self, limit: Option<Duration>) -> Option<Duration> {
        match (limit, self.times.until_next()) {
            (Some(limit), Some(next)) => Some(limit.min(next)),
            (limit, next) => limit.or(next),
        }
    }

    /// Step 4. For each `(fd, event)`. The batch is in no cell meanwhile (L8).
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
            // One net for all of them: it is spread again only when somebody has fallen.
            if let Err(payload) = catch(|| self.dispatch(&mut batch)) {
                self.remove_panicked(&mut batch, payload);
            }
        }
        let stale = self.stats.stale.get() - stale;
        self.detect_stale_spin(events.len() as u64, stale);
        self.recycle(events);
    }

    /// Step 6. What was ready when this step began, in order; what it adds is for a later
    /// turn (L5).
    #[inline]
    pub(super) fn run_ready(&self, main: &mut dyn FnMut()) {
        if self.ready.end_collecting() {
            self.run_queued(main);
        }
    }

    fn run_queued(&self, main: &mut dyn FnMut()) {
        let mut running = Current::default();
        self.count_calls(self.ready.len());
        // One net for all of them, as for events.
        while let Err(payload) = catch(|| self.run_rounds(main, &mut running)) {
            self.report_call_panic(&running, payload);
        }
        self.ready.end();
        block_cache::end_turn(); // R126
    }

    fn run_rounds(&self, main: &mut dyn FnMut(), running: &mut Current) {
        loop {
            self.run_batch(main, running);
            let Some(ready) = self.busy().filter(|_| self.is_undisturbed()) else {
                return;
            };
            // The next turn, from where this one stands: nothing could happen in its first steps. The
            // long way round takes 230 instructions, as much as two tasks that hand over.
            self.times.begin_round();
            self.ready.begin_round();
            self.count_turn();
            self.count_calls(ready);
        }
    }

    /// L9: what is ready is run without a look at the kernel.
    #[inline]
    fn count_calls(&self, ready: usize) {
        self.calls_since_poll
            .set(self.calls_since_poll.get() + ready);
    }

    /// Whether all that the next turn has to do is to run what is ready.
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
            // Before the next one is taken out, or a clock that panics would lose it.
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
                    // Afterwards it may be gone.
                    let origin = running.begun.map(|_| scheduler.origin(task_id));
                    scheduler.run(self, task_id);
                    self.end_call(running.begun, || origin.unwrap_or(Origin::Other));
                }
            }
        }
    }

    /// Somebody has panicked.
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
        self.note_panic(payload, origin);
    }
}

/// The closure or task that runs in step 6, for the code that catches its panic.
#[derive(Default)]
struct Current {
    site: Option<&'static Location<'static>>,
    begun: Option<u64>,
}
