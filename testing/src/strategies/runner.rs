//! Runs a program: its operations one by one, a check after each turn, and the end.
//!
//! The checks run between two turns, when no callback runs: they compare the numbers of descriptors
//! and registrations, and the live callbacks, closures and futures, with the model. At the end two
//! turns without faults must deliver everything that faults had delayed. Then the program removes all
//! it created, or the loop is closed with it; nothing may be left. A closed loop may still be woken,
//! and sent closures, from any thread.
//!
//! Rules: L6, L8, S4, W3, T3, T4; the loop of N7 as its host sees it, and "reclaim its resources".

use super::checker::{RuleViolation, violation};
use super::harness::{Harness, Wrap};
use super::interpreter::{Caller, on_other_thread};
use super::model::{Id, TimerAction};
use super::op::{NAMES, Op, OpKind, SLOTS};
use super::program::{Program, Report, Violation};
use super::scripted::task_end;
use crate::SimLoop;
use crate::sim::Faults;
use readily::spi;
use readily::{Error, LoopHandle, PanicPolicy, yield_now};
use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::rc::Rc;
use std::time::Duration;

/// The counts of the loop and its kernel before the program.
pub(super) struct Baseline {
    pub(super) open: usize,
    registered: usize,
    stale: u64,
    turns: u64,
    faults: Faults,
}

pub(super) fn run(
    program: &Program,
    sim: &mut SimLoop,
    wrap: Option<Wrap>,
) -> Result<Report, Violation> {
    let baseline = Baseline::of(sim);
    let harness = Harness::install(sim, wrap);
    harness.execute_program(program.ops(), sim, &baseline);
    harness.drain(sim, &baseline);
    harness.expect_no_panic(|| harness.tear_down(sim));
    for _ in 0..2 {
        harness.turn(sim, &baseline, Some(Duration::ZERO));
    }
    sim.kernel().set_faults(baseline.faults.clone());
    harness.poller_trace.listen(None);
    sim.set_panic_policy(PanicPolicy::Propagate);
    sim.on_unhandled(|unhandled| {
        let line = format!("readily: {unhandled}\n");
        let _ = stderr().write_all(line.as_bytes());
    });
    harness.report(sim.stats().turns - baseline.turns)
}

pub(super) fn run_to_close(program: &Program, mut sim: SimLoop) -> Result<Report, Violation> {
    let baseline = Baseline::of(&sim);
    let harness = Harness::install(&mut sim, None);
    harness.execute_program(program.ops(), &mut sim, &baseline);
    harness.drain(&mut sim, &baseline);
    let turns = sim.stats().turns - baseline.turns;
    harness.close_loop(sim, &baseline);
    harness.report(turns)
}

impl Baseline {
    fn of(sim: &SimLoop) -> Self {
        Self {
            open: sim.kernel().open(),
            registered: sim.registered(),
            stale: sim.stats().stale,
            turns: sim.stats().turns,
            faults: sim.kernel().faults(),
        }
    }
}

fn ms(number: usize) -> Option<Duration> {
    Some(Duration::from_millis(number as u64))
}

