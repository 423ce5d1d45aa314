//! Operations on descriptors and their registrations: opened, duplicated, registered, changed, removed,
//! closed, and what is left of a registration.
//!
//! Each is at one of eight places, and is the script's until it is registered. A registration owns its
//! descriptor. So a script lends it what it registers, and keeps only a weak reference: otherwise a descriptor
//! that the loop fails to close would go unseen. Of each place the key of the last registration is kept,
//! which must find nothing any more.
//!
//! Rules: L1, L2, L6, R007; in the notes, the map of callbacks, and how one gets into it and out again (N7).

use super::harness::{Flow, Harness, Held, Place};
use super::interpreter::Caller;
use super::model::{Id, Model, Registered};
use super::op::{self, Op, OpKind, PLACES};
use super::scripted::Scripted;
use crate::sim::Fd;
use readily::event_loop::Role;
use readily::poll::Event;
use readily::spi;
use readily::{Callbacks, Closures, Error, Interest, Key, Readiness, Trigger};
use std::rc::Rc;

impl Harness {
    /// `None` if the operation is none of these, or does not fit.
    pub(super) fn to_descriptors(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> Option<()> {
        let (at, to) = (op.at % PLACES, op.to % PLACES);
        match op.kind {
            OpKind::Pipe | OpKind::Pair | OpKind::Tcp | OpKind::Datagrams => {
                self.open(caller, op.kind, at, to)
            }
            OpKind::Timerfd | OpKind::Eventfd | OpKind::File | OpKind::Unconnected => {
                self.open_one(caller, op, at)
            }
            OpKind::Listen => self.listen(caller, at),
            OpKind::Register | OpKind::Source => self.register(caller, op, at),
            OpKind::Serve => self.serve(caller, op, at, to),
            OpKind::Ignore => self.ignore(caller, at, op.interest),
            OpKind::Modify => self.modify(caller, at, op.interest),
            OpKind::Rearm => self.rearm(caller, at, op.interest),
            OpKind::Remove => self.remove(caller, at),
            OpKind::Stale => self.use_stale_key(caller, at),
            OpKind::Late => self.report_late(caller, at),
            OpKind::Close => self.close(caller, at),
            OpKind::Dup => self.duplicate(caller, at, to),
            OpKind::Connect => self.connect(caller, op, at, to),
            OpKind::Accept => self.accept(caller, at, to),
            OpKind::Admit => self.admit(caller, op, at, to),
            _ => self.to_bytes(caller, op, at),
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
    pub(super) fn called(&self, caller: &Caller<'_>, place: usize) -> Option<String> {
        match self.is_own(caller, place) {
            true => Some("itself".to_owned()),
            false => self.place_name(place),
        }
    }

    /// Whether it is the callback of what is registered here that speaks.
    pub(super) fn is_own(&self, caller: &Caller<'_>, place: usize) -> bool {
        let registered = self.registered(place).map(|(id, _)| (place, id));
        registered.is_some() && caller.own == registered
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

    fn open(&self, caller: &Caller<'_>, kind: OpKind, at: usize, to: usize) -> Option<()> {
        if at == to || !self.is_free(at) || !self.is_free(to) {
            return None;
        }
        let (noun, made) = match kind {
            OpKind::Pipe => ("pipe", self.kernel.pipe()),
            OpKind::Pair => ("pair", self.kernel.pair()),
            OpKind::Datagrams => ("datagram", self.kernel.datagrams()),
            _ => ("tcp", self.kernel.tcp()),
        };
        match made {
            Ok((one, two)) => {
                self.put(at, noun, one, Rc::default());
                self.put(to, noun, two, Rc::default());
                caller.says(self, format!("opens {noun}#{at} and {noun}#{to}"));
            }
            Err(error) => caller.says(self, format!("cannot open a {noun}: {error}")),
        }
        Some(())
    }

    pub(super) fn wrapped(&self, scripted: Scripted) -> Box<dyn Callbacks> {
        match &mut *self.wrap.borrow_mut() {
            Some(wrap) => wrap(scripted),
            None => Box::new(scripted),
        }
    }

    pub(super) fn close(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let Some((id, _)) = self.registered(at) else {
            caller.says(self, format!("closes {}", self.place_name(at)?));
            let closed = self.places.borrow_mut()[at].take();
            drop(closed);
            return Some(());
        };
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let Some(cx) = own else {
            return self.remove(caller, at);
        };
        caller.says(self, "closes itself");
        self.unlist(at, id);
        cx.close();
        Some(())
    }

    fn duplicate(&self, caller: &Caller<'_>, at: usize, to: usize) -> Option<()> {
        let (fd, noun) = (self.fd(at)?, self.noun(at)?);
        if !self.is_free(to) {
            return None;
        }
        let flow = Rc::clone(&self.places.borrow()[at].as_ref()?.flow);
        let name = self.called(caller, at)?;
        match fd.try_clone() {
            Ok(fd) => {
                self.put(to, noun, fd, flow);
                caller.says(self, format!("duplicates {name} as {noun}#{to}"));
            }
            Err(error) => caller.says(self, format!("cannot duplicate {name}: {error}")),
        }
        Some(())
    }
}

impl Harness {
    pub(super) fn register(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, at: usize) -> Option<()> {
        let name = self.place_name(at)?;
        let fd = self.fd(at)?;
        if let Some((_, key)) = self.registered(at) {
            return self.register_again(caller, &name, fd, key);
        }
        let (interest, trigger) = (op.interest, op.trigger);
        let (role, interest, trigger) = match (op.kind, self.noun(at)?) {
            (OpKind::Source, _) => {
                let all = Interest::BOTH | Interest::PRIORITY;
                (Role::Source, all, Trigger::Edge)
            }
            (_, "listener") => (Role::Listener, interest, trigger),
            (_, "datagram") => (Role::Datagram, interest, trigger),
            _ => (Role::Stream, interest, trigger),
        };
        caller.says(
            self,
            match role {
                Role::Source => format!("registers {name} as a source"),
                _ => {
                    let (wanted, trigger) = (op::wanted(interest), op::trigger(trigger));
                    format!("registers {name} for {wanted} by {trigger}")
                }
            },
        );
        let id = self.made(name);
        let callbacks = self.wrapped(Scripted::new(self, id, at, &op.script));
        let (handle, shared) = (caller.handle, fd.shared());
        let registered = match role {
            Role::Source => spi::register_source(handle, shared, false, callbacks),
            _ => handle.register_with(shared, interest, trigger, callbacks),
        };
        match registered {
            Ok(_) if self.noun(at) == Some("socket") => {
                self.breaks("R133", "a socket without a peer is registered");
            }
            Ok(key) => {
                self.enlist(id, role, interest, trigger);
                if let Some(place) = &mut self.places.borrow_mut()[at] {
                    place.held = Held::Lent(Rc::downgrade(&fd));
                    place.registered = Some((id, key));
                }
            }
            Err(refused) => {
                caller.says(self, format!("is refused that: {}", refused.error));
                match (self.noun(at), &refused.error) {
                    (Some("socket"), Error::NotConnected { .. }) => {}
                    (Some("file"), Error::NotPollable { .. }) => {}
                    (_, error) => self.refused("R006", "a registration", error),
                }
            }
        }
        Some(())
    }

    /// Tells the model of a registration that the loop has taken.
    pub(super) fn enlist(&self, id: Id, role: Role, interest: Interest, trigger: Trigger) {
        let (number, token) = self.poller_trace.last().unwrap_or_default();
        let mut model = self.model.borrow_mut();
        if let Some(other) = model.tokens.get(&token) {
            let what = format!("{} has the key of {}", model.names[id], model.names[*other]);
            self.breaks("L1", what);
        }
        let registered = Registered {
            number,
            token,
            role,
            interest,
            trigger,
            parked: false,
            left: 0,
            owed: interest,
            serves: false,
            shaky: false,
        };
        model.register(id, registered);
    }

    pub(super) fn modify(&self, caller: &Caller<'_>, at: usize, interest: Interest) -> Option<()> {
        let (id, key) = self.registered(at)?;
        let name = self.called(caller, at)?;
        caller.says(
            self,
            format!("modifies {name} for {}", op::wanted(interest)),
        );
        let modified = caller.handle.set_interest_of(key, interest);
        self.changed(caller, id, modified, |model| model.modify(id, interest));
        Some(())
    }

    pub(super) fn rearm(&self, caller: &Caller<'_>, at: usize, interest: Interest) -> Option<()> {
        let (id, key) = self.registered(at)?;
        let name = self.called(caller, at)?;
        caller.says(self, format!("rearms {name} for {}", op::wanted(interest)));
        let rearmed = caller.handle.rearm(key, interest);
        let asked = interest & spi::rearm_interest(caller.handle);
        self.changed(caller, id, rearmed, |model| {
            if let Some(registered) = model.registered.get_mut(&id) {
                if registered.trigger == Trigger::Edge && !registered.parked {
                    registered.owed |= asked & registered.interest;
                }
            }
        });
        Some(())
    }

    pub(super) fn ignore(&self, caller: &Caller<'_>, at: usize, interest: Interest) -> Option<()> {
        let cx = caller.cx.filter(|_| self.is_own(caller, at))?;
        let (id, _) = self.registered(at)?;
        caller.says(self, format!("ignores {}", op::wanted(interest)));
        self.is_reported.set(false);
        cx.remove_interest(interest);
        let mut model = self.model.borrow_mut();
        if self.is_reported.get() {
            model.registered.get_mut(&id)?.shaky = true;
        } else {
            model.ignore(id, interest);
        }
        let wants = model.registered.get(&id)?.interest;
        if cx.interest() != wants {
            self.breaks(
                "R008",
                format!("{wants:?} is left, and the loop has {:?}", cx.interest()),
            );
        }
        Some(())
    }

    /// Tells the model of a change, or that the kernel has refused one.
    fn changed(
        &self,
        caller: &Caller<'_>,
        id: Id,
        done: Result<(), Error>,
        change: impl FnOnce(&mut Model),
    ) {
        match done {
            Ok(()) => change(&mut self.model.borrow_mut()),
            Err(error) => {
                caller.says(self, format!("is refused that: {error}"));
                self.refused("R008", "a change", &error);
                if let Some(registered) = self.model.borrow_mut().registered.get_mut(&id) {
                    registered.shaky = true;
                }
            }
        }
    }

    pub(super) fn remove(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let (id, key) = self.registered(at)?;
        caller.says(self, format!("removes {}", self.called(caller, at)?));
        self.unlist(at, id);
        if let Err(error) = caller.handle.remove(key) {
            self.breaks("R008", format!("a removal is refused: {error}"));
        }
        if caller.handle.remove(key).is_ok() {
            self.breaks("R003", "a key names something that was removed");
        }
        self.check_gone(id, "L2");
        Some(())
    }

    /// Tells the model that a registration is about to go.
    pub(super) fn unlist(&self, at: usize, id: Id) {
        let mut model = self.model.borrow_mut();
        let how = format!("was removed {}", model.when());
        model.remove(id, how);
        self.vacate(at, id);
    }

    /// What was taken back is dropped at once, unless it is running.
    pub(super) fn check_gone(&self, id: Id, rule: &'static str) {
        if !self.is_running(id) && self.alive.borrow().contains(&id) {
            self.breaks(rule, format!("{} is not dropped at once", self.name_of(id)));
        }
    }

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
    fn register_again(&self, caller: &Caller<'_>, name: &str, fd: Rc<Fd>, key: Key) -> Option<()> {
        caller.says(self, format!("registers {name} once more"));
        let again = caller
            .handle
            .register(fd.shared(), Interest::BOTH, Closures::new());
        match again.map_err(|refused| refused.error) {
            Err(Error::AlreadyRegistered { key: first, .. }) if first == key => {}
            other => self.breaks("R007", format!("to register {name} twice gives {other:?}")),
        }
        Some(())
    }

    /// L1: the key of a registration that has gone finds nothing, whatever has its slot now.
    pub(super) fn use_stale_key(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let (id, key) = self.gone.borrow()[at]?;
        let name = self.name_of(id);
        caller.says(self, format!("uses the key that {name} had"));
        let calls = [
            caller.handle.set_interest_of(key, Interest::BOTH),
            caller.handle.rearm(key, Interest::BOTH),
            caller.handle.interest_of(key).map(drop),
            caller.handle.remove(key),
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
    pub(super) fn report_late(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let (id, _) = self.gone.borrow()[at]?;
        let mut model = self.model.borrow_mut();
        let token = model.tokens.iter().find(|(_, other)| **other == id);
        let token = *token?.0;
        model.late.insert(token);
        drop(model);
        caller.says(
            self,
            format!("lets an event of {} come late", self.name_of(id)),
        );
        let ready = Readiness::READ | Readiness::WRITE;
        self.poller_trace.report_late(Event { token, ready });
        Some(())
    }
}
