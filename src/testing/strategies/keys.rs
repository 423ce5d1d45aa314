//! Operations that are about a registration which is there already, or has gone: its key, its events.
//!
//! Of each place the key of the last registration is kept. What another registration does under the
//! same slot, or the same number, must be out of its reach.
//!
//! Rules: L1, L6; in the notes, the map of callbacks (N7).

use super::actor::Actor;
use super::model::Id;
use super::stage::Stage;
use crate::event_loop::{Closures, Error, Key};
use crate::poll::sim::Fd;
use crate::poll::{Event, Interest, Readiness};
use std::rc::Rc;

impl Stage {
    /// The registration at `place` has gone, or is about to.
    pub(super) fn vacate(&self, place: usize, id: Id) {
        let mut places = self.places.borrow_mut();
        let registered = places[place].as_ref().and_then(|place| place.registered);
        if let Some((other, key)) = registered.filter(|(other, _)| *other == id) {
            places[place] = None;
            self.gone.borrow_mut()[place] = Some((other, key));
        }
    }

    /// R007: a second registration of a descriptor is refused, and names the first.
    pub(super) fn register_again(
        &self,
        actor: &Actor<'_>,
        name: &str,
        fd: Rc<Fd>,
        key: Key,
    ) -> Option<()> {
        actor.says(self, format!("registers {name} once more"));
        let again = actor.local.register(fd, Interest::BOTH, Closures::new());
        match again.map_err(|refused| refused.error) {
            Err(Error::AlreadyRegistered { key: first, .. }) if first == key => {}
            other => self.breaks("R007", format!("to register {name} twice gives {other:?}")),
        }
        Some(())
    }

    /// L1: the key of a registration that has gone finds nothing, whatever has its slot now.
    pub(super) fn use_stale_key(&self, actor: &Actor<'_>, at: usize) -> Option<()> {
        let (id, key) = self.gone.borrow()[at]?;
        let name = self.name_of(id);
        actor.says(self, format!("uses the key that {name} had"));
        let calls = [
            actor.local.modify(key, Interest::BOTH),
            actor.local.rearm(key, Interest::BOTH),
            actor.local.interest(key).map(drop),
            actor.local.remove(key),
        ];
        if !calls
            .iter()
            .all(|call| matches!(call, Err(Error::UnknownKey(_))))
        {
            self.breaks("L1", format!("the key that {name} had gives {calls:?}"));
        }
        Some(())
    }

    /// L6: the next wait reports an event for a registration that has gone.
    pub(super) fn report_late(&self, actor: &Actor<'_>, at: usize) -> Option<()> {
        let (id, _) = self.gone.borrow()[at]?;
        let mut model = self.model.borrow_mut();
        let token = model.tokens.iter().find(|(_, other)| **other == id);
        let token = *token?.0;
        model.late.insert(token);
        drop(model);
        actor.says(
            self,
            format!("lets an event of {} come late", self.name_of(id)),
        );
        let ready = Readiness::READ | Readiness::WRITE;
        self.overheard.report_late(Event { token, ready });
        Some(())
    }
}
