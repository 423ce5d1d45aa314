//! The tasks that accept the connections of a server, and bring each to its core.
//!
//! A task accepts on each core that has a listening socket. It gives a connection to its own core, or
//! hands it to another one by a message; a core that has ended returns it, and the next one gets it. When
//! the server is closed or the core is shut down, the task accepts what the system has queued, and ends.
//!
//! A connection whose message is never read, because its core has ended, goes to the next core, too. So
//! none is lost on its way (M5).
//!
//! In the notes: "connect ready" (N7), on more than one core (N12).

use super::connections::{Arrival, Connections};
use super::group::Group;
use super::listen::Distribution;
use super::seat::Seat;
use crate::event_loop::{BACKLOG, LoopClosed, LoopHandle, Unhandled, WeakHandle};
use crate::group::token::CancellationToken;
use crate::io::TcpListener;
use crate::time::sleep::yield_now;
use std::cell::Cell;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::Location;
use std::sync::Arc;

/// A server, as the tasks on its cores know it.
#[derive(Clone)]
pub(super) struct ServerInfo {
    /// Names the server on each core.
    pub(super) id: u64,
    pub(super) addr: SocketAddr,
    pub(super) distribution: Distribution,
    pub(super) connections: Connections,
    pub(super) group: Arc<Group>,
    /// The line that made it, which reports name.
    pub(super) site: &'static Location<'static>,
}

/// What hands out connections. Dropping it removes the server from every core.
struct HandsOut(ServerInfo);

impl Drop for HandsOut {
    fn drop(&mut self) {
        let Self(ServerInfo { id, group, .. }) = self;
        let id = *id;
        for remote in &group.remotes {
            // Behind the connections that were handed to that core.
            let _ended =
                remote.call_soon(move |handle| Seat::of(handle).remove_service(handle, id));
        }
    }
}

/// What accepts on a core: made where the server is made, run on the core. If it is dropped before, the
/// listening socket is closed.
pub(super) struct Acceptor {
    server: ServerInfo,
    core: usize,
    listener: net::TcpListener,
    hands_out: Option<HandsOut>,
}

impl Acceptor {
    pub(super) fn new(
        server: ServerInfo,
        core: usize,
        listener: net::TcpListener,
        hands_out: bool,
    ) -> Self {
        let hands_out = hands_out.then(|| HandsOut(server.clone()));
        Self {
            server,
            core,
            listener,
            hands_out,
        }
    }

    /// Starts the task, on its core. The server is installed there.
    pub(super) fn start(self, handle: &LoopHandle) {
        let site = self.server.site;
        drop(handle.spawn_at(self.run(), site));
    }

    async fn run(self) {
        let Self {
            server,
            core,
            listener,
            hands_out,
        } = self;
        let fd = listener.as_raw_fd();
        let Some(handle) = WeakHandle::current() else {
            return;
        };
        // Without a token the server is not installed here, because making it has panicked.
        let token = handle.with(|handle| Seat::of(handle).service_token(server.id));
        let Some(stop) = token.flatten() else {
            return;
        };
        let next = Cell::new(0_usize);
        let place = |stream, peer| {
            handle.with(|handle| match hands_out {
                Some(_) => {
                    let order = server.connections.order(
                        server.distribution,
                        next.replace(next.get().wrapping_add(1)),
                    );
                    hand_out(&server, (core, order), handle, (stream, peer, fd));
                }
                None => open_here(&server, core, handle, (stream, peer, fd)),
            });
        };
        let accepted = accept_all(&server, listener, stop, place).await;
        if let Err(error) = accepted {
            let addr = Some(server.addr);
            handle.report(&Unhandled::ListenerFailed { fd, addr, error });
        }
        if hands_out.is_none() {
            handle.with(|handle| Seat::of(handle).remove_service(handle, server.id));
        }
    }
}

