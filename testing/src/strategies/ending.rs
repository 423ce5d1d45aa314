//! The end of a play: what was held up must come, and nothing may be left.
//!
//! All is taken back, or the loop is closed with it. A loop that is gone may be woken and written
//! to from any thread, by those who do not know.
//!
//! Rules: L8, W3, T3, T4, S4; in the notes, "reclaim its resources" (N7).

use super::actor::Actor;
use super::model::Id;
use super::op::{NAMES, PLACES};
use super::play::Before;
use super::scripted::end_of;
use super::stage::Stage;
use super::work::elsewhere;
use crate::SimLoop;
use crate::sim::Faults;
use readily::event_loop::LoopHandle;
use std::time::Duration;

impl Stage {
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
        let actor = Actor::test(handle);
        let spawned: Vec<Id> = self.spawned.borrow().iter().map(|(id, _)| *id).collect();
        for id in spawned {
            self.end_task(id);
        }
        self.check_results();
        for name in 0..NAMES {
            let _armed = self.disarm(&actor, name);
            let _queued = self.take_back(&actor, name);
        }
        for place in 0..PLACES {
            let _open = self.close(&actor, place);
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
        self.overheard.listen(None);
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
