//! The addresses of a name, and the name of an address.
//!
//! The system's functions block, so they run in the thread pool, in a lane of their own: a server of names
//! that does not answer holds up no file. On the kernel in memory there are the hosts that a test has given
//! it, and no network is asked.
//!
//! In asyncio: `loop.getaddrinfo` and `loop.getnameinfo`. In the notes: the thread pool makes what blocks
//! asynchronous (N3, N5).

use super::socket;
use super::to_socket_addrs::{Target, ToSocketAddrs};
use crate::event_loop::{Error, LoopHandle, current};
use crate::task::Task;
use readily_sys::names::{self, NameError};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;

/// Why a look-up failed: the inner error of the [`io::Error`] of [`lookup_host`] and [`lookup_addr`]. An error
/// of a system call comes as itself.
///
/// # Examples
///
/// ```
/// use readily::io::{LookupError, lookup_host};
///
/// let error = readily::run(lookup_host("no-such-name.invalid:80"))?.unwrap_err();
/// let error: Option<&LookupError> = error.get_ref().and_then(|error| error.downcast_ref());
/// // Without a network it is `TryAgain`.
/// assert!(matches!(error, Some(LookupError::NotFound { .. } | LookupError::TryAgain { .. })));
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such name, or the address has none. The kind of the error is
    /// [`NotFound`](io::ErrorKind::NotFound).
    #[error("{what} is not known")]
    NotFound {
        /// The name or the address.
        what: String,
    },
    /// No server of names has answered. Another attempt may succeed.
    #[error("no answer about {what}: try again")]
    TryAgain {
        /// The name or the address.
        what: String,
    },
    /// The system refused the name, or failed.
    #[error("{what} cannot be looked up: {message}")]
    Failed {
        /// The name or the address.
        what: String,
        /// What the system says.
        message: String,
    },
}

impl LookupError {
    fn of(what: String, error: NameError) -> io::Error {
        match error {
            NameError::NotFound => io::Error::new(io::ErrorKind::NotFound, Self::NotFound { what }),
            NameError::TryAgain => io::Error::other(Self::TryAgain { what }),
            NameError::ZeroByte => {
                let message = "it has a zero byte".to_owned();
                io::Error::new(io::ErrorKind::InvalidInput, Self::Failed { what, message })
            }
            NameError::Other(message) => io::Error::other(Self::Failed { what, message }),
            NameError::System(error) => error,
        }
    }
}

/// Looks up the addresses of a host, in the order in which they are to be tried.
///
/// A literal is returned at once, without a thread. A name is looked up as the system does it
/// (`/etc/hosts`, the servers of names) by a job in the loop's thread pool. At most eight, and at most half of
/// the pool's threads, do that at a time; more wait. There is no limit of time but the system's, which is some
/// seconds for each server: use [`wait_for`](crate::wait_for()).
///
/// On the kernel in memory the hosts are those of its own table, with `localhost` in it.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for a text that is neither an address nor a name with a port;
/// a [`LookupError`] inside; or no loop is running here.
///
/// # Cancellation
///
/// Dropping it loses the result. A look-up that waits for a thread is cancelled, and one that has begun keeps
/// its thread until the system returns.
///
/// # Examples
///
/// ```
/// use readily::io::lookup_host;
/// use std::time::Duration;
///
/// readily::run(async {
///     let second = Duration::from_secs(1);
///     let addrs = readily::wait_for(second, lookup_host("localhost:80")).await??;
///     assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 80));
///     Ok::<_, std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "getaddrinfo")]
#[track_caller]
pub fn lookup_host(host: impl ToSocketAddrs) -> impl Future<Output = io::Result<Vec<SocketAddr>>> {
    let (target, site) = (host.target(), Location::caller());
    async move { addresses(target?, site).await }
}

pub(super) async fn addresses(
    target: Target,
    site: &'static Location<'static>,
) -> io::Result<Vec<SocketAddr>> {
    let (name, port) = match target {
        Target::Addr(addr) => return Ok(vec![addr]),
        Target::Addrs(addrs) => return Ok(addrs),
        Target::Name(name, port) => (name, port),
    };
    if let Some(kernel) = socket::kernel() {
        let found = kernel.lookup_host(&name);
        let found = found.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LookupError::of(name, NameError::NotFound),
            _ => error,
        })?;
        return Ok(found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect());
    }
    let asked = name.clone();
    let found = in_pool(move || names::addresses(&asked, port), site).await?;
    found.map_err(|error| LookupError::of(name, error))
}

/// Looks up the name of an address.
///
/// It is found as [`lookup_host`] finds addresses, with the same limits. The kernel in memory has no names of
/// addresses, and refuses it as [`Unsupported`](io::ErrorKind::Unsupported).
///
/// # Errors
///
/// A [`LookupError`] inside; no loop is running here.
///
/// # Cancellation
///
/// As [`lookup_host`].
///
/// # Examples
///
/// ```
/// use readily::io::lookup_addr;
///
/// let name = readily::run(lookup_addr([127, 0, 0, 1]))?;
/// // Most machines have one, in /etc/hosts.
/// assert!(name.is_ok_and(|name| !name.is_empty()) || cfg!(not(target_os = "linux")));
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "getnameinfo")]
#[track_caller]
pub fn lookup_addr(ip: impl Into<IpAddr>) -> impl Future<Output = io::Result<String>> {
    let (ip, site) = (ip.into(), Location::caller());
    async move {
        if socket::kernel().is_some() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let found = in_pool(move || names::name(ip), site).await?;
        found.map_err(|error| LookupError::of(ip.to_string(), error))
    }
}

async fn in_pool<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
    site: &'static Location<'static>,
) -> io::Result<T> {
    let job = current::with(|handle| handle.run_lookup(f, site));
    let job = job.ok_or_else(|| Error::NoLoop.into_io())?;
    // Refused, because there is no thread: the pool is closed, or the system has none.
    job.await
        .map_err(|error| io::Error::other(error.to_string()))
}

impl LoopHandle {
    /// Looks up the addresses of a host, for callbacks: `callback` is called with them on the loop. Pass one of
    /// them to [`connect`](Self::connect). Cancelling the returned task is as dropping [`lookup_host`].
    ///
    /// # Errors
    ///
    /// As [`lookup_host`], to the callback.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.lookup_host_with("localhost:80", |_handle, addrs| {
    ///     let addrs = addrs.expect("every machine has it");
    ///     assert!(addrs[0].ip().is_loopback());
    /// });
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[track_caller]
    pub fn lookup_host_with<C>(&self, host: impl ToSocketAddrs, callback: C) -> Task<()>
    where
        C: FnOnce(&Self, io::Result<Vec<SocketAddr>>) + 'static,
    {
        let (target, site) = (host.target(), Location::caller());
        let lookup = async move { addresses(target?, site).await };
        self.spawn_with_callback(lookup, callback, site)
    }
}
