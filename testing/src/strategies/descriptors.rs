//! Operations on descriptors and their registrations: open, duplicate, register, change, remove,
//! close, and use a key of a removed registration.
//!
//! Each descriptor is in one of eight slots, and belongs to the script until it is registered. A
//! registration owns its descriptor, so the script keeps only a weak reference: a strong one would
//! hide a descriptor that the loop fails to close. The key of the last registration of each slot is
//! kept, and must find nothing.
//!
//! Rules: L1, L2, L6, R007; the map of callbacks, and the calls that change it (N7).

use super::harness::{Flow, Harness, Owner, Slot};
use super::interpreter::Caller;
use super::model::{Id, Model, Registered};
use super::op::{self, Op, OpKind, SLOTS};
use super::scripted::Scripted;
use crate::sim::Fd;
use readily::event_loop::Role;
use readily::poll::Event;
use readily::spi;
use readily::{Callbacks, Closures, Error, Interest, Key, LoopHandle, Readiness, Trigger};
use std::rc::Rc;

impl Harness {
    /// `None` if the operation is of another file, or impossible now.
    pub(super) fn execute_fd_op(self: &Rc<Self>, caller: &Caller<'_>, op: &Op) -> Option<()> {
        let (at, to) = (op.at % SLOTS, op.to % SLOTS);
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
            _ => self.execute_stream_op(caller, op, at),
        }
    }

    pub(super) fn is_free(&self, slot: usize) -> bool {
        self.slots.borrow()[slot].is_none()
    }

    /// The descriptor in a slot, if the script can use it.
    pub(super) fn fd(&self, slot: usize) -> Option<Rc<Fd>> {
        match &self.slots.borrow()[slot].as_ref()?.owner {
            Owner::Script(fd) => Some(Rc::clone(fd)),
            Owner::Registration(fd) => fd.upgrade(),
            Owner::Hidden => None,
        }
    }

    pub(super) fn noun(&self, slot: usize) -> Option<&'static str> {
        Some(self.slots.borrow()[slot].as_ref()?.noun)
    }

    pub(super) fn slot_name(&self, slot: usize) -> Option<String> {
        Some(format!("{}#{slot}", self.noun(slot)?))
    }

    /// The name of a slot, or `itself` for its own callback.
    pub(super) fn describe_slot(&self, caller: &Caller<'_>, slot: usize) -> Option<String> {
        match self.is_own(caller, slot) {
            true => Some("itself".to_owned()),
            false => self.slot_name(slot),
        }
    }

    /// Whether the caller is the callback of the registration in this slot.
    pub(super) fn is_own(&self, caller: &Caller<'_>, slot: usize) -> bool {
        let registered = self.registered(slot).map(|(id, _)| (slot, id));
        registered.is_some() && caller.own == registered
    }

    pub(super) fn registered(&self, slot: usize) -> Option<(Id, Key)> {
        self.slots.borrow()[slot].as_ref()?.registered
    }

    pub(super) fn put(&self, slot: usize, noun: &'static str, fd: Fd, flow: Rc<Flow>) {
        let owner = Owner::Script(Rc::new(fd));
        self.slots.borrow_mut()[slot] = Some(Slot {
            noun,
            owner,
            flow,
            registered: None,
        });
    }

    fn open(&self, caller: &Caller<'_>, kind: OpKind, at: usize, to: usize) -> Option<()> {
        if at == to || !self.is_free(at) || !self.is_free(to) {
            return None;
        }
        let (noun, opened) = match kind {
            OpKind::Pipe => ("pipe", self.kernel.pipe()),
            OpKind::Pair => ("pair", self.kernel.pair()),
            OpKind::Datagrams => ("datagram", self.kernel.datagrams()),
            _ => ("tcp", self.kernel.tcp()),
        };
        match opened {
            Ok((one, two)) => {
                self.put(at, noun, one, Rc::default());
                self.put(to, noun, two, Rc::default());
                caller.log(self, format!("opens {noun}#{at} and {noun}#{to}"));
            }
            Err(error) => caller.log(self, format!("cannot open a {noun}: {error}")),
        }
        Some(())
    }

    pub(super) fn wrap_callbacks(&self, scripted: Scripted) -> Box<dyn Callbacks> {
        match &mut *self.wrap.borrow_mut() {
            Some(wrap) => wrap(scripted),
            None => Box::new(scripted),
        }
    }

    pub(super) fn close(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let Some((id, _)) = self.registered(at) else {
            caller.log(self, format!("closes {}", self.slot_name(at)?));
            let closed = self.slots.borrow_mut()[at].take();
            drop(closed);
            return Some(());
        };
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let Some(cx) = own else {
            return self.remove(caller, at);
        };
        caller.log(self, "closes itself");
        self.record_removal(at, id);
        cx.close();
        Some(())
    }

    fn duplicate(&self, caller: &Caller<'_>, at: usize, to: usize) -> Option<()> {
        let (fd, noun) = (self.fd(at)?, self.noun(at)?);
        if !self.is_free(to) {
            return None;
        }
        let flow = Rc::clone(&self.slots.borrow()[at].as_ref()?.flow);
        let name = self.describe_slot(caller, at)?;
        match fd.try_clone() {
            Ok(fd) => {
                self.put(to, noun, fd, flow);
                caller.log(self, format!("duplicates {name} as {noun}#{to}"));
            }
            Err(error) => caller.log(self, format!("cannot duplicate {name}: {error}")),
        }
        Some(())
    }
}

