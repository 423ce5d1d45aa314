//! Operations on connections: listening, connecting, accepting, moving bytes, closing a direction or
//! a connection.
//!
//! A listener is a registration whose connect branch accepts if its script does. An outgoing
//! connection belongs to the loop, and only its callbacks can use its descriptor. The bytes written
//! to a stream count up, so that a lost, repeated or reordered byte is found when it is read.
//!
//! These are *connect ready*, *read ready*, *write ready* and *hangup* (N7).

use super::harness::{Flow, Harness, Owner, Slot};
use super::interpreter::Caller;
use super::model::Id;
use super::op::{Op, OpKind};
use super::scripted::{Probe, Scripted};
use crate::sim::Fd;
use readily::event_loop::{Accepted, Role};
use readily::{Callbacks, Cx, Interest, Key, Trigger};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Number of connections that may wait to be accepted; further ones wait in progress.
const BACKLOG: usize = 1;

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// An address without a listener.
fn unused_addr() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

impl Harness {
    pub(super) fn listen(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        if !self.is_free(at) {
            return None;
        }
        match self.kernel.listen(any_port(), BACKLOG) {
            Ok(fd) => {
                self.put(at, "listener", fd, Rc::default());
                caller.log(self, format!("opens listener#{at}"));
            }
            Err(error) => caller.log(self, format!("cannot listen: {error}")),
        }
        Some(())
    }

    /// Opens a descriptor that is neither a stream nor a listener.
    pub(super) fn open_one(&self, caller: &Caller<'_>, op: &Op, at: usize) -> Option<()> {
        if !self.is_free(at) {
            return None;
        }
        let timer = |fd: Fd| {
            let after = Duration::from_millis(op.number as u64);
            fd.set_timer(Some(after)).map(|()| fd)
        };
        let (noun, opened) = match op.kind {
            OpKind::Timerfd => ("timerfd", self.kernel.timer().and_then(timer)),
            OpKind::Eventfd => ("eventfd", self.kernel.notifier()),
            OpKind::File => ("file", self.kernel.file(b"content")),
            _ => ("socket", self.kernel.unconnected()),
        };
        match opened {
            Ok(fd) => {
                self.put(at, noun, fd, Rc::default());
                caller.log(self, format!("opens {noun}#{at}"));
            }
            Err(error) => caller.log(self, format!("cannot open a {noun}: {error}")),
        }
        Some(())
    }

    pub(super) fn connect(
        self: &Rc<Self>,
        caller: &Caller<'_>,
        op: &Op,
        at: usize,
        to: usize,
    ) -> Option<()> {
        if !self.is_free(to) {
            return None;
        }
        let listens = self.noun(at) == Some("listener");
        let listener = self.fd(at).filter(|_| listens);
        let addr = listener.as_ref().and_then(|fd| fd.local_addr().ok());
        let peer = match addr {
            Some(_) => self.slot_name(at)?,
            None => "an address without a listener".to_owned(),
        };
        drop(listener);
        caller.log(self, format!("connects tcp#{to} to {peer}"));
        let id = self.new_id(format!("tcp#{to}"));
        let callbacks = self.wrap_callbacks(Scripted::new(self, id, to, &op.script));
        match caller
            .handle
            .connect(addr.unwrap_or_else(unused_addr), callbacks)
        {
            Ok(key) => {
                self.record_registration(
                    id,
                    Some(Role::Connecting),
                    Interest::BOTH,
                    Trigger::Level,
                );
                self.slots.borrow_mut()[to] = Some(Slot::hidden(Some((id, key))));
            }
            Err(refused) => {
                caller.log(self, format!("cannot: {}", refused.error));
                self.check_refusal("R013", "to connect", &refused.error);
            }
        }
        Some(())
    }

    pub(super) fn accept(&self, caller: &Caller<'_>, at: usize, to: usize) -> Option<()> {
        let fd = self.fd(at).filter(|_| self.noun(at) == Some("listener"))?;
        if !self.is_free(to) {
            return None;
        }
        match fd.accept() {
            Ok((fd, _peer)) => {
                self.put(to, "tcp", fd, Rc::default());
                caller.log(self, format!("accepts tcp#{to}"));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                caller.log(self, "finds no connection to accept");
            }
            Err(error) => caller.log(self, format!("cannot accept: {error}")),
        }
        Some(())
    }