/// Accepts until the token is cancelled, and then what is queued.
async fn accept_all(
    server: &ServerInfo,
    listener: net::TcpListener,
    stop: CancellationToken,
    place: impl Fn(net::TcpStream, SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // A connection that is always ready would win over the token.
    while !stop.is_cancelled() {
        let accepted = stop.run_until_cancelled(listener.accept_unregistered());
        let Some(accepted) = accepted.await else {
            break;
        };
        let (stream, peer) = accepted?;
        place(stream, peer);
        if server.distribution == Distribution::Shared {
            // R349: the next connection of a burst may be another core's.
            yield_now().await;
        }
    }
    // M5: their clients are connected. Not for ever, if more and more come.
    for _ in 0..BACKLOG {
        match listener.try_accept_unregistered() {
            Ok((stream, peer)) => place(stream, peer),
            Err(_) => break,
        }
    }
    Ok(())
}

type Accepted = (net::TcpStream, SocketAddr, RawFd);

fn open_here(server: &ServerInfo, core: usize, handle: &LoopHandle, accepted: Accepted) {
    let (stream, peer, listener) = accepted;
    let arrival = Arrival {
        stream,
        peer,
        listener,
        addr: server.addr,
        open: server.connections.add(core),
    };
    Seat::of(handle).arrive(handle, server.id, arrival);
}

/// A connection on its way to another core. If the loop of that core is closed before it has read the
/// message (R348), or the server could not be made there (R352), the next core gets the connection.
struct Handed {
    server: ServerInfo,
    core: usize,
    /// How many cores have not taken it.
    tries: usize,
    arrival: Option<Arrival>,
}

impl Handed {
    fn arrive(mut self, handle: &LoopHandle) {
        let (seat, id) = (Seat::of(handle), self.server.id);
        let is_last = self.tries + 1 >= self.server.group.count();
        if !is_last && seat.service_token(id).is_none() {
            return; // its drop sends it on
        }
        if let Some(arrival) = self.arrival.take() {
            seat.arrive(handle, id, arrival);
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let Some(arrival) = self.arrival.take() else {
            return;
        };
        let Arrival {
            stream,
            peer,
            listener,
            open,
            ..
        } = arrival;
        open.refused();
        let cores = self.server.group.count();
        let tries = self.tries + 1;
        let others = (1..cores).map(|n| (self.core + n) % cores);
        // Each core closes its loop once, so this ends. If all have, the connection is closed.
        let _closed = send(&self.server, (tries, others), (stream, peer, listener));
    }
}

/// M5: sends a connection, which so many cores have not taken, to the first of these cores whose loop is
/// open. Returns it if none is.
fn send(
    server: &ServerInfo,
    (tries, cores): (usize, impl Iterator<Item = usize>),
    accepted: Accepted,
) -> Result<(), Accepted> {
    let (mut stream, peer, listener) = accepted;
    for core in cores {
        let handed = Handed {
            arrival: Some(Arrival {
                stream,
                peer,
                listener,
                addr: server.addr,
                open: server.connections.add(core),
            }),
            server: server.clone(),
            core,
            tries,
        };
        let arrive = |handed: Handed, handle: &LoopHandle| handed.arrive(handle);
        let Err(LoopClosed(mut refused)) =
            server.group.remotes[core].call_soon_with(handed, arrive)
        else {
            return Ok(());
        };
        let Some(arrival) = refused.arrival.take() else {
            return Ok(()); // not reached: it is taken on arrival
        };
        arrival.open.refused();
        stream = arrival.stream;
    }
    Err((stream, peer, listener))
}

/// M5: hands a connection to the next core that takes it. The own one always does.
fn hand_out(
    server: &ServerInfo,
    (own, order): (usize, Vec<usize>),
    handle: &LoopHandle,
    accepted: Accepted,
) {
    let before = order.iter().take_while(|&&core| core != own).copied();
    if let Err(accepted) = send(server, (0, before), accepted) {
        open_here(server, own, handle, accepted);
    }
}
