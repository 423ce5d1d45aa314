//! The state of a core on its own thread: its servers, the request to stop, and when the core has to end.
//!
//! It is attached to the loop of the core, where the messages of a shutdown, and of a core that hands
//! out connections, find it.
//!
//! Rules: M2, M5.

use super::connections::Arrival;
use super::now;
use crate::event_loop::{Attachment, LoopHandle, ReportLimit, Unhandled, current};
use crate::group::token::CancellationToken;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A limit that no clock can reach counts as this one.
const FAR: Duration = Duration::from_secs(1 << 32);

/// The state of a core. A clone is of the same core.
#[derive(Clone, Default)]
pub(super) struct Seat(Rc<State>);

#[derive(Default)]
struct State {
    stop: CancellationToken,
    /// The earliest limit of the shutdowns so far.
    deadline: Cell<Option<Instant>>,
    services: RefCell<Vec<Service>>,
}

/// What a core does with a connection of a server.
pub(super) type OpenConnection = dyn Fn(&LoopHandle, Arrival) -> io::Result<()>;

/// A server, as it is installed on a core.
#[derive(Clone)]
pub(super) struct Service {
    id: u64,
    open: Rc<OpenConnection>,
    stop: CancellationToken,
    /// Limits the reports of connections that it has lost.
    losses: Rc<RefCell<ReportLimit>>,
}

impl Service {
    /// Makes the server with this id, which ends with `stop`, or alone.
    pub(super) fn new(id: u64, open: Rc<OpenConnection>, stop: &CancellationToken) -> Self {
        Self {
            id,
            open,
            stop: stop.child_token(),
            losses: Rc::default(),
        }
    }
}

impl Seat {
    /// Returns the state of the core that this loop is, made by the first call.
    pub(super) fn of(handle: &LoopHandle) -> Self {
        handle.attached(Self::default, Self::clone)
    }

    /// The token that a shutdown cancels.
    pub(super) fn stop_token(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// When the core has to end; `None` if no shutdown has begun.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    pub(super) fn add_service(&self, service: Service) {
        self.0.services.borrow_mut().push(service);
    }

    /// Removes a server, whose closures are user code.
    pub(super) fn remove_service(&self, handle: &LoopHandle, id: u64) {
        let mut services = self.0.services.borrow_mut();
        let index = services.iter().position(|service| service.id == id);
        let removed = index.map(|index| services.swap_remove(index));
        drop(services); // L8
        handle.drop_guarded(removed);
    }

    fn service(&self, id: u64) -> Option<Service> {
        let services = self.0.services.borrow();
        services.iter().find(|service| service.id == id).cloned()
    }

    /// Returns the token that ends this server on this core; `None` if it is not installed here.
    pub(super) fn service_token(&self, id: u64) -> Option<CancellationToken> {
        Some(self.service(id)?.stop)
    }

    /// M5: opens a connection of a server. One that cannot be opened is closed, and reported.
    pub(super) fn arrive(&self, handle: &LoopHandle, id: u64, arrival: Arrival) {
        let (fd, peer) = (arrival.listener, Some(arrival.peer));
        let addr = Some(arrival.addr);
        let service = self.service(id);
        let opened = match &service {
            Some(service) => (service.open)(handle, arrival),
            None => Err(io::Error::other("the server was not made on this core")),
        };
        let Err(error) = opened else { return };
        let admitted = match &service {
            Some(service) => service.losses.borrow_mut().allows(handle.fresh_now()),
            None => Some(0),
        };
        if let Some(held_back) = admitted {
            handle.report(&Unhandled::ConnectionLost {
                fd,
                addr,
                peer,
                error,
                held_back,
            });
        }
    }

    /// M2: a shutdown has begun. The run of the loop returns after this turn, and the core goes on until
    /// it has no work left, or until its deadline.
    pub(super) fn stop(handle: &LoopHandle, limit: Duration) {
        let seat = Self::of(handle);
        let now = now();
        let until = now.checked_add(limit.min(FAR)).unwrap_or(now);
        let earliest = seat
            .deadline()
            .map_or(until, |deadline| deadline.min(until));
        if seat.0.deadline.replace(Some(earliest)).is_none() {
            seat.0.stop.cancel_with("the cores are shut down");
            handle.stop();
        }
    }
}

impl Attachment for Seat {
    fn close(&self) {
        // One by one: if two destructors panic, the second would abort the process.
        for service in self.0.services.take() {
            current::with(|handle| handle.drop_guarded(service));
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
