//! How tasks go on and end, held against the model.
//!
//! A task says by itself that it was polled, that its nap is over, that it was given the result of
//! another one; each must be so in the model too. Who awaits a task holds its handle, as a user's
//! code would, and takes it along if it is aborted.
//!
//! Rules: T3, T4; in the notes, Task (N15, N16).

use super::model::{End, Id};
use super::op::NAMES;
use super::stage::Stage;
use readily::task::Task;

impl Stage {
    /// A task was polled.
    pub(super) fn polled(&self, id: Id, ends: bool, panics: bool) {
        let mut model = self.model.borrow_mut();
        let cancelled = model.tasks.get(&id).is_some_and(|task| task.cancelled);
        let end = match (panics, cancelled, ends) {
            (true, _, _) => End::Panicked,
            (false, true, _) => End::Cancelled,
            (false, false, true) => End::Done,
            _ => return,
        };
        model.end(id, end);
    }

    pub(super) fn check_nap(&self, id: Id, rested: bool) {
        let model = self.model.borrow();
        match (rested, model.is_rested(id)) {
            (true, false) => self.breaks("C1", format!("{} wakes too early", model.names[id])),
            (false, true) => self.breaks("C2", format!("{} goes on napping", model.names[id])),
            _ => {}
        }
    }

    /// Takes the handle of a task, for another task to await it.
    pub(super) fn take_task(&self, name: usize, by: Id) -> Option<(Task<Id>, Id)> {
        let mut tasks = self.tasks.borrow_mut();
        let place = &mut tasks[name % NAMES];
        if place.as_ref()?.0 == by {
            return None;
        }
        let (id, task) = place.take()?;
        let mut model = self.model.borrow_mut();
        model.tasks.entry(id).or_default().joiner = Some(by);
        Some((task, id))
    }

    /// Whether who awaits `other` goes on: its result is `end`, or is not there yet.
    pub(super) fn check_join(&self, other: Id, end: Option<Option<End>>) -> bool {
        let name = self.name_of(other);
        let mut model = self.model.borrow_mut();
        let task = model.tasks.entry(other).or_default();
        let goes_on = end.is_some();
        match (task.ended, end.flatten()) {
            (None, None) if !goes_on => return false,
            (Some(ended), Some(end)) if ended == end => {}
            (ended, given) => {
                let what = format!("{name} ended as {ended:?}, and {given:?} is given for it");
                self.breaks("T3", what);
            }
        }
        if std::mem::replace(&mut task.taken, true) {
            self.breaks("T4", format!("the result of {name} is delivered twice"));
        }
        (task.joiner, task.held) = (None, false);
        goes_on
    }

    /// An end in words.
    pub(super) fn ended(&self, id: Id, end: Option<End>) -> String {
        let name = self.name_of(id);
        match end {
            Some(End::Done) => format!("the result of {name}"),
            Some(End::Cancelled) => format!("the end of {name}, which was aborted"),
            Some(End::Panicked) => format!("the panic of {name}"),
            None => format!("something that is not the result of {name}"),
        }
    }
}
