//! Operations that are about descriptors: opening, duplicating, closing.
//!
//! Each is at one of eight places, and is the script's until it is registered; what happens then is in
//! `registrations.rs`.
//!
//! In the notes these are the things that callbacks are about (N7).

use super::actor::Actor;
use super::model::Id;
use super::op::{Op, PLACES, Verb};
use super::scripted::Scripted;
use super::stage::{Flow, Held, Place, Stage};
use crate::sim::Fd;
use readily::event_loop::{Callbacks, Key};
use std::rc::Rc;

impl Stage {
    /// `None` if the operation is none of these, or does not fit.
    pub(super) fn to_descriptors(self: &Rc<Self>, actor: &Actor<'_>, op: &Op) -> Option<()> {
        let (at, to) = (op.at % PLACES, op.to % PLACES);
        match op.verb {
            Verb::Pipe | Verb::Pair | Verb::Tcp | Verb::Datagrams => {
                self.open(actor, op.verb, at, to)
            }
            Verb::Timerfd | Verb::Eventfd | Verb::File | Verb::Unconnected => {
                self.open_one(actor, op, at)
            }
            Verb::Listen => self.listen(actor, at),
            Verb::Register | Verb::Source => self.register(actor, op, at),
            Verb::Serve => self.serve(actor, op, at, to),
            Verb::Ignore => self.ignore(actor, at, op.interest),
            Verb::Modify => self.modify(actor, at, op.interest),
            Verb::Rearm => self.rearm(actor, at, op.interest),
            Verb::Remove => self.remove(actor, at),
            Verb::Stale => self.use_stale_key(actor, at),
            Verb::Late => self.report_late(actor, at),
            Verb::Close => self.close(actor, at),
            Verb::Dup => self.duplicate(actor, at, to),
            Verb::Connect => self.connect(actor, op, at, to),
            Verb::Accept => self.accept(actor, at, to),
            Verb::Admit => self.admit(actor, op, at, to),
            _ => self.to_bytes(actor, op, at),
        }
    }

    pub(super) fn is_free(&self, place: usize) -> bool {
        self.places.borrow()[place].is_none()
    }

    /// The descriptor at a place, if it can be seen from outside.
    pub(super) fn fd(&self, place: usize) -> Option<Rc<Fd>> {
        match &self.places.borrow()[place].as_ref()?.held {
            Held::Ours(fd) => Some(Rc::clone(fd)),
            Held::Lent(fd) => fd.upgrade(),
            Held::Unseen => None,
        }
    }

    pub(super) fn noun(&self, place: usize) -> Option<&'static str> {
        Some(self.places.borrow()[place].as_ref()?.noun)
    }

    pub(super) fn place_name(&self, place: usize) -> Option<String> {
        Some(format!("{}#{place}", self.noun(place)?))
    }

    /// A place as its own callback calls it, or as others do.
    pub(super) fn called(&self, actor: &Actor<'_>, place: usize) -> Option<String> {
        match self.is_own(actor, place) {
            true => Some("itself".to_owned()),
            false => self.place_name(place),
        }
    }

    /// Whether it is the callback of what is registered here that speaks.
    pub(super) fn is_own(&self, actor: &Actor<'_>, place: usize) -> bool {
        let registered = self.registered(place).map(|(id, _)| (place, id));
        registered.is_some() && actor.own == registered
    }

    pub(super) fn registered(&self, place: usize) -> Option<(Id, Key)> {
        self.places.borrow()[place].as_ref()?.registered
    }

    pub(super) fn put(&self, place: usize, noun: &'static str, fd: Fd, flow: Rc<Flow>) {
        let held = Held::Ours(Rc::new(fd));
        self.places.borrow_mut()[place] = Some(Place {
            noun,
            held,
            flow,
            registered: None,
        });
    }

    fn open(&self, actor: &Actor<'_>, verb: Verb, at: usize, to: usize) -> Option<()> {
        if at == to || !self.is_free(at) || !self.is_free(to) {
            return None;
        }
        let (noun, made) = match verb {
            Verb::Pipe => ("pipe", self.kernel.pipe()),
            Verb::Pair => ("pair", self.kernel.pair()),
            Verb::Datagrams => ("datagram", self.kernel.datagrams()),
            _ => ("tcp", self.kernel.tcp()),
        };
        match made {
            Ok((one, two)) => {
                self.put(at, noun, one, Rc::default());
                self.put(to, noun, two, Rc::default());
                actor.says(self, format!("opens {noun}#{at} and {noun}#{to}"));
            }
            Err(error) => actor.says(self, format!("cannot open a {noun}: {error}")),
        }
        Some(())
    }

    pub(super) fn wrapped(&self, scripted: Scripted) -> Box<dyn Callbacks> {
        match &mut *self.wrap.borrow_mut() {
            Some(wrap) => wrap(scripted),
            None => Box::new(scripted),
        }
    }

    pub(super) fn close(&self, actor: &Actor<'_>, at: usize) -> Option<()> {
        let Some((id, _)) = self.registered(at) else {
            actor.says(self, format!("closes {}", self.place_name(at)?));
            let closed = self.places.borrow_mut()[at].take();
            drop(closed);
            return Some(());
        };
        let own = actor.cx.filter(|_| self.is_own(actor, at));
        let Some(cx) = own else {
            return self.remove(actor, at);
        };
        actor.says(self, "closes itself");
        self.unlist(at, id);
        cx.close();
        Some(())
    }

    fn duplicate(&self, actor: &Actor<'_>, at: usize, to: usize) -> Option<()> {
        let (fd, noun) = (self.fd(at)?, self.noun(at)?);
        if !self.is_free(to) {
            return None;
        }
        let flow = Rc::clone(&self.places.borrow()[at].as_ref()?.flow);
        let name = self.called(actor, at)?;
        match fd.try_clone() {
            Ok(fd) => {
                self.put(to, noun, fd, flow);
                actor.says(self, format!("duplicates {name} as {noun}#{to}"));
            }
            Err(error) => actor.says(self, format!("cannot duplicate {name}: {error}")),
        }
        Some(())
    }
}
