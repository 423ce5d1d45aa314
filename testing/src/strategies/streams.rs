//! Operations on connections: listening, connecting, accepting; moving bytes; and ending a direction or a
//! connection.
//!
//! A listener is a registration like others, whose connect branch accepts if its script says so. An outgoing
//! connection is the loop's own, and only its callbacks have its descriptor. What is written counts up, byte
//! by byte, for each end; so a reader knows which byte must come next, and what is lost, doubled or out of
//! order is seen at once.
//!
//! In the notes these are *connect ready*, *read ready*, *write ready* and *hangup* (N7).

use super::harness::{Flow, Harness, Held, Place};
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

/// So many connections may wait to be accepted; those behind it wait to be let in.
const BACKLOG: usize = 1;

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Nobody listens here.
fn nowhere() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

impl Harness {
    pub(super) fn listen(&self, caller: &Caller<'_>, at: usize) -> Option<()> {
        if !self.is_free(at) {
            return None;
        }
        match self.kernel.listen(anywhere(), BACKLOG) {
            Ok(fd) => {
                self.put(at, "listener", fd, Rc::default());
                caller.says(self, format!("opens listener#{at}"));
            }
            Err(error) => caller.says(self, format!("cannot listen: {error}")),
        }
        Some(())
    }

    /// What is neither a stream nor a listener.
    pub(super) fn open_one(&self, caller: &Caller<'_>, op: &Op, at: usize) -> Option<()> {
        if !self.is_free(at) {
            return None;
        }
        let timer = |fd: Fd| {
            let after = Duration::from_millis(op.number as u64);
            fd.set_timer(Some(after)).map(|()| fd)
        };
        let (noun, made) = match op.kind {
            OpKind::Timerfd => ("timerfd", self.kernel.timer().and_then(timer)),
            OpKind::Eventfd => ("eventfd", self.kernel.notifier()),
            OpKind::File => ("file", self.kernel.file(b"content")),
            _ => ("socket", self.kernel.unconnected()),
        };
        match made {
            Ok(fd) => {
                self.put(at, noun, fd, Rc::default());
                caller.says(self, format!("opens {noun}#{at}"));
            }
            Err(error) => caller.says(self, format!("cannot open a {noun}: {error}")),
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
            Some(_) => self.place_name(at)?,
            None => "nobody".to_owned(),
        };
        drop(listener);
        caller.says(self, format!("connects tcp#{to} to {peer}"));
        let id = self.made(format!("tcp#{to}"));
        let callbacks = self.wrapped(Scripted::new(self, id, to, &op.script));
        match caller
            .handle
            .connect(addr.unwrap_or_else(nowhere), callbacks)
        {
            Ok(key) => {
                self.enlist(id, Role::Connecting, Interest::BOTH, Trigger::Level);
                self.places.borrow_mut()[to] = Some(Place::unseen(Some((id, key))));
            }
            Err(refused) => {
                caller.says(self, format!("is refused that: {}", refused.error));
                self.refused("R013", "to connect", &refused.error);
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
                caller.says(self, format!("accepts tcp#{to}"));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                caller.says(self, "finds nobody to accept");
            }
            Err(error) => caller.says(self, format!("cannot accept: {error}")),
        }
        Some(())
    }

    /// Accepts in the listener's own callback, and registers what came.
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
                caller.says(self, format!("accepts nothing: {error}"));
                return Some(());
            }
        };
        caller.says(self, format!("accepts tcp#{to} and registers it"));
        let id = self.made(format!("tcp#{to}"));
        let callbacks = self.wrapped(Scripted::new(self, id, to, &op.script));
        match cx.register_accepted(accepted, op.interest, callbacks) {
            Ok(key) => {
                self.enlist(id, Role::Stream, op.interest, Trigger::Level);
                self.places.borrow_mut()[to] = Some(Place::unseen(Some((id, key))));
            }
            Err(refused) => {
                caller.says(self, format!("is refused that: {}", refused.error));
                self.refused("R013", "an accepted connection", &refused.error);
            }
        }
        Some(())
    }

    /// Lets the loop accept. What a listener of the loop's own does about a lack of descriptors is
    /// its own affair: it may be paused, with a timer that no model knows.
    pub(super) fn serve(
        self: &Rc<Self>,
        caller: &Caller<'_>,
        op: &Op,
        at: usize,
        to: usize,
    ) -> Option<()> {
        let listens = self.noun(at) == Some("listener") && self.registered(at).is_none();
        let fd = self.fd(at).filter(|_| listens)?;
        let name = self.place_name(at)?;
        caller.says(self, format!("lets the loop accept at {name}"));
        let id = self.made(name);
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        let accept = move |_: &Cx<'_>, _: &Accepted| probe.harness.accepts(id, to, &script);
        match caller.handle.listen(fd.shared(), accept) {
            Ok(key) => {
                self.enlist(id, Role::Listener, Interest::READ, Trigger::Level);
                let mut model = self.model.borrow_mut();
                model.alone &= !self.is_refusing();
                if let Some(registered) = model.registered.get_mut(&id) {
                    (registered.serves, registered.shaky) = (true, true);
                }
                if let Some(place) = &mut self.places.borrow_mut()[at] {
                    place.held = Held::Lent(Rc::downgrade(&fd));
                    place.registered = Some((id, key));
                }
            }
            Err(refused) => {
                caller.says(self, format!("is refused that: {}", refused.error));
                self.refused("R013", "to listen", &refused.error);
            }
        }
        Some(())
    }

    /// The loop has accepted a connection at the listener `id`: its callbacks, if there is a place.
    fn accepts(self: &Rc<Self>, id: Id, to: usize, script: &[Op]) -> Option<Box<dyn Callbacks>> {
        if self.is_over() {
            return None;
        }
        let name = self.name_of(id);
        if self.is_anything_running() {
            self.breaks("L3", format!("{name} accepts inside another callback"));
        }
        if !self.model.borrow().registered.contains_key(&id) {
            self.breaks("L2", format!("{name} accepts, and has gone"));
        }
        if !self.is_free(to) {
            self.transcript
                .line(&name, "accepts a connection, and closes it");
            return None;
        }
        self.transcript.line(&name, format!("accepts tcp#{to}"));
        let id = self.made(format!("tcp#{to}"));
        self.places.borrow_mut()[to] = Some(Place::unseen(None));
        Some(self.wrapped(Scripted::opening(self, id, to, script)))
    }

    /// The loop has registered it.
    pub(super) fn opened(&self, id: Id, at: usize, key: Key) {
        self.enlist(id, Role::Stream, Interest::READ, Trigger::Level);
        if let Some(place) = &mut self.places.borrow_mut()[at] {
            place.registered = Some((id, key));
        }
    }
}

