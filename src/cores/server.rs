//! Servers on several cores, in both styles: a future for each connection, or callbacks.
//!
//! A server is installed on each core by a closure that runs there, so what it makes for its connections
//! need not be `Send`, and is not shared: a cache of the core, for instance.
//!
//! In asyncio: `start_server` and `create_server`; in the notes, "connect ready" (N7).

use super::accept::{Acceptor, ServerInfo};
use super::connections::{Connections, CoreConnections};
use super::core::{Core, current};
use super::error::ListenError;
use super::handle::CoresHandle;
use super::listen::{ListenOptions, Listeners, ServeError};
use super::open::{accept_one, serve_one};
use super::seat::{OpenConnection, Seat, Service};
use crate::base::unique_id;
use crate::event_loop::loop_handle::Callbacks;
use crate::event_loop::{Accepted, LoopHandle};
use crate::io::TcpStream;
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// The handle of a server of [`CoresHandle::serve`] or [`CoresHandle::listen`]. Dropping the handle does not close the
/// server, which goes on until [`close`](Self::close), or until the cores are shut down.
#[derive(Clone)]
pub struct Server {
    info: ServerInfo,
}

impl Server {
    /// Returns the address on which the server listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.info.addr
    }

    /// Returns the numbers of connections of each core.
    #[must_use]
    pub fn connections(&self) -> Vec<CoreConnections> {
        self.info.connections.get()
    }

    /// Asks each core to close its listening socket, and does not wait until they have. Connections in the queue of
    /// the system are accepted first; open connections go on. A client that connects at the moment of the close may
    /// be reset, or, on Linux, may stay connected, with no connection at the other end, until it sends.
    pub fn close(&self) {
        let id = self.info.id;
        for remote in &self.info.group.remotes {
            let _ended = remote.call_soon(move |handle| {
                if let Some(token) = Seat::of(handle).service_token(id) {
                    token.cancel();
                }
            });
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addr", &self.info.addr)
            .field("distribution", &self.info.distribution)
            .finish_non_exhaustive()
    }
}

