//! The addresses of a name, and the name of an address.
//!
//! The system's functions block, so they run in the thread pool, in a lane of their own: a name server
//! that does not answer delays no other job. On the kernel in memory, the names are those that a test has given
//! it, and no network is used.
//!
//! In asyncio: `loop.getaddrinfo` and `loop.getnameinfo`. In the notes: the thread pool makes what blocks
//! asynchronous (N3, N5).

use super::socket;
use super::to_socket_addrs::{Target, ToSocketAddrs};
use crate::event_loop::{Error, LoopHandle, current};
use crate::task::{Task, budget};
use readily_sys::names::{self, NameError};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::pin::pin;

/// Why a look-up failed: the inner error of the [`io::Error`] of [`lookup_host`] and [`lookup_addr`]. An error
/// of a system call is returned without a `LookupError`.
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
    /// The name does not exist, or the address has no name. The kind of the error is
    /// [`NotFound`](io::ErrorKind::NotFound).
    #[error("{what} is not known")]
    NotFound {
        /// The name or the address.
        what: String,
    },
    /// No name server has answered. Another attempt may succeed.
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
        /// The message of the system.
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
/// An address as text is returned at once, without a thread. A name is looked up by the functions of the system
/// (`/etc/hosts`, the name servers), in a job of the loop's thread pool. At most eight threads, and at most half of
/// the pool's threads, look up names at a time; further look-ups wait. The only time limit is the system's, which is
/// some seconds for each server: use [`wait_for`](crate::wait_for()).
///
/// On the kernel in memory the hosts are those of its own table, with `localhost` in it.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for a text that is neither an address nor a name with a port;
/// an error with a [`LookupError`] inside; `EMFILE` or `ENFILE` if there is no descriptor for the look-up; an error if
/// no loop is running here.
///
/// # Cancellation
///
/// Dropping the future loses the result. A look-up that waits for a thread is cancelled; one that has begun keeps
/// its thread until the function of the system returns.
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
    async move { budget::composite(pin!(async { addresses(target?, site).await })).await }
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
/// The same threads and limits are used as in [`lookup_host`]. The kernel in memory has no names of
/// addresses; there the error is [`Unsupported`](io::ErrorKind::Unsupported).
///
/// # Errors
///
/// An error with a [`LookupError`] inside; an error if no loop is running here.
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
    async move { budget::composite(pin!(name(ip, site))).await }
}

async fn name(ip: IpAddr, site: &'static Location<'static>) -> io::Result<String> {
    if socket::kernel().is_some() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let found = in_pool(move || names::name(ip), site).await?;
    found.map_err(|error| LookupError::of(ip.to_string(), error))
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
    /// Looks up the addresses of a host, and calls `callback` with them on the loop. The callback may pass one of
    /// them to [`connect`](Self::connect). Cancelling the returned task has the effect of dropping [`lookup_host`].
    ///
    /// # Errors
    ///
    /// As [`lookup_host`]; the error is passed to `callback`.
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