impl Harness {
    pub(super) fn register(self: &Rc<Self>, caller: &Caller<'_>, op: &Op, at: usize) -> Option<()> {
        let name = self.slot_name(at)?;
        let fd = self.fd(at)?;
        if let Some((_, key)) = self.registered(at) {
            return self.register_again(caller, &name, fd, key);
        }
        let (interest, trigger) = (op.interest, op.trigger);
        let (role, interest, trigger) = match (op.kind, self.noun(at)?) {
            (OpKind::Source, _) => (None, Interest::BOTH | Interest::PRIORITY, Trigger::Edge),
            (_, "listener") => (Some(Role::Listener), interest, trigger),
            (_, "datagram") => (Some(Role::Datagram), interest, trigger),
            _ => (Some(Role::Stream), interest, trigger),
        };
        caller.log(
            self,
            match role {
                None => format!("registers {name} as a source"),
                _ => {
                    let (wanted, trigger) =
                        (op::interest_text(interest), op::trigger_text(trigger));
                    format!("registers {name} for {wanted} by {trigger}")
                }
            },
        );
        let id = self.new_id(name);
        let scripted = Scripted::new(self, id, at, &op.script);
        let (handle, shared) = (caller.handle, fd.shared());
        let registered = match role {
            None => {
                let on_event = move |handle: &LoopHandle, _| scripted.on_event(handle);
                let registered = spi::register_source(handle, shared, false, on_event);
                registered.map_err(|refused| refused.error)
            }
            Some(_) => {
                let callbacks = self.wrap_callbacks(scripted);
                let registered = handle.register_with(shared, interest, trigger, callbacks);
                registered.map_err(|refused| refused.error)
            }
        };
        match registered {
            Ok(_) if self.noun(at) == Some("socket") => {
                self.fail("R133", "a socket without a peer is registered");
            }
            Ok(key) => {
                self.record_registration(id, role, interest, trigger);
                if let Some(slot) = &mut self.slots.borrow_mut()[at] {
                    slot.owner = Owner::Registration(Rc::downgrade(&fd));
                    slot.registered = Some((id, key));
                }
            }
            Err(error) => {
                caller.log(self, format!("cannot: {error}"));
                match (self.noun(at), &error) {
                    (Some("socket"), Error::NotConnected { .. }) => {}
                    (Some("file"), Error::NotPollable { .. }) => {}
                    (_, error) => self.check_refusal("R006", "a registration", error),
                }
            }
        }
        Some(())
    }

    /// Records a new registration in the model.
    pub(super) fn record_registration(
        &self,
        id: Id,
        role: Option<Role>,
        interest: Interest,
        trigger: Trigger,
    ) {
        let (raw_fd, token) = self.poller_trace.last().unwrap_or_default();
        let mut model = self.model.borrow_mut();
        if let Some(other) = model.tokens.get(&token) {
            let what = format!("{} has the key of {}", model.names[id], model.names[*other]);
            self.fail("L1", what);
        }
        let registered = Registered {
            raw_fd,
            token,
            role,
            interest,
            trigger,
            suspended: false,
            unread_at_hangup: 0,
            expected: interest,
            is_accepting: false,
            is_uncertain: false,
        };
        model.register(id, registered);
    }

    pub(super) fn modify(&self, caller: &Caller<'_>, at: usize, interest: Interest) -> Option<()> {
        let (id, key) = self.registered(at)?;
        let name = self.describe_slot(caller, at)?;
        caller.log(
            self,
            format!("modifies {name} for {}", op::interest_text(interest)),
        );
        let modified = caller.handle.set_interest_of(key, interest);
        self.changed(caller, id, modified, |model| model.modify(id, interest));
        Some(())
    }