impl CoresHandle {
    /// Serves the connections of a listener on all cores, each by a task. `service` is called once on each
    /// core, and returns the function that makes the future of a connection there. Neither it nor the
    /// future need be `Send`.
    ///
    /// The listening sockets are open when this returns. At a shutdown each core stops accepting, and waits for the
    /// tasks of its connections until the limit. A task that waits for a request should therefore end when
    /// [`Core::stop_token`] is cancelled. If the task of a connection panics, the connection is closed, and the panic
    /// is reported. If `service` panics on a core, that is reported, and the core takes no connections; if it is the
    /// core that accepts for all, the listening socket is closed.
    ///
    /// # Errors
    ///
    /// [`ServeError`], with the arguments in it: as `bind(2)`, or the cores have ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::cores::Cores;
    /// use readily::io::TcpStream;
    /// use std::io::{Read, Write};
    /// use std::time::Duration;
    ///
    /// async fn echo(stream: TcpStream) -> std::io::Result<()> {
    ///     let mut buffer = [0; 1024];
    ///     loop {
    ///         match stream.read(&mut buffer).await? {
    ///             0 => return Ok(()),
    ///             n => stream.write_all(&buffer[..n]).await?,
    ///         }
    ///     }
    /// }
    ///
    /// let cores = Cores::builder().count(2).build()?;
    /// let server = cores.serve(([127, 0, 0, 1], 0), |_core| {
    ///     |stream, peer| async move {
    ///         if let Err(error) = echo(stream).await {
    ///             eprintln!("{peer}: {error}");
    ///         }
    ///     }
    /// })?;
    /// let mut client = std::net::TcpStream::connect(server.local_addr())?;
    /// client.write_all(b"hello")?;
    /// let mut answer = [0; 5];
    /// client.read_exact(&mut answer)?;
    /// assert_eq!(&answer, b"hello");
    /// drop(client);
    /// assert!(cores.shutdown(Duration::from_secs(5)).wait()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "start_server")]
    #[track_caller]
    pub fn serve<S, H, F>(
        &self,
        listen: impl Into<ListenOptions>,
        service: S,
    ) -> Result<Server, ServeError<S>>
    where
        S: Fn(&Core) -> H + Send + Sync + 'static,
        H: Fn(TcpStream, SocketAddr) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let site = Location::caller();
        self.start_server(listen.into(), service, site, move |service, core| {
            let handler = Rc::new(service(core));
            Rc::new(move |handle, arrival| serve_one(handle, &handler, arrival, site))
        })
    }

    /// Serves the connections of a listener on all cores, each by callbacks. `service` is called once on each
    /// core, and returns the function that makes the callbacks of a connection there, as in
    /// [`LoopHandle::listen`]: with `None` the connection is closed.
    ///
    /// All else is as in [`serve`](Self::serve). At a shutdown a core waits until its registrations have
    /// ended: let the callbacks of idle connections close them by
    /// [`CancellationToken::on_cancel`](crate::CancellationToken::on_cancel) of [`Core::stop_token`].
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::Closures;
    /// use readily::cores::{Cores, Distribution, ListenOptions};
    /// use std::io::{Read, Write};
    ///
    /// let cores = Cores::builder().count(2).build()?;
    /// let addr = ListenOptions::new(([127, 0, 0, 1], 0)).distribution(Distribution::RoundRobin);
    /// let server = cores.listen(addr, |_core| {
    ///     |_handle: &readily::LoopHandle, _accepted: &readily::event_loop::Accepted| {
    ///         Some(Closures::new().on_read(|cx| {
    ///             let mut buffer = [0; 1024];
    ///             match cx.read(&mut buffer) {
    ///                 Ok(n) if n > 0 => drop(cx.write(&buffer[..n])),
    ///                 _ => cx.close(),
    ///             }
    ///         }))
    ///     }
    /// })?;
    /// let mut client = std::net::TcpStream::connect(server.local_addr())?;
    /// client.write_all(b"hello")?;
    /// let mut answer = [0; 5];
    /// client.read_exact(&mut answer)?;
    /// assert_eq!(&answer, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "create_server")]
    #[track_caller]
    pub fn listen<S, A, C>(
        &self,
        listen: impl Into<ListenOptions>,
        service: S,
    ) -> Result<Server, ServeError<S>>
    where
        S: Fn(&Core) -> A + Send + Sync + 'static,
        A: FnMut(&LoopHandle, &Accepted) -> Option<C> + 'static,
        C: Callbacks + 'static,
    {
        let site = Location::caller();
        self.start_server(listen.into(), service, site, move |service, core| {
            let accept = RefCell::new(service(core));
            Rc::new(move |handle, arrival| accept_one(handle, &accept, arrival, site))
        })
    }

    fn start_server<S>(
        &self,
        listen: ListenOptions,
        service: S,
        site: &'static Location<'static>,
        make: impl Fn(&S, &Core) -> Rc<OpenConnection> + Copy + Send + 'static,
    ) -> Result<Server, ServeError<S>>
    where
        S: Send + Sync + 'static,
    {
        let refused = |reason, listen, service| ServeError {
            reason,
            listen,
            service,
        };
        if self.group.forked() {
            return Err(refused(ListenError::Forked, listen, service));
        }
        if (0..self.count()).all(|core| self.group.ends.has(core)) {
            return Err(refused(ListenError::Ended, listen, service));
        }
        let Listeners { by_core, addr } = match listen.open(self.count()) {
            Ok(listeners) => listeners,
            Err(reason) => return Err(refused(reason, listen, service)),
        };
        let info = ServerInfo {
            id: unique_id::next(),
            addr,
            distribution: listen.how(),
            connections: Connections::new(self.count()),
            group: Arc::clone(&self.group),
            site,
        };
        let service = Arc::new(service);
        for remote in &self.group.remotes {
            let (service, id) = (Arc::clone(&service), info.id);
            // A core that has ended takes no connections.
            let _ended = remote.call_soon(move |handle| {
                let install = || {
                    if let Some(core) = current() {
                        let service = Service::new(id, make(&service, &core), &core.stop_token());
                        Seat::of(handle).add_service(service);
                    }
                };
                handle.guard(install);
            });
        }
        // After the server is installed everywhere: connections may be handed to each core from now on.
        let mut has_started = false;
        for (core, listener) in by_core.into_iter().enumerate() {
            if let Some(listener) = listener {
                let acceptor = Acceptor::new(info.clone(), core, listener, listen.hands_out());
                let start = |acceptor: Acceptor, handle: &LoopHandle| acceptor.start(handle);
                has_started |= self.group.remotes[core]
                    .call_soon_with(acceptor, start)
                    .is_ok();
            }
        }
        match Arc::try_unwrap(service) {
            // All have ended meanwhile, and none has the service.
            Ok(service) if !has_started => Err(refused(ListenError::Ended, listen, service)),
            _ => Ok(Server { info }),
        }
    }
}
