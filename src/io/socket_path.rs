//! The path of a listener of the local domain: made with its mode, replaced if no server has it any more,
//! removed by the server that has made it.
//!
//! A path outlives its server, and a bind to it then fails. Whether a server has it is asked by connecting
//! a *datagram* socket to it: the kernel refuses that in one way if some socket of another type is bound
//! there (`EPROTOTYPE`), and in another if none is (`ECONNREFUSED`). No server sees a connection, and one
//! whose queue is full, or which does not listen yet, is found, too.
//!
//! A client that connects before `listen(2)` is refused, so the mode can be set after `bind(2)` without a
//! gap (R036).
//!
//! In asyncio: `create_unix_server` removes any socket at its path, whether it has a server or not.

use readily_sys::errno;
use readily_sys::socket::{self, local};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// Why a socket could not be bound to a path: what exists there. The inner error of the `io::Error`, of the kind
/// `AddrInUse`, that [`UnixListener::bind`](super::UnixListener::bind) returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketPathError {
    /// Another socket is bound to the path: a server is running.
    #[error("a running server has the socket {}", .0.display())]
    InUse(PathBuf),
    /// There is a socket that no process uses any more. See
    /// [`UnixListenerBuilder::replace_stale`](super::UnixListenerBuilder::replace_stale).
    #[error("the socket {} is left over from a server that has ended", .0.display())]
    Stale(PathBuf),
    /// There is a file of another kind, which is never removed.
    #[error("{} is not a socket", .0.display())]
    NotSocket(PathBuf),
    /// Another program is replacing a socket in the same directory at this moment.
    #[error("another program is replacing a socket beside {}", .0.display())]
    Busy(PathBuf),
}

impl From<SocketPathError> for io::Error {
    fn from(error: SocketPathError) -> Self {
        Self::new(io::ErrorKind::AddrInUse, error)
    }
}

/// How a path is bound.
#[derive(Clone, Debug, Default)]
pub(super) struct PathOptions {
    pub(super) mode: Option<u32>,
    pub(super) replaces_stale: bool,
}

/// The file of a socket: its absolute path, its device and its number.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    /// What is at `path`, if it is a socket.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let found = fs::symlink_metadata(path)?;
        Ok(found.file_type().is_socket().then(|| Self {
            path: path.to_owned(),
            id: (found.dev(), found.ino()),
        }))
    }

    /// Removes the path, if the same socket is still there.
    pub(super) fn remove(&self) -> io::Result<()> {
        match Self::at(&self.path)? {
            Some(there) if there.id == self.id => fs::remove_file(&self.path),
            _ => Ok(()),
        }
    }
}

/// Refuses an empty path: as an address it means none, or one of the system's choice.
pub(super) fn check_not_empty(path: &Path) -> io::Result<()> {
    match path.as_os_str().is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a socket is empty: a socket without a name is made by `unbound` or `pair`, and \
             `bind_addr` with the address of an empty path leaves the name to the system (Linux)",
        )),
        false => Ok(()),
    }
}

/// Binds a socket to `path`, and makes it a listener.
pub(super) fn listen(
    path: &Path,
    options: &PathOptions,
    backlog: i32,
) -> io::Result<(OwnedFd, SocketFile)> {
    check_not_empty(path)?;
    let addr = SocketAddr::from_pathname(path)?;
    if options.mode.is_some_and(|mode| mode > 0o777) {
        let message = "the mode of a socket has no bits but those of its permissions";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let path = std::path::absolute(path)?;
    // Two programs that find the same socket left over would remove each other's, without this.
    let _lock = match options.replaces_stale {
        true => Some(lock(&path)?),
        false => None,
    };
    let fd = match local::bind_stream(&addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            clear(&path, &addr, options)?;
            local::bind_stream(&addr)?
        }
        bound => bound?,
    };
    let file = SocketFile::at(&path)?.ok_or_else(|| SocketPathError::NotSocket(path.clone()))?;
    match finish(&fd, &path, options, backlog) {
        Ok(()) => Ok((fd, file)),
        Err(error) => {
            // The error that is returned is the first one.
            let _ = file.remove();
            Err(error)
        }
    }
}

fn finish(fd: &OwnedFd, path: &Path, options: &PathOptions, backlog: i32) -> io::Result<()> {
    if let Some(mode) = options.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket::listen(fd.as_fd(), backlog)
}

fn lock(path: &Path) -> io::Result<fs::File> {
    let folder = path.parent().unwrap_or(path);
    match local::lock_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketPathError::Busy(path.to_owned()).into())
        }
        locked => locked,
    }
}

/// Removes what is at a path that is in use, if it may be.
fn clear(path: &Path, addr: &SocketAddr, options: &PathOptions) -> io::Result<()> {
    let Some(there) = SocketFile::at(path)? else {
        return Err(SocketPathError::NotSocket(path.to_owned()).into());
    };
    if has_server(addr)? {
        return Err(SocketPathError::InUse(path.to_owned()).into());
    }
    match options.replaces_stale {
        true => there.remove(),
        false => Err(SocketPathError::Stale(path.to_owned()).into()),
    }
}

/// The error that says what is at a path that is in use.
pub(super) fn explain(path: &Path) -> io::Result<()> {
    clear(
        path,
        &SocketAddr::from_pathname(path)?,
        &PathOptions::default(),
    )
}

/// Whether a socket is bound to a path at which a socket's file is.
fn has_server(addr: &SocketAddr) -> io::Result<bool> {
    match UnixDatagram::unbound()?.connect_addr(addr) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(errno::EPROTOTYPE) => Ok(true),
            Some(errno::ECONNREFUSED) => Ok(false),
            _ => Err(error),
        },
    }
}