    pub(super) fn rearm(&self, caller: &Caller<'_>, at: usize, interest: Interest) -> Option<()> {
        let (id, key) = self.registered(at)?;
        let name = self.describe_slot(caller, at)?;
        caller.log(
            self,
            format!("rearms {name} for {}", op::interest_text(interest)),
        );
        let rearmed = caller.handle.rearm(key, interest);
        let asked = interest & spi::rearm_interest(caller.handle);
        self.changed(caller, id, rearmed, |model| {
            if let Some(registered) = model.registered.get_mut(&id) {
                if registered.trigger == Trigger::Edge && !registered.suspended {
                    registered.expected |= asked & registered.interest;
                }
            }
        });
        Some(())
    }

    pub(super) fn ignore(&self, caller: &Caller<'_>, at: usize, interest: Interest) -> Option<()> {
        let cx = caller.cx.filter(|_| self.is_own(caller, at))?;
        let (id, _) = self.registered(at)?;
        caller.log(self, format!("ignores {}", op::interest_text(interest)));
        self.is_reported.set(false);
        cx.remove_interest(interest);
        let mut model = self.model.borrow_mut();
        if self.is_reported.get() {
            model.registered.get_mut(&id)?.is_uncertain = true;
        } else {
            model.ignore(id, interest);
        }
        let wants = model.registered.get(&id)?.interest;
        if cx.interest() != wants {
            self.fail(
                "R008",
                format!(
                    "the interest should be {wants:?}, and the loop has {:?}",
                    cx.interest()
                ),
            );
        }
        Some(())
    }

    /// Records a change in the model, or that the kernel has refused it.
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
                caller.log(self, format!("cannot: {error}"));
                self.check_refusal("R008", "a change", &error);
                if let Some(registered) = self.model.borrow_mut().registered.get_mut(&id) {
                    registered.is_uncertain = true;
                }
            }
        }
    }

    pub(super) fn remove(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let (id, key) = self.registered(at)?;
        caller.log(self, format!("removes {}", self.describe_slot(caller, at)?));
        self.record_removal(at, id);
        if let Err(error) = caller.handle.remove(key) {
            self.fail("R008", format!("a removal is refused: {error}"));
        }
        if caller.handle.remove(key).is_ok() {
            self.fail("R003", "a key names something that was removed");
        }
        self.check_dropped(id, "L2");
        Some(())
    }

    /// Records in the model that a registration is about to be removed.
    pub(super) fn record_removal(&self, at: usize, id: Id) {
        let mut model = self.model.borrow_mut();
        let how = format!("was removed {}", model.when());
        model.remove(id, how);
        self.clear_slot(at, id);
    }

    /// A cancelled or removed object is dropped at once, unless it is running.
    pub(super) fn check_dropped(&self, id: Id, rule: &'static str) {
        if !self.is_running(id) && self.alive.borrow().contains(&id) {
            self.fail(rule, format!("{} is not dropped at once", self.name_of(id)));
        }
    }

    /// Clears a slot whose registration was removed, or is about to be.
    pub(super) fn clear_slot(&self, slot: usize, id: Id) {
        let mut slots = self.slots.borrow_mut();
        let registered = slots[slot].as_ref().and_then(|slot| slot.registered);
        if let Some((other, key)) = registered.filter(|(other, _)| *other == id) {
            slots[slot] = None;
            self.last_removed.borrow_mut()[slot] = Some((other, key));
        }
    }

    /// R007: a second registration of a descriptor is refused with the key of the first.
    fn register_again(&self, caller: &Caller<'_>, name: &str, fd: Rc<Fd>, key: Key) -> Option<()> {
        caller.log(self, format!("registers {name} once more"));
        let again = caller
            .handle
            .register(fd.shared(), Interest::BOTH, Closures::new());
        match again.map_err(|refused| refused.error) {
            Err(Error::AlreadyRegistered { key: first, .. }) if first == key => {}
            other => self.fail(
                "R007",
                format!("a second registration of {name} returns {other:?}"),
            ),
        }
        Some(())
    }

    /// L1: the key of a removed registration finds nothing, whatever has its slot in the table now.
    pub(super) fn use_stale_key(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let (id, key) = self.last_removed.borrow()[at]?;
        let name = self.name_of(id);
        caller.log(self, format!("uses the old key of {name}"));
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
            self.fail("L1", format!("the old key of {name} returns {calls:?}"));
        }
        Some(())
    }

    /// L6: the next wait reports an event for a removed registration.
    pub(super) fn report_late(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        let (id, _) = self.last_removed.borrow()[at]?;
        let mut model = self.model.borrow_mut();
        let token = model.tokens.iter().find(|(_, other)| **other == id);
        let token = *token?.0;
        model.late.insert(token);
        drop(model);
        caller.log(
            self,
            format!("lets an event of {} come late", self.name_of(id)),
        );
        let ready = Readiness::READ | Readiness::WRITE;
        self.poller_trace.report_late(Event::new(token, ready));
        Some(())
    }
}