/// As many bytes an operation moves at most.
const MOST: usize = 128;

/// So many bytes, in words.
fn bytes(n: usize) -> String {
    match n {
        1 => "1 byte".to_owned(),
        n => format!("{n} bytes"),
    }
}

impl Harness {
    /// `None` if the operation is none of these, or does not fit.
    pub(super) fn to_bytes(&self, caller: &Caller<'_>, op: &Op, at: usize) -> Option<()> {
        let name = self
            .place_name(at)
            .filter(|name| !name.starts_with("listener"))?;
        match op.kind {
            OpKind::Read => self.read(caller, at, op.number.min(MOST), &name),
            OpKind::Write => self.write(caller, at, op.number.min(MOST), &name),
            OpKind::Shut => self.shut(caller, at, Shutdown::Write, &name),
            OpKind::ShutRead => self.shut(caller, at, Shutdown::Read, &name),
            OpKind::ShutBoth => self.shut(caller, at, Shutdown::Both, &name),
            OpKind::Reset => self.reset(caller, at, &name),
            OpKind::Urgent => {
                let sent = self.fd(at)?.send_urgent();
                self.tells(caller, sent, &format!("sends an urgent byte by {name}"));
                Some(())
            }
            OpKind::Narrow => {
                self.fd(at)?.set_capacity(op.number.max(1));
                let room = op.number.max(1);
                caller.says(self, format!("leaves room for {} in {name}", bytes(room)));
                Some(())
            }
            _ => None,
        }
    }

    /// Whether what is read here is what was written at the other end, byte by byte.
    fn is_stream(&self, at: usize) -> bool {
        matches!(self.noun(at), Some("pipe" | "pair" | "tcp"))
    }

    fn flow(&self, at: usize) -> Option<Rc<Flow>> {
        Some(Rc::clone(&self.places.borrow()[at].as_ref()?.flow))
    }

    fn read(&self, caller: &Caller<'_>, at: usize, most: usize, name: &str) -> Option<()> {
        let flow = self.flow(at)?;
        let mut buffer = [0; MOST];
        let buffer = &mut buffer[..most];
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let (read, whose) = match own {
            Some(cx) => (cx.read(buffer), String::new()),
            None => (self.fd(at)?.read(buffer), format!(" from {name}")),
        };
        match read {
            Ok(n) if !self.is_stream(at) => caller.says(self, format!("reads {}{whose}", bytes(n))),
            Ok(0) if most > 0 => caller.says(self, format!("reads the end{whose}")),
            Ok(n) => {
                caller.says(self, format!("reads {}{whose}", bytes(n)));
                for &byte in &buffer[..n] {
                    if byte != flow.got.replace(byte.wrapping_add(1)) {
                        self.breaks("R025", format!("a byte of {name} is not the next one"));
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                caller.says(self, format!("finds nothing to read{whose}"));
            }
            Err(error) => caller.says(self, format!("cannot read{whose}: {}", error.kind())),
        }
        Some(())
    }

    fn write(&self, caller: &Caller<'_>, at: usize, len: usize, name: &str) -> Option<()> {
        let flow = self.flow(at)?;
        let next = |n| flow.sent.get().wrapping_add(n as u8);
        let content: Vec<u8> = (0..len).map(next).collect();
        let own = caller.cx.filter(|_| self.is_own(caller, at));
        let (written, whose) = match own {
            Some(cx) => (cx.write(&content), String::new()),
            None => (self.fd(at)?.write(&content), format!(" to {name}")),
        };
        match written {
            Ok(n) => {
                flow.sent.set(flow.sent.get().wrapping_add(n as u8));
                caller.says(self, format!("writes {}{whose}", bytes(n)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                caller.says(self, format!("finds no room to write{whose}"));
            }
            Err(error) => caller.says(self, format!("cannot write{whose}: {}", error.kind())),
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
        self.tells(caller, shut, &format!("shuts {half} of {name}"));
        Some(())
    }

    /// Only what is not registered: a registration closes its descriptor by itself.
    fn reset(&self, caller: &Caller<'_>, at: usize, name: &str) -> Option<()> {
        let place = self.places.borrow_mut()[at].take_if(|place| place.registered.is_none())?;
        caller.says(self, format!("resets {name}"));
        if let Held::Ours(fd) = place.held {
            if let Some(fd) = Rc::into_inner(fd) {
                fd.reset();
            }
        }
        Some(())
    }

    fn tells(&self, caller: &Caller<'_>, done: io::Result<()>, what: &str) {
        match done {
            Ok(()) => caller.says(self, what),
            Err(error) => caller.says(self, format!("{what}, in vain: {}", error.kind())),
        }
    }
}