    /// Accepts in the listener's own callback, and registers the connection.
    pub(super) fn admit(
        self: &Rc<Self>,
        caller: &Caller<'_>,
        op: &Op,
        at: usize,
        to: usize,
    ) -> Option<()> {
        let listens = self.noun(at) == Some("listener") && self.is_own(caller, at);
        let cx = caller.cx.filter(|_| listens && self.is_free(to))?;
        let accepted = match cx.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                caller.log(self, format!("accepts nothing: {error}"));
                return Some(());
            }
        };
        caller.log(self, format!("accepts tcp#{to} and registers it"));
        let id = self.new_id(format!("tcp#{to}"));
        let callbacks = self.wrap_callbacks(Scripted::new(self, id, to, &op.script));
        match cx.register_accepted(accepted, op.interest, callbacks) {
            Ok(key) => {
                self.record_registration(id, Some(Role::Stream), op.interest, Trigger::Level);
                self.slots.borrow_mut()[to] = Some(Slot::hidden(Some((id, key))));
            }
            Err(refused) => {
                caller.log(self, format!("cannot: {}", refused.error));
                self.check_refusal("R013", "an accepted connection", &refused.error);
            }
        }
        Some(())
    }

    /// Lets the loop accept. Such a listener may be paused without descriptors, by a timer that the
    /// model does not have.
    pub(super) fn serve(
        self: &Rc<Self>,
        caller: &Caller<'_>,
        op: &Op,
        at: usize,
        to: usize,
    ) -> Option<()> {
        let listens = self.noun(at) == Some("listener") && self.registered(at).is_none();
        let fd = self.fd(at).filter(|_| listens)?;
        let name = self.slot_name(at)?;
        caller.log(self, format!("lets the loop accept at {name}"));
        let id = self.new_id(name);
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        let accept = move |_: &Cx<'_>, _: &Accepted| probe.harness.accept_for_loop(id, to, &script);
        match caller.handle.listen(fd.shared(), accept) {
            Ok(key) => {
                self.record_registration(id, Some(Role::Listener), Interest::READ, Trigger::Level);
                let mut model = self.model.borrow_mut();
                model.is_exclusive &= !self.kernel_may_refuse();
                if let Some(registered) = model.registered.get_mut(&id) {
                    (registered.is_accepting, registered.is_uncertain) = (true, true);
                }
                if let Some(slot) = &mut self.slots.borrow_mut()[at] {
                    slot.owner = Owner::Registration(Rc::downgrade(&fd));
                    slot.registered = Some((id, key));
                }
            }
            Err(refused) => {
                caller.log(self, format!("cannot: {}", refused.error));
                self.check_refusal("R013", "to listen", &refused.error);
            }
        }
        Some(())
    }

    /// The loop has accepted a connection at listener `id`: returns its callbacks if the slot is
    /// free.
    fn accept_for_loop(
        self: &Rc<Self>,
        id: Id,
        to: usize,
        script: &[Op],
    ) -> Option<Box<dyn Callbacks>> {
        if self.has_failed() {
            return None;
        }
        let name = self.name_of(id);
        if self.is_anything_running() {
            self.fail("L3", format!("{name} accepts inside another callback"));
        }
        if !self.model.borrow().registered.contains_key(&id) {
            self.fail("L2", format!("{name} accepts, and was removed"));
        }
        if !self.is_free(to) {
            self.transcript
                .line(&name, "accepts a connection, and closes it");
            return None;
        }
        self.transcript.line(&name, format!("accepts tcp#{to}"));
        let id = self.new_id(format!("tcp#{to}"));
        self.slots.borrow_mut()[to] = Some(Slot::hidden(None));
        Some(self.wrap_callbacks(Scripted::accepted(self, id, to, script)))
    }

    /// The loop has registered an accepted connection.
    pub(super) fn record_accepted(&self, id: Id, at: usize, key: Key) {
        self.record_registration(id, Some(Role::Stream), Interest::READ, Trigger::Level);
        if let Some(slot) = &mut self.slots.borrow_mut()[at] {
            slot.registered = Some((id, key));
        }
    }
}

/// Number of bytes that one operation moves at most.
const MAX_BYTES: usize = 128;

/// A number of bytes as text.
fn byte_count(n: usize) -> String {
    match n {
        1 => "1 byte".to_owned(),
        n => format!("{n} bytes"),
    }
}

