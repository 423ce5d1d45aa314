//! Running a program: its operations one by one, a check of everything after each turn, the end.
//!
//! Counts are checked from outside, where nothing runs: descriptors, registrations, what exists
//! of all that was handed in. At the end what was held up must come, and nothing may be left: all is taken
//! back, or the loop is closed with it. A loop that is gone may still be woken and written to from any thread.
//!
//! Rules: L6, L8, S4, W3, T3, T4; in the notes, the loop of N7 as its host sees it, and "reclaim its
//! resources".

use super::checker::{RuleViolation, violation};
use super::harness::{Harness, Wrap};
use super::interpreter::{Caller, elsewhere};
use super::model::{Due, Id};
use super::op::{NAMES, Op, OpKind, PLACES};
use super::program::{Program, Report, Violation};
use super::scripted::end_of;
use crate::SimLoop;
use crate::sim::Faults;
use readily::spi;
use readily::{Error, LoopHandle, PanicPolicy, yield_now};
use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::rc::Rc;
use std::time::Duration;

/// What there was before.
pub(super) struct Before {
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
    let before = Before::of(sim);
    let harness = Harness::set(sim, wrap);
    harness.acts(program.ops(), sim, &before);
    harness.settles(sim, &before);
    harness.whole(|| harness.clears(sim));
    for _ in 0..2 {
        harness.turns(sim, &before, Some(Duration::ZERO));
    }
    sim.kernel().set_faults(before.faults.clone());
    harness.poller_trace.listen(None);
    sim.set_panic_policy(PanicPolicy::Propagate);
    sim.on_unhandled(|unhandled| {
        let line = format!("readily: {unhandled}\n");
        let _ = stderr().write_all(line.as_bytes());
    });
    harness.report(sim.stats().turns - before.turns)
}

pub(super) fn run_to_close(program: &Program, mut sim: SimLoop) -> Result<Report, Violation> {
    let before = Before::of(&sim);
    let harness = Harness::set(&mut sim, None);
    harness.acts(program.ops(), &mut sim, &before);
    harness.settles(&mut sim, &before);
    let turns = sim.stats().turns - before.turns;
    harness.closes(sim, &before);
    harness.report(turns)
}

impl Before {
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

    fn acts(self: &Rc<Self>, ops: &[Op], sim: &mut SimLoop, before: &Before) {
        for op in ops {
            match op.kind {
                _ if self.is_over() => return,
                OpKind::Turn => self.turns(sim, before, ms(0)),
                OpKind::Wait => self.turns(sim, before, ms(op.number)),
                OpKind::Sleep => self.turns(sim, before, None),
                OpKind::Run => self.runs(sim, before, op.number),
                _ => {
                    self.whole(|| self.perform(&Caller::test(sim), op));
                }
            }
        }
    }

    pub(super) fn turns(&self, sim: &mut SimLoop, before: &Before, limit: Option<Duration>) {
        self.model.borrow_mut().limit = limit;
        if let Some(Err(error)) = self.whole(|| sim.event_loop().turn(limit)) {
            self.breaks("R044", format!("a turn fails: {error}"));
        }
        self.looks(sim, before);
    }

    /// Runs a future of the test's, which gives way so many times, until that or a stop ends it.
    fn runs(&self, sim: &mut SimLoop, before: &Before, times: usize) {
        let begun = sim.stats().turns;
        self.transcript.tell_between(format!(
            "the test runs a future that gives way {times} times"
        ));
        let most = times as u64 + 1;
        self.model.borrow_mut().begins_run(most);
        let ran = self.whole(|| {
            sim.run(async {
                for _ in 0..times {
                    yield_now().await;
                }
            })
        });
        self.catches_up();
        self.looks(sim, before);
        let took = sim.stats().turns - begun;
        let stop = self.model.borrow_mut().ends_run();
        let stops = stop.is_some_and(|stop| stop < most);
        let should = stop.map_or(most, |stop| stop.min(most));
        match ran {
            None => {} // it has panicked
            Some(Ok(())) if !stops && took == should => {}
            Some(Err(Error::Stopped)) if stops && took == should => {}
            Some(ran) => {
                let what = format!("a run takes {took} turns, not {should}, and gives {ran:?}");
                self.breaks("R046", what);
            }
        }
    }

    /// A turn between ready tasks asks no poller (L9), so there is nobody to tell of it but the
    /// loop's own count.
    pub(super) fn catches_up(&self) {
        let turns = self
            .handle
            .with(|handle| handle.stats().turns - self.before);
        let mut model = self.model.borrow_mut();
        while model.turns < turns.unwrap_or(0) {
            self.check(model.ends(&|number| self.poller_trace.refused(number)));
            self.check(model.goes_on());
            self.transcript.line("the poller", "is not asked");
            model.begins(&[]);
        }
    }

    /// After each turn.
    fn looks(&self, sim: &SimLoop, before: &Before) {
        if self.is_over() {
            return;
        }
        let mut model = self.model.borrow_mut();
        self.check(model.ends(&|number| self.poller_trace.refused(number)));
        drop(model);
        self.check(self.counts(sim, before));
        self.check(self.agrees());
        self.whole(|| spi::check_invariants(sim));
    }

