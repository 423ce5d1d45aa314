//! Deeds that move bytes, and that end a direction or a connection.
//!
//! What is written counts up, byte by byte, for each end; so whoever reads knows which byte must
//! come next, and what is lost, doubled or out of order is seen at once.
//!
//! In the notes these are *read ready*, *write ready* and *hangup* (N7).

use super::actor::Actor;
use super::op::{Op, Verb};
use super::stage::{Flow, Held, Stage};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::rc::Rc;

/// As many bytes an operation moves at most.
const MOST: usize = 128;

/// So many bytes, in words.
fn bytes(n: usize) -> String {
    match n {
        1 => "1 byte".to_owned(),
        n => format!("{n} bytes"),
    }
}

impl Stage {
    /// `None` if the operation is none of these, or does not fit.
    pub(super) fn to_bytes(&self, actor: &Actor<'_>, op: &Op, at: usize) -> Option<()> {
        let name = self
            .place_name(at)
            .filter(|name| !name.starts_with("listener"))?;
        match op.verb {
            Verb::Read => self.read(actor, at, op.number.min(MOST), &name),
            Verb::Write => self.write(actor, at, op.number.min(MOST), &name),
            Verb::Shut => self.shut(actor, at, Shutdown::Write, &name),
            Verb::ShutRead => self.shut(actor, at, Shutdown::Read, &name),
            Verb::ShutBoth => self.shut(actor, at, Shutdown::Both, &name),
            Verb::Reset => self.reset(actor, at, &name),
            Verb::Urgent => {
                let sent = self.fd(at)?.send_urgent();
                self.tells(actor, sent, &format!("sends an urgent byte by {name}"));
                Some(())
            }
            Verb::Narrow => {
                self.fd(at)?.set_capacity(op.number.max(1));
                let room = op.number.max(1);
                actor.says(self, format!("leaves room for {} in {name}", bytes(room)));
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

    fn read(&self, actor: &Actor<'_>, at: usize, most: usize, name: &str) -> Option<()> {
        let flow = self.flow(at)?;
        let mut buffer = [0; MOST];
        let buffer = &mut buffer[..most];
        let own = actor.cx.filter(|_| self.is_own(actor, at));
        let (read, whose) = match own {
            Some(cx) => (cx.read(buffer), String::new()),
            None => (self.fd(at)?.read(buffer), format!(" from {name}")),
        };
        match read {
            Ok(n) if !self.is_stream(at) => actor.says(self, format!("reads {}{whose}", bytes(n))),
            Ok(0) if most > 0 => actor.says(self, format!("reads the end{whose}")),
            Ok(n) => {
                actor.says(self, format!("reads {}{whose}", bytes(n)));
                for &byte in &buffer[..n] {
                    if byte != flow.got.replace(byte.wrapping_add(1)) {
                        self.breaks("R025", format!("a byte of {name} is not the next one"));
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                actor.says(self, format!("finds nothing to read{whose}"));
            }
            Err(error) => actor.says(self, format!("cannot read{whose}: {}", error.kind())),
        }
        Some(())
    }

    fn write(&self, actor: &Actor<'_>, at: usize, len: usize, name: &str) -> Option<()> {
        let flow = self.flow(at)?;
        let next = |n| flow.sent.get().wrapping_add(n as u8);
        let content: Vec<u8> = (0..len).map(next).collect();
        let own = actor.cx.filter(|_| self.is_own(actor, at));
        let (written, whose) = match own {
            Some(cx) => (cx.write(&content), String::new()),
            None => (self.fd(at)?.write(&content), format!(" to {name}")),
        };
        match written {
            Ok(n) => {
                flow.sent.set(flow.sent.get().wrapping_add(n as u8));
                actor.says(self, format!("writes {}{whose}", bytes(n)));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                actor.says(self, format!("finds no room to write{whose}"));
            }
            Err(error) => actor.says(self, format!("cannot write{whose}: {}", error.kind())),
        }
        Some(())
    }

    fn shut(&self, actor: &Actor<'_>, at: usize, how: Shutdown, name: &str) -> Option<()> {
        let own = actor.cx.filter(|_| self.is_own(actor, at));
        let shut = match own {
            Some(cx) => cx.shutdown(how),
            None => self.fd(at)?.shutdown(how),
        };
        let half = match how {
            Shutdown::Write => "the writing half",
            Shutdown::Read => "the reading half",
            Shutdown::Both => "both halves",
        };
        self.tells(actor, shut, &format!("shuts {half} of {name}"));
        Some(())
    }

    /// Only what is not registered: a registration closes its descriptor by itself.
    fn reset(&self, actor: &Actor<'_>, at: usize, name: &str) -> Option<()> {
        let place = self.places.borrow_mut()[at].take_if(|place| place.registered.is_none())?;
        actor.says(self, format!("resets {name}"));
        if let Held::Ours(fd) = place.held {
            if let Some(fd) = Rc::into_inner(fd) {
                fd.reset();
            }
        }
        Some(())
    }

    fn tells(&self, actor: &Actor<'_>, done: io::Result<()>, what: &str) {
        match done {
            Ok(()) => actor.says(self, what),
            Err(error) => actor.says(self, format!("{what}, in vain: {}", error.kind())),
        }
    }
}
