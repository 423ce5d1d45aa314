//! A listener of the local domain for coroutines.
//!
//! In asyncio this is `create_unix_server`, without its protocols.

use super::listening::Listening;
use super::socket::{self, Socket};
use super::socket_path::{self, PathOptions, SocketFile};
use super::unix::UnixStream;
use crate::event_loop::BACKLOG;
use crate::poll::VirtualFd;
use readily_sys::socket::{listen, local};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{self, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;

/// A listening Unix socket (`unix(7)`). Dropping it closes it, but does not remove the path, unless
/// [`UnixListenerBuilder::remove_on_drop`] was set.
///
/// # Examples
///
/// ```
/// use readily::io::{UnixListener, UnixStream};
///
/// readily::run(async {
///     let path = std::env::temp_dir().join(format!("hello-{}", std::process::id()));
///     let listener = UnixListener::builder()
///         .mode(0o600)
///         .replace_stale(true)
///         .remove_on_drop(true)
///         .bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let server = listener.accept().await?;
///     server.write_all(b"hello").await?;
///     let mut greeting = [0; 5];
///     client.read_exact(&mut greeting).await?;
///     assert_eq!(server.peer_cred()?.uid, client.peer_cred()?.uid);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    // Its path is removed before it is closed: until then no other socket can have the same file.
    pub(super) file: RemovedFile,
    pub(super) listening: Listening,
}

impl UnixListener {
    /// Listens on `path`. Other programs can connect as the permissions of the folder and of the path allow,
    /// which the umask of the process decides: see [`UnixListenerBuilder::mode`].
    ///
    /// # Errors
    ///
    /// As [`UnixListenerBuilder::bind`].
    #[doc(alias = "create_unix_server")]
    #[doc(alias = "start_unix_server")]
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::builder().bind(path)
    }

    /// Listens on a path or, on Linux, on an abstract name
    /// ([`SocketAddrExt::from_abstract_name`](std::os::linux::net::SocketAddrExt::from_abstract_name)), which is
    /// no file, has no mode, and vanishes with its last socket.
    ///
    /// # Errors
    ///
    /// As [`UnixListenerBuilder::bind`].
    #[track_caller]
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<Self> {
        if let Some(path) = addr.as_pathname() {
            return Self::bind(path);
        }
        let socket = socket::of_the_system(|| {
            let fd = local::bind_stream(addr)?;
            listen(fd.as_fd(), BACKLOG)?;
            Ok(fd)
        })?;
        let listening = Listening::made_here(socket, Location::caller())?;
        Ok(Self::without_file(listening))
    }

    /// Returns a builder, to set the options of a listener.
    #[must_use]
    pub fn builder() -> UnixListenerBuilder {
        UnixListenerBuilder {
            path: PathOptions::default(),
            backlog: BACKLOG,
            removes: false,
        }
    }

    /// Makes a listener from one of the standard library, as [`UnixStream::from_std`] does for a stream.
    ///
    /// # Errors
    ///
    /// As [`Async::new`](super::Async::new); [`Error::NotListening`](crate::Error::NotListening).
    #[track_caller]
    pub fn from_std(listener: net::UnixListener) -> io::Result<Self> {
        let listening = Listening::taken_over(socket::import(listener), Location::caller())?;
        Ok(Self::without_file(listening))
    }

    /// Makes a listener from a listening socket of a virtual kernel: the kernel of the current loop's
    /// poller ([`Poller::kernel`](crate::poll::Poller::kernel)).
    ///
    /// # Errors
    ///
    /// As [`UnixListener::from_std`]; [`Error::BadDescriptor`](crate::Error::BadDescriptor) if the
    /// current loop is on another kernel. The descriptor is dropped.
    #[track_caller]
    pub fn from_kernel(fd: Rc<dyn VirtualFd>) -> io::Result<Self> {
        let listening = Listening::taken_over(Socket::Virtual(fd), Location::caller())?;
        Ok(Self::without_file(listening))
    }

    /// A listener whose path, if it has one, is not removed.
    fn without_file(listening: Listening) -> Self {
        let file = RemovedFile(None);
        Self { file, listening }
    }

    /// Waits for a connection, and accepts it. While the process has no descriptor left, this waits until it has one.
    /// [`UnixStream::peer_cred`] returns the credentials of the client.
    ///
    /// # Errors
    ///
    /// Errors of the listener itself; never those of one connection, nor a lack of descriptors.
    /// A connection that the system will not register (`ENOMEM`, `ENOSPC`) is closed and
    /// reported ([`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled)).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a connection is accepted only when this returns it.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let site = self.listening.site;
        let make = |socket, _| UnixStream::accepted(socket, site).map(Some);
        self.listening.accept(make).await
    }

    /// Returns the address on which the listener listens.
    ///
    /// # Errors
    ///
    /// As `getsockname(2)`; `Unsupported` on a virtual kernel.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let source = &self.listening.source;
        source.with_std(net::UnixListener::local_addr)
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.source.as_fd()
    }
}