    fn counts(&self, sim: &SimLoop, before: &Before) -> Result<(), RuleViolation> {
        let model = self.model.borrow();
        if self.panics() != model.panics {
            let what = format!("{} panics are told, of {}", self.panics(), model.panics);
            return Err(violation("R044", what));
        }
        if !model.alone {
            return Ok(());
        }
        let stale = sim.stats().stale - before.stale;
        if stale != model.stale {
            let what = format!("{stale} events count as stale, and {} were", model.stale);
            return Err(violation("L6", what));
        }
        let places = self.places.borrow();
        let (open, here) = (sim.kernel().open(), places.iter().flatten().count());
        if open != before.open + here {
            let what = format!("{open} descriptors are open, where {here} should be");
            return Err(violation("S4", what));
        }
        let live = model.registered.len();
        if sim.registered() != before.registered + live {
            let what = format!("{} are registered, not {live}", sim.registered());
            return Err(violation("S4", what));
        }
        Ok(())
    }

    /// Whether the poller has what the loop has, and the loop has what it was given.
    fn agrees(&self) -> Result<(), RuleViolation> {
        let model = self.model.borrow();
        let known = self.poller_trace.known();
        for (id, registered) in &model.registered {
            let asked = known
                .get(&registered.number)
                .filter(|asked| asked.token == registered.token);
            let asked = asked.map(|asked| asked.interest);
            let wants = registered.effective();
            if asked != wants && !registered.shaky {
                let what = format!(
                    "{} wants {wants:?}, the poller has {asked:?}",
                    model.names[*id]
                );
                return Err(violation("R024", what));
            }
        }
        let alive = self.alive.borrow();
        let should = self.should_live();
        if let Some(id) = should.difference(&alive).next() {
            let what = format!("{} has gone, and nobody let it go", model.names[*id]);
            return Err(violation("L8", what));
        }
        if let Some(id) = alive.difference(&should).next() {
            let what = format!("{} is kept, and nobody needs it", model.names[*id]);
            return Err(violation("L8", what));
        }
        Ok(())
    }

    /// All that the loop was given and has to keep.
    fn should_live(&self) -> BTreeSet<Id> {
        let model = self.model.borrow();
        let mut should: BTreeSet<Id> = model.registered.keys().copied().collect();
        should.extend(model.closures.difference(&model.sent));
        let tasks = model.tasks.iter().filter(|(_, task)| task.ended.is_none());
        should.extend(tasks.map(|(id, _)| *id));
        should.extend(model.timers.values().filter_map(|due| match due {
            Due::Call(id) => Some(*id),
            Due::Wake(_) => None,
        }));
        should
    }
}

impl Harness {
    /// The faults are over, and scripts do nothing any more: what was held up must come.
    pub(super) fn settles(&self, sim: &mut SimLoop, before: &Before) {
        if !self.is_over() {
            sim.kernel().set_faults(Faults::none());
            self.quiet.set(true);
            for _ in 0..2 {
                self.turns(sim, before, Some(Duration::ZERO));
            }
        }
    }

    /// Takes everything back.
    pub(super) fn clears(&self, handle: &LoopHandle) {
        let caller = Caller::test(handle);
        let spawned: Vec<Id> = self.spawned.borrow().iter().map(|(id, _)| *id).collect();
        for id in spawned {
            self.end_task(id);
        }
        self.check_results();
        for name in 0..NAMES {
            let _armed = self.disarm(&caller, name);
            let _queued = self.take_back(&caller, name);
        }
        for place in 0..PLACES {
            let _open = self.close(&caller, place);
        }
    }

    /// T3, T4: each task that is still held gives its result, and gives it once.
    fn check_results(&self) {
        for held in self.tasks.take() {
            let Some((id, mut task)) = held else { continue };
            let mut model = self.model.borrow_mut();
            let known = model.tasks.entry(id).or_default();
            known.taken = true;
            let ended = known.ended;
            let first = task.result().map(|result| end_of(&result, id));
            if first.flatten() != ended || task.result().is_some() {
                let what = format!(
                    "{} ended as {ended:?}, and gives another result",
                    model.names[id]
                );
                self.breaks("T4", what);
            }
        }
    }

    pub(super) fn closes(&self, sim: SimLoop, before: &Before) {
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
        let Some(had) = self.whole(|| sim.close()) else {
            return;
        };
        let had = (had.tasks.len(), had.registrations, had.timers, had.closures);
        if self.model.borrow().alone && had != should {
            let what = format!(
                "tasks, registrations, timers, closures: {had:?} were left, not {should:?}"
            );
            self.breaks("S4", what);
        }
        if let Some(id) = self.alive.borrow().first() {
            self.breaks("L8", format!("{} outlives its loop", self.name_of(*id)));
        }
        self.places.take();
        if self.model.borrow().alone && kernel.open() != before.open {
            self.breaks(
                "S4",
                format!("{} descriptors outlive the loop", kernel.open()),
            );
        }
        let wakers = self.wakers.take();
        let remote = &self.remote;
        elsewhere(|| {
            wakers
                .into_iter()
                .flatten()
                .for_each(|(_, waker)| waker.wake())
        });
        if remote.call_soon(|_| ()).is_ok() || remote.stop().is_ok() {
            self.breaks("W3", "a loop that is gone takes work");
        }
    }
}
