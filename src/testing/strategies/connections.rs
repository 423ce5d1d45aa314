//! Deeds that are about connections: listening, connecting, accepting.
//!
//! A listener is a registration like others, whose connect branch accepts if its script says so;
//! an outgoing connection is the loop's own, and nobody but its callbacks has its descriptor.
//!
//! In the notes this is the branch *connect ready* (N7).

use super::actor::Actor;
use super::op::Op;
use super::scripted::Scripted;
use super::stage::{Held, Place, Stage};
use crate::event_loop::Role;
use crate::poll::{Interest, Trigger};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

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
        let whom = match addr {
            Some(_) => self.place_name(at)?,
            None => "nobody".to_owned(),
        };
        drop(listener);
        actor.says(self, format!("connects tcp#{to} to {whom}"));
        let id = self.made(format!("tcp#{to}"));
        let callbacks = self.wrapped(Scripted::new(self, id, to, &op.script));
        match actor.local.connect(addr.unwrap_or_else(nowhere), callbacks) {
            Ok(key) => {
                self.enlist(id, Role::Connecting, Interest::BOTH, Trigger::Level);
                self.places.borrow_mut()[to] = Some(Place {
                    noun: "tcp",
                    held: Held::Unseen,
                    flow: Rc::default(),
                    registered: Some((id, key)),
                });
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
}
