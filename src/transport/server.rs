//! A server: a protocol for each connection of a listener.
//!
//! There are three ways to end it: `stop_accepting` leaves the connections open, `drain` asks them to end within a
//! limit, and `abort` ends them at once.
//!
//! In asyncio: `create_server` and `Server`.

use super::closed::{ServerClosed, WaitClosed};
use super::connection::Connection;
use super::handle::Transport;
use super::members::{Listening, Member, ServerState};
use super::protocol::Protocol;
use super::state::Start;
use crate::event_loop::loop_handle::Cx;
use crate::event_loop::{Accepted, Descriptor, LoopHandle, RegisterError};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// The handle of a server of [`LoopHandle::create_server`]. A clone refers to the same server. Dropping all clones
/// does not end it.
#[derive(Clone)]
pub struct Server {
    state: Rc<ServerState>,
}

impl LoopHandle {
    /// Accepts the connections of a listener, as [`LoopHandle::listen`] does, and makes a transport for each, with the
    /// protocol that `factory` returns. If `factory` returns `None`, the connection is closed.
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::listen`], with `factory`.
    ///
    /// # Examples
    ///
    /// See [the module](crate::transport).
    #[doc(alias = "start_server")]
    #[doc(alias = "create_unix_server")]
    #[track_caller]
    pub fn create_server<F, P>(
        &self,
        listener: impl Into<Descriptor>,
        factory: F,
    ) -> Result<Server, RegisterError<F>>
    where
        F: FnMut(&Cx<'_>, &Accepted) -> Option<P> + 'static,
        P: Protocol + 'static,
    {
        let site = Location::caller();
        let state = ServerState::new(self, site);
        let listening = Listening(Rc::clone(&state));
        // Shared, so that it can be returned if the listener is refused.
        let factory = Rc::new(RefCell::new(factory));
        let make = Rc::clone(&factory);
        let accept = move |cx: &Cx<'_>, accepted: &Accepted| {
            let state = &listening.0;
            let protocol = make.borrow_mut()(cx, accepted)?;
            let transport = Transport::new(cx, Start::New, accepted.peer, site);
            let member = Member::new(state, &transport);
            let connection = Connection::new(cx, protocol, &transport, Some(member));
            state.adjust();
            state.end_new(&transport);
            Some(connection)
        };
        match self.listen(listener, accept) {
            Ok(key) => {
                state.listener.set(Some(key));
                Ok(Server { state })
            }
            Err(refused) => {
                let RegisterError {
                    error,
                    descriptor,
                    callbacks,
                } = refused;
                drop(callbacks);
                let factory = Rc::into_inner(factory).map(RefCell::into_inner);
                Err(RegisterError {
                    error,
                    descriptor,
                    callbacks: factory.expect("the listener has dropped its reference"),
                })
            }
        }
    }
}

impl Server {
    /// Whether the server accepts connections. `false` after the listener is closed, and while there are as many
    /// connections as [`limit_connections`](Self::limit_connections) allows. In the second case new clients wait, and
    /// are not refused.
    #[must_use]
    #[doc(alias = "is_serving")]
    pub fn is_accepting(&self) -> bool {
        self.state.is_accepting()
    }

    /// Returns the address on which the server listens.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `Unsupported` if the address is no IP address; `NotFound` if the listener is closed.
    #[doc(alias = "sockets")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let not_found = || io::Error::from(io::ErrorKind::NotFound);
        let key = self.state.listener.get().ok_or_else(not_found)?;
        let found = self
            .state
            .handle
            .with(|handle| handle.with_fd_of(key, |fd| fd.local_addr()));
        found.unwrap_or_else(|| Err(not_found()))
    }

    /// Returns the transports of all connections, in no particular order.
    #[must_use]
    pub fn connections(&self) -> Vec<Transport> {
        self.state.all()
    }

    /// Limits the number of open connections. At the limit the server accepts no more: new connections wait in
    /// the queue of the system, whose length is the backlog of the listener. By default there is no limit.
    ///
    /// # Panics
    ///
    /// If `limit` is zero: to accept none, use [`stop_accepting`](Self::stop_accepting).
    pub fn limit_connections(&self, limit: usize) {
        assert!(
            limit > 0,
            "a server with no connections at all accepts none"
        );
        self.state.limit(limit);
    }

    /// Closes the listener. Open connections go on, and the server is closed when the last of them has ended.
    /// Connections in the queue of the system, which were not accepted yet, are reset.
    #[doc(alias = "close")]
    pub fn stop_accepting(&self) {
        self.state.stop_accepting();
    }

    /// Closes the listener, and asks each connection to end: calls [`Protocol::server_draining`], which by default
    /// closes the transport when its buffer has been sent. When `limit` has passed, the connections that are left are
    /// aborted. So the server keeps the loop running for this time at most.
    ///
    /// After a second call the earlier of the two limits counts.
    #[doc(alias = "close_clients")]
    #[track_caller]
    pub fn drain(&self, limit: Duration) {
        self.stop_accepting();
        self.state.drain();
        if self.state.closed.get().is_none() {
            let state = Rc::downgrade(&self.state);
            let timer = self.state.handle.call_later(limit, move |_handle| {
                if let Some(state) = Weak::upgrade(&state) {
                    state.abort();
                }
            });
            if let Ok(timer) = timer {
                self.state.keep_limit(timer);
            }
        }
    }

    /// Closes the listener and all connections at once. Bytes in the write buffers are lost.
    #[doc(alias = "abort_clients")]
    pub fn abort(&self) {
        self.stop_accepting();
        self.state.abort();
    }

    /// Runs `f` soon after the server is closed, which means that its listener is closed and its last connection has
    /// ended. If the server is closed already, `f` runs soon. If the loop is closed first, `f` is dropped.
    pub fn on_closed(&self, f: impl FnOnce(&LoopHandle, ServerClosed) + 'static) {
        let state = &self.state;
        state.closed.call(&state.handle, state.site, Box::new(f));
    }

    /// Waits until the server is closed, which means that its listener is closed and its last connection has ended.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn wait_closed(&self) -> ServerClosed {
        WaitClosed::new(&self.state.closed).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.state.listener.get())
            .field("connections", &self.state.connections())
            .field("closed", &self.state.closed.get())
            .finish_non_exhaustive()
    }
}