/// The options of a [`UnixListener`].
#[derive(Clone, Debug)]
pub struct UnixListenerBuilder {
    path: PathOptions,
    backlog: i32,
    removes: bool,
}

impl UnixListenerBuilder {
    /// Sets the permissions of the path, for instance `0o600`: at most `0o777`. A client needs the permission to
    /// write. The permissions are set before the first client can connect. By default they are `0o777` without the
    /// bits of the umask. Some systems ignore them; on all systems the permissions of the directory count.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.path.mode = Some(mode);
        self
    }

    /// Sets whether to replace a socket that an earlier server has left at the path, and that no process uses any
    /// more. The socket of a running server is not replaced, nor is a file of another kind. By default `false`: then
    /// a socket that was left behind is an error, too.
    ///
    /// Programs that set this for paths in one directory exclude each other (`flock(2)` on the directory). A program
    /// that finds the directory locked gets [`SocketPathError::Busy`](super::SocketPathError::Busy).
    #[must_use]
    pub fn replace_stale(mut self, replace: bool) -> Self {
        self.path.replaces_stale = replace;
        self
    }

    /// Sets whether the path is removed when the listener is dropped, if it still is the path of this listener's
    /// socket. By default `false`. An error is ignored. [`UnixListener::into_std`] does not remove the path.
    #[doc(alias = "cleanup_socket")]
    #[must_use]
    pub fn remove_on_drop(mut self, remove: bool) -> Self {
        self.removes = remove;
        self
    }

    /// Sets how many connections may wait to be accepted. The system has a limit of its own
    /// (`net.core.somaxconn`, `kern.ipc.somaxconn`).
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Listens on `path`.
    ///
    /// # Errors
    ///
    /// `AddrInUse` with a [`SocketPathError`](super::SocketPathError) that describes what exists at the path.
    /// `InvalidInput` if the path is empty, has a zero byte, or is too long for a socket (more than 107 bytes on
    /// Linux, 103 on the BSDs and macOS), or for a mode above `0o777`. As `bind(2)`, `chmod(2)` and `listen(2)`; then
    /// nothing is left at the path. `Unsupported` on a loop of a virtual kernel. An error if no loop is running here.
    #[track_caller]
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let mut made = None;
        let socket = socket::of_the_system(|| {
            let (fd, file) = socket_path::listen(path.as_ref(), &self.path, self.backlog)?;
            made = Some(Box::new(file));
            Ok(fd)
        })?;
        let mut file = RemovedFile(made); // removed also if it cannot be registered
        let listening = Listening::made_here(socket, Location::caller())?;
        if !self.removes {
            file.0 = None;
        }
        Ok(UnixListener { file, listening })
    }
}

/// The file of a socket, removed with this.
#[derive(Debug)]
pub(super) struct RemovedFile(pub(super) Option<Box<SocketFile>>);

impl Drop for RemovedFile {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            // It has gone, or cannot be removed: either way there is no more to do.
            let _ = file.remove();
        }
    }
}
