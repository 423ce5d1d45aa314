//! Deeds that are about connections: listening, connecting, accepting.
//!
//! A listener is a registration like others, whose connect branch accepts if its script says so;
//! an outgoing connection is the loop's own, and nobody but its callbacks has its descriptor.
//!
//! In the notes this is the branch *connect ready* (N7).

use super::actor::Actor;
use super::model::Id;
use super::op::{Op, Verb};
use super::scripted::{Probe, Scripted};
use super::stage::{Held, Place, Stage};
use crate::sim::Fd;
use readily::event_loop::{Accepted, Callbacks, Cx, Key, Role};
use readily::poll::{Interest, Trigger};
use std::io;
use std::net::SocketAddr;
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

impl Stage {
    pub(super) fn listen(&self, actor: &Actor<'_>, at: usize) -> Option<()> {
        if !self.is_free(at) {
            return None;
        }
        match self.kernel.listen(anywhere(), BACKLOG) {
            Ok(fd) => {
                self.put(at, "listener", fd, Rc::default());
                actor.says(self, format!("opens listener#{at}"));
            }
            Err(error) => actor.says(self, format!("cannot listen: {error}")),
        }
        Some(())
    }

    /// What is neither a stream nor a listener.
    pub(super) fn open_one(&self, actor: &Actor<'_>, op: &Op, at: usize) -> Option<()> {
        if !self.is_free(at) {
            return None;
        }
        let timer = |fd: Fd| {
            let after = Duration::from_millis(op.number as u64);
            fd.set_timer(Some(after)).map(|()| fd)
        };
        let (noun, made) = match op.verb {
            Verb::Timerfd => ("timerfd", self.kernel.timer().and_then(timer)),
            Verb::Eventfd => ("eventfd", self.kernel.notifier()),
            Verb::File => ("file", self.kernel.file(b"content")),
            _ => ("socket", self.kernel.unconnected()),
        };
        match made {
            Ok(fd) => {
                self.put(at, noun, fd, Rc::default());
                actor.says(self, format!("opens {noun}#{at}"));
            }
            Err(error) => actor.says(self, format!("cannot open a {noun}: {error}")),
        }
        Some(())
    }

    pub(super) fn connect(
        self: &Rc<Self>,
        actor: &Actor<'_>,
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
        actor.says(self, format!("connects tcp#{to} to {peer}"));
        let id = self.made(format!("tcp#{to}"));
        let callbacks = self.wrapped(Scripted::new(self, id, to, &op.script));
        match actor
            .handle
            .connect(addr.unwrap_or_else(nowhere), callbacks)
        {
            Ok(key) => {
                self.enlist(id, Role::Connecting, Interest::BOTH, Trigger::Level);
                self.places.borrow_mut()[to] = Some(Place::unseen(Some((id, key))));
            }
            Err(refused) => {
                actor.says(self, format!("is refused that: {}", refused.error));
                self.refused("R013", "to connect", &refused.error);
            }
        }
        Some(())
    }

    pub(super) fn accept(&self, actor: &Actor<'_>, at: usize, to: usize) -> Option<()> {
        let fd = self.fd(at).filter(|_| self.noun(at) == Some("listener"))?;
        if !self.is_free(to) {
            return None;
        }
        match fd.accept() {
            Ok((fd, _peer)) => {
                self.put(to, "tcp", fd, Rc::default());
                actor.says(self, format!("accepts tcp#{to}"));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                actor.says(self, "finds nobody to accept");
            }
            Err(error) => actor.says(self, format!("cannot accept: {error}")),
        }
        Some(())
    }

    /// Accepts in the listener's own callback, and registers what came.
    pub(super) fn admit(
        self: &Rc<Self>,
        actor: &Actor<'_>,
        op: &Op,
        at: usize,
        to: usize,
    ) -> Option<()> {
        let listens = self.noun(at) == Some("listener") && self.is_own(actor, at);
        let cx = actor.cx.filter(|_| listens && self.is_free(to))?;
        let accepted = match cx.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                actor.says(self, format!("accepts nothing: {error}"));
                return Some(());
            }
        };
        actor.says(self, format!("accepts tcp#{to} and registers it"));
        let id = self.made(format!("tcp#{to}"));
        let callbacks = self.wrapped(Scripted::new(self, id, to, &op.script));
        match cx.register_accepted(accepted, op.interest, callbacks) {
            Ok(key) => {
                self.enlist(id, Role::Stream, op.interest, Trigger::Level);
                self.places.borrow_mut()[to] = Some(Place::unseen(Some((id, key))));
            }
            Err(refused) => {
                actor.says(self, format!("is refused that: {}", refused.error));
                self.refused("R013", "an accepted connection", &refused.error);
            }
        }
        Some(())
    }

    /// Lets the loop accept. What a listener of the loop's own does about a lack of descriptors is
    /// its own affair: it may be paused, with a timer that no model knows.
    pub(super) fn serve(
        self: &Rc<Self>,
        actor: &Actor<'_>,
        op: &Op,
        at: usize,
        to: usize,
    ) -> Option<()> {
        let listens = self.noun(at) == Some("listener") && self.registered(at).is_none();
        let fd = self.fd(at).filter(|_| listens)?;
        let name = self.place_name(at)?;
        actor.says(self, format!("lets the loop accept at {name}"));
        let id = self.made(name);
        let (probe, script) = (Probe::new(self, id), op.script.clone());
        let accept = move |_: &Cx<'_>, _: &Accepted| probe.stage.accepts(id, to, &script);
        match actor.handle.listen(fd.shared(), accept) {
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
                actor.says(self, format!("is refused that: {}", refused.error));
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
            self.story
                .tell(&name, "accepts a connection, and closes it");
            return None;
        }
        self.story.tell(&name, format!("accepts tcp#{to}"));
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