impl Harness {
    fn report(&self, turns: u64) -> Result<Report, Violation> {
        match self.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(Report {
                turns,
                calls: self.calls.get(),
                transcript: self.transcript.clone(),
            }),
        }
    }

    fn execute_program(self: &Rc<Self>, ops: &[Op], sim: &mut SimLoop, baseline: &Baseline) {
        for op in ops {
            match op.kind {
                _ if self.has_failed() => return,
                OpKind::Turn => self.turn(sim, baseline, ms(0)),
                OpKind::Wait => self.turn(sim, baseline, ms(op.number)),
                OpKind::Sleep => self.turn(sim, baseline, None),
                OpKind::Run => self.run_future(sim, baseline, op.number),
                _ => {
                    self.expect_no_panic(|| self.execute(&Caller::test(sim), op));
                }
            }
        }
    }

    pub(super) fn turn(&self, sim: &mut SimLoop, baseline: &Baseline, limit: Option<Duration>) {
        self.model.borrow_mut().limit = limit;
        if let Some(Err(error)) = self.expect_no_panic(|| sim.event_loop().turn(limit)) {
            self.fail("R044", format!("a turn fails: {error}"));
        }
        self.check_after_turn(sim, baseline);
    }

    /// Runs a future that yields so many times, until it is done or the loop is stopped.
    fn run_future(&self, sim: &mut SimLoop, baseline: &Baseline, times: usize) {
        let begun = sim.stats().turns;
        self.transcript
            .line_between_turns(format!("the test runs a future that yields {times} times"));
        let most = times as u64 + 1;
        self.model.borrow_mut().begin_run(most);
        let ran = self.expect_no_panic(|| {
            sim.run(async {
                for _ in 0..times {
                    yield_now().await;
                }
            })
        });
        self.sync_turns();
        self.check_after_turn(sim, baseline);
        let took = sim.stats().turns - begun;
        let stop = self.model.borrow_mut().end_run();
        let is_stopped = stop.is_some_and(|stop| stop < most);
        let should = stop.map_or(most, |stop| stop.min(most));
        match ran {
            None => {} // a panic, which has been recorded
            Some(Ok(())) if !is_stopped && took == should => {}
            Some(Err(Error::Stopped)) if is_stopped && took == should => {}
            Some(ran) => {
                let what = format!("a run takes {took} turns, not {should}, and gives {ran:?}");
                self.fail("R046", what);
            }
        }
    }

    /// Begins the turns that the loop has counted and its poller has not seen: between ready tasks a
    /// turn does not ask the poller (L9).
    pub(super) fn sync_turns(&self) {
        let turns = self
            .handle
            .with(|handle| handle.stats().turns - self.turns_before);
        let mut model = self.model.borrow_mut();
        while model.turns < turns.unwrap_or(0) {
            self.check(model.end_turn(&|raw_fd| self.poller_trace.refused(raw_fd)));
            self.check(model.check_skipped_poll());
            self.transcript.line("the poller", "is not asked");
            model.begin_turn(&[]);
        }
    }

    /// The checks after a turn.
    fn check_after_turn(&self, sim: &SimLoop, baseline: &Baseline) {
        if self.has_failed() {
            return;
        }
        let mut model = self.model.borrow_mut();
        self.check(model.end_turn(&|raw_fd| self.poller_trace.refused(raw_fd)));
        drop(model);
        self.check(self.check_counts(sim, baseline));
        self.check(self.check_agreement());
        self.expect_no_panic(|| spi::check_invariants(sim));
    }

    fn check_counts(&self, sim: &SimLoop, baseline: &Baseline) -> Result<(), RuleViolation> {
        let model = self.model.borrow();
        if self.panics() != model.panics {
            let what = format!("{} panics are reported, of {}", self.panics(), model.panics);
            return Err(violation("R044", what));
        }
        if !model.is_exclusive {
            return Ok(());
        }
        let stale = sim.stats().stale - baseline.stale;
        if stale != model.stale {
            let what = format!(
                "{stale} events are counted as stale, and {} were",
                model.stale
            );
            return Err(violation("L6", what));
        }
        let slots = self.slots.borrow();
        let (open, here) = (sim.kernel().open(), slots.iter().flatten().count());
        if open != baseline.open + here {
            let what = format!("{open} descriptors are open, where {here} should be");
            return Err(violation("S4", what));
        }
        let live = model.registered.len();
        if sim.registered() != baseline.registered + live {
            let what = format!("{} are registered, not {live}", sim.registered());
            return Err(violation("S4", what));
        }
        Ok(())
    }

    /// Whether the poller has the interests of the loop's registrations, and whether the loop still
    /// has the callbacks, closures and futures that it needs, and no others.
    fn check_agreement(&self) -> Result<(), RuleViolation> {
        let model = self.model.borrow();
        let known = self.poller_trace.registered();
        for (id, registered) in &model.registered {
            let asked = known
                .get(&registered.raw_fd)
                .filter(|asked| asked.token == registered.token);
            let asked = asked.map(|asked| asked.interest);
            let wants = registered.effective();
            if asked != wants && !registered.is_uncertain {
                let what = format!(
                    "{} has interest {wants:?}, the poller has {asked:?}",
                    model.names[*id]
                );
                return Err(violation("R024", what));
            }
        }
        let alive = self.alive.borrow();
        let should = self.expected_alive();
        if let Some(id) = should.difference(&alive).next() {
            let what = format!("{} was dropped too early", model.names[*id]);
            return Err(violation("L8", what));
        }
        if let Some(id) = alive.difference(&should).next() {
            let what = format!("{} should have been dropped", model.names[*id]);
            return Err(violation("L8", what));
        }
        Ok(())
    }

    /// The callbacks, closures and futures that the loop must not have dropped.
    fn expected_alive(&self) -> BTreeSet<Id> {
        let model = self.model.borrow();
        let mut should: BTreeSet<Id> = model.registered.keys().copied().collect();
        should.extend(model.closures.difference(&model.sent));
        let tasks = model.tasks.iter().filter(|(_, task)| task.ended.is_none());
        should.extend(tasks.map(|(id, _)| *id));
        should.extend(model.timers.values().filter_map(|due| match due {
            TimerAction::Call(id) => Some(*id),
            TimerAction::Wake(_) => None,
        }));
        should
    }
}

