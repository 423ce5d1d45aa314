//! The state of a server: its listener, its connections, and its end.
//!
//! A connection counts as a member from before its registration is made until the registration is dropped, for whatever
//! reason: the connection owns a [`Member`], which removes it when dropped. In the same way the listener owns a
//! [`Listening`].
//!
//! Rule: D4.

use super::closed::{Closed, ServerClosed};
use super::handle::Transport;
use crate::base::slab::{Slab, SlabKey};
use crate::event_loop::call_handles::TimerHandle;
use crate::event_loop::registry::Key;
use crate::event_loop::{LoopHandle, WeakHandle};
use crate::poll::Interest;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

/// How a server ends its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Drain,
    Abort,
}

/// What a server, its listener and its connections share.
pub(super) struct ServerState {
    pub(super) handle: WeakHandle,
    pub(super) site: &'static Location<'static>,
    /// `None` before the listener is registered, and after it has gone.
    pub(super) listener: Cell<Option<Key>>,
    has_listener: Cell<bool>,
    members: RefCell<Slab<Transport>>,
    limit: Cell<usize>,
    /// The listener is paused until a connection has ended.
    is_full: Cell<bool>,
    counts: Cell<ServerClosed>,
    /// The timers of `drain`. They are cancelled when the server is closed, because they would keep the loop running.
    limits: RefCell<Vec<TimerHandle>>,
    /// How the connections are ended, for one that is being made meanwhile.
    ending: Cell<Ending>,
    pub(super) closed: Rc<Closed>,
}

impl ServerState {
    pub(super) fn new(handle: &LoopHandle, site: &'static Location<'static>) -> Rc<Self> {
        Rc::new(Self {
            handle: handle.weak_handle(),
            site,
            listener: Cell::new(None),
            has_listener: Cell::new(true),
            members: RefCell::default(),
            limit: Cell::new(usize::MAX),
            is_full: Cell::new(false),
            counts: Cell::default(),
            limits: RefCell::default(),
            ending: Cell::new(Ending::No),
            closed: Rc::default(),
        })
    }

    pub(super) fn connections(&self) -> usize {
        self.members.borrow().len()
    }

    /// All connections, for calls that are made without a borrow.
    pub(super) fn all(&self) -> Vec<Transport> {
        let members = self.members.borrow();
        members.iter().map(|(_, member)| member.clone()).collect()
    }

    /// Asks all connections to end.
    pub(super) fn drain(&self) {
        if self.ending.get() == Ending::No {
            self.ending.set(Ending::Drain);
        }
        for transport in self.all() {
            transport.ask_to_drain();
        }
    }

    /// Closes all connections at once.
    pub(super) fn abort(&self) {
        self.ending.set(Ending::Abort);
        for transport in self.all() {
            self.abort_one(&transport);
        }
    }

    fn abort_one(&self, transport: &Transport) {
        if !transport.has_ended() {
            let mut counts = self.counts.get();
            counts.aborted += 1;
            self.counts.set(counts);
            transport.abort();
        }
    }

    /// Ends a new connection in the way in which the others were ended while it was made: by the factory itself.
    pub(super) fn end_new(&self, transport: &Transport) {
        match self.ending.get() {
            Ending::No => {}
            Ending::Drain => transport.ask_to_drain(),
            Ending::Abort => self.abort_one(transport),
        }
    }

    /// Keeps the timer that ends a drain, until the server is closed.
    pub(super) fn keep_limit(&self, timer: TimerHandle) {
        self.limits.borrow_mut().push(timer);
    }

    pub(super) fn is_accepting(&self) -> bool {
        self.listener.get().is_some() && !self.is_full.get()
    }

    pub(super) fn limit(&self, limit: usize) {
        self.limit.set(limit);
        self.adjust();
    }

    /// Pauses the listener while the server has as many connections as its limit allows.
    pub(super) fn adjust(&self) {
        let is_full = self.connections() >= self.limit.get();
        if is_full == self.is_full.get() {
            return;
        }
        self.is_full.set(is_full);
        let interest = match is_full {
            true => Interest::NONE,
            false => Interest::READ,
        };
        if let Some(listener) = self.listener.get() {
            // An error: the listener has ended, or the loop is closed.
            let _ = self
                .handle
                .with(|handle| handle.set_interest_of(listener, interest));
        }
    }

    /// Closes the listener. The connections go on.
    pub(super) fn stop_accepting(&self) {
        if let Some(listener) = self.listener.get() {
            // An error: the listener has ended already.
            let _ = self.handle.with(|handle| handle.remove(listener));
        }
    }

    /// If neither listener nor connections are left, queues the callbacks and wakes the tasks that wait for the end.
    fn check_closed(&self) {
        if !self.has_listener.get() && self.connections() == 0 {
            for limit in self.limits.take() {
                limit.cancel();
            }
            self.closed.set(&self.handle, self.site, self.counts.get());
        }
    }
}

/// The entry of a connection in the table of its server, which the drop removes.
pub(super) struct Member {
    server: Rc<ServerState>,
    key: SlabKey,
}

impl Member {
    pub(super) fn new(server: &Rc<ServerState>, transport: &Transport) -> Self {
        let key = server.members.borrow_mut().insert(transport.clone());
        let mut counts = server.counts.get();
        counts.served += 1;
        server.counts.set(counts);
        Self {
            server: Rc::clone(server),
            key,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let removed = self.server.members.borrow_mut().remove(self.key);
        drop(removed); // no user code: the connection has another one
        self.server.adjust();
        self.server.check_closed();
    }
}

/// Exists as long as the listener of a server.
pub(super) struct Listening(pub(super) Rc<ServerState>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listener.set(None);
        self.0.has_listener.set(false);
        self.0.check_closed();
    }
}