impl Harness {
    /// `None` if the operation is of another file, or impossible now.
    pub(super) fn execute_stream_op(&self, caller: &Caller<'_>, op: &Op, at: usize) -> Option<()> {
        let name = self
            .slot_name(at)
            .filter(|name| !name.starts_with("listener"))?;
        match op.kind {
            OpKind::Read => self.read(caller, at, op.number.min(MAX_BYTES), &name),
            OpKind::Write => self.write(caller, at, op.number.min(MAX_BYTES), &name),
            OpKind::Shut => self.shut(caller, at, Shutdown::Write, &name),
            OpKind::ShutRead => self.shut(caller, at, Shutdown::Read, &name),
            OpKind::ShutBoth => self.shut(caller, at, Shutdown::Both, &name),
            OpKind::Reset => self.reset(caller, at, &name),
            OpKind::Urgent => {
                let sent = self.fd(at)?.send_urgent();
                self.log_result(caller, sent, &format!("sends an urgent byte by {name}"));
                Some(())
            }
            OpKind::Narrow => {
                self.fd(at)?.set_capacity(op.number.max(1));
                let room = op.number.max(1);
                caller.log(
                    self,
                    format!("leaves room for {} in {name}", byte_count(room)),
                );
                Some(())
            }
            _ => None,
        }
    }

    /// Whether the bytes read here are those that were written at the other end, in order.
    fn is_stream(&self, at: usize) -> bool {
        matches!(self.noun(at), Some("pipe" | "pair" | "tcp"))
    }

    fn flow(&self, at: usize) -> Option<Rc<Flow>> {
        Some(Rc::clone(&self.slots.borrow()[at].as_ref()?.flow))
    }

    fn read(&self, caller: &Caller<'_>, at: usize, most: usize, name: &str) -> Option<()> {
        let flow = self.flow(at)?;
        let mut buffer = [0; MAX_BYTES];
        let buffer = &mut buffer[..most];
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let (read, suffix) = match own {
            Some(cx) => (cx.read(buffer), String::new()),
            None => (self.fd(at)?.read(buffer), format!(" from {name}")),
        };
        match read {
            Ok(n) if !self.is_stream(at) => {
                caller.log(self, format!("reads {}{suffix}", byte_count(n)))
            }
            Ok(0) if most > 0 => caller.log(self, format!("reads the end of the stream{suffix}")),
            Ok(n) => {
                caller.log(self, format!("reads {}{suffix}", byte_count(n)));
                for &byte in &buffer[..n] {
                    if byte != flow.received.replace(byte.wrapping_add(1)) {
                        self.fail("R025", format!("a byte of {name} is not the next one"));
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                caller.log(self, format!("finds nothing to read{suffix}"));
            }
            Err(error) => caller.log(self, format!("cannot read{suffix}: {}", error.kind())),
        }
        Some(())
    }

    fn write(&self, caller: &Caller<'_>, at: usize, len: usize, name: &str) -> Option<()> {
        let flow = self.flow(at)?;
        let next = |n| flow.sent.get().wrapping_add(n as u8);
        let content: Vec<u8> = (0..len).map(next).collect();
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let (written, suffix) = match own {
            Some(cx) => (cx.write(&content), String::new()),
            None => (self.fd(at)?.write(&content), format!(" to {name}")),
        };
        match written {
            Ok(n) => {
                flow.sent.set(flow.sent.get().wrapping_add(n as u8));
                caller.log(self, format!("writes {}{suffix}", byte_count(n)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                caller.log(self, format!("finds no room to write{suffix}"));
            }
            Err(error) => caller.log(self, format!("cannot write{suffix}: {}", error.kind())),
        }
        Some(())
    }

    fn shut(&self, caller: &Caller<'_>, at: usize, how: Shutdown, name: &str) -> Option<()> {
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let shut = match own {
            Some(cx) => cx.shutdown(how),
            None => self.fd(at)?.shutdown(how),
        };
        let half = match how {
            Shutdown::Write => "the writing half",
            Shutdown::Read => "the reading half",
            Shutdown::Both => "both halves",
        };
        self.log_result(caller, shut, &format!("shuts {half} of {name}"));
        Some(())
    }

    /// Only an unregistered descriptor can be reset: a registration closes its own.
    fn reset(&self, caller: &Caller<'_>, at: usize, name: &str) -> Option<()> {
        let slot = self.slots.borrow_mut()[at].take_if(|slot| slot.registered.is_none())?;
        caller.log(self, format!("resets {name}"));
        if let Owner::Script(fd) = slot.owner {
            if let Some(fd) = Rc::into_inner(fd) {
                fd.reset();
            }
        }
        Some(())
    }

    fn log_result(&self, caller: &Caller<'_>, done: io::Result<()>, what: &str) {
        match done {
            Ok(()) => caller.log(self, what),
            Err(error) => caller.log(self, format!("{what}, which fails: {}", error.kind())),
        }
    }
}