impl Harness {
    /// Ends the faults and the scripts: two turns must deliver what faults had delayed.
    pub(super) fn drain(&self, sim: &mut SimLoop, baseline: &Baseline) {
        if !self.has_failed() {
            sim.kernel().set_faults(Faults::none());
            self.scripts_stopped.set(true);
            for _ in 0..2 {
                self.turn(sim, baseline, Some(Duration::ZERO));
            }
        }
    }

    /// Cancels, closes and removes everything that the program created.
    pub(super) fn tear_down(&self, handle: &LoopHandle) {
        let caller = Caller::test(handle);
        let spawned: Vec<Id> = self.spawned.borrow().iter().map(|(id, _)| *id).collect();
        for id in spawned {
            self.abort_task(id);
        }
        self.check_results();
        for name in 0..NAMES {
            let _armed = self.disarm(&caller, name);
            let _queued = self.take_back(&caller, name);
        }
        for slot in 0..SLOTS {
            let _open = self.close(&caller, slot);
        }
    }

    /// T3, T4: each task whose handle is left has its result, once.
    fn check_results(&self) {
        for held in self.tasks.take() {
            let Some((id, mut task)) = held else { continue };
            let mut model = self.model.borrow_mut();
            let known = model.tasks.entry(id).or_default();
            known.taken = true;
            let ended = known.ended;
            let first = task.result().map(|result| task_end(&result, id));
            if first.flatten() != ended || task.result().is_some() {
                let what = format!(
                    "{} ended as {ended:?}, and gives another result",
                    model.names[id]
                );
                self.fail("T4", what);
            }
        }
    }

    pub(super) fn close_loop(&self, sim: SimLoop, baseline: &Baseline) {
        self.poller_trace.listen(None);
        let kernel = sim.kernel().clone();
        let should = {
            let model = self.model.borrow();
            let tasks = model.tasks.values().filter(|task| task.ended.is_none());
            (
                tasks.count(),
                model.registered.len(),
                model.timers.len(),
                model.closures.len(),
            )
        };
        let Some(had) = self.expect_no_panic(|| sim.close()) else {
            return;
        };
        let had = (had.tasks.len(), had.registrations, had.timers, had.closures);
        if self.model.borrow().is_exclusive && had != should {
            let what = format!(
                "tasks, registrations, timers, closures: {had:?} were left, not {should:?}"
            );
            self.fail("S4", what);
        }
        if let Some(id) = self.alive.borrow().first() {
            self.fail("L8", format!("{} outlives its loop", self.name_of(*id)));
        }
        self.slots.take();
        if self.model.borrow().is_exclusive && kernel.open() != baseline.open {
            self.fail(
                "S4",
                format!("{} descriptors outlive the loop", kernel.open()),
            );
        }
        let wakers = self.wakers.take();
        let remote = &self.remote;
        on_other_thread(|| {
            wakers
                .into_iter()
                .flatten()
                .for_each(|(_, waker)| waker.wake())
        });
        if remote.call_soon(|_| ()).is_ok() || remote.stop().is_ok() {
            self.fail("W3", "a closed loop accepts closures");
        }
    }
}
