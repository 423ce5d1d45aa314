//! The descriptor of a registration: owned, shared, or of a virtual kernel.
//!
//! A registration keeps its descriptor open for as long as it exists. Otherwise the number could be
//! closed and used again for another file, and the registration would be for that file. Code that
//! uses the descriptor as well shares its owner by `Rc`.
//!
//! This is the `fd` of `(fd, event)` in the notes (N7).

use crate::poll::{FdOwned, FdRef, VirtualFd, VirtualKernel};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

/// The descriptor of a registration, which stays open for as long as the registration exists.
///
/// `into()` makes one from a value that owns a descriptor, or from an `Rc` of such a value if the
/// callbacks use the descriptor too.
///
/// When the registration ends, the loop closes an owned descriptor and reports an error as
/// [`Unhandled::CloseFailed`](super::Unhandled::CloseFailed). A descriptor in an `Rc` is closed by
/// the destructor of its owner, which reports no error.
pub struct Descriptor(Held);

/// Two words: nearly all are owned, and the others are in a box.
enum Held {
    Owned(OwnedFd),
    Shared(Box<Rc<dyn AsFd>>),
    Virtual(Box<Rc<dyn VirtualFd>>),
}

impl Descriptor {
    /// Returns the system's descriptor, if this owns one.
    ///
    /// # Errors
    ///
    /// Returns `self` if it was made from an `Rc`, or belongs to a virtual kernel.
    #[inline]
    pub fn into_owned(self) -> Result<OwnedFd, Self> {
        match self.0 {
            Held::Owned(fd) => Ok(fd),
            Held::Shared(_) | Held::Virtual(_) => Err(self),
        }
    }

    /// Discards a number that was closed outside the loop, without closing it: by now it may be
    /// another file's. A descriptor that is shared, or of a virtual kernel, is returned.
    pub(super) fn forget(self) -> Option<Self> {
        let _number = match self.into_owned() {
            Ok(fd) => fd.into_raw_fd(),
            Err(others) => return Some(others),
        };
        None
    }

    /// Imports an owned descriptor of the system into `kernel`, if that accepts it.
    pub(super) fn on(self, kernel: Option<&Rc<dyn VirtualKernel>>) -> Self {
        match (self.0, kernel) {
            (Held::Owned(fd), Some(kernel)) => {
                let made_virtual = |fd| Held::Virtual(Box::new(fd));
                Self(kernel.import(fd).map_or_else(Held::Owned, made_virtual))
            }
            (held, _) => Self(held),
        }
    }

    /// Returns a reference to the descriptor, of the system or of a virtual kernel.
    #[must_use]
    #[inline]
    pub(crate) fn fd_ref(&self) -> FdRef<'_> {
        match &self.0 {
            Held::Owned(fd) => FdRef::System(fd.as_fd()),
            Held::Shared(shared) => FdRef::System((***shared).as_fd()),
            Held::Virtual(fd) => FdRef::Virtual(&***fd),
        }
    }
}

/// Whether a loop on `kernel` (`None`: the system's) can watch a descriptor. The number alone does not
/// decide: each kernel has numbers of its own.
#[inline]
pub(super) fn belongs_to(descriptor: FdRef<'_>, kernel: Option<&Rc<dyn VirtualKernel>>) -> bool {
    match descriptor {
        FdRef::System(_) => true, // a virtual kernel that cannot watch the system's descriptors refuses the number
        FdRef::Virtual(fd) => is_of(fd, kernel),
    }
}

fn is_of(fd: &dyn VirtualFd, kernel: Option<&Rc<dyn VirtualKernel>>) -> bool {
    let Some(kernel) = kernel else { return false };
    match (fd.kernel_identity(), kernel.identity()) {
        (Some(of_fd), Some(of_loop)) => of_fd == of_loop,
        _ => true,
    }
}

/// A descriptor of a virtual kernel gives a placeholder: see [`FdRef::as_fd`].
impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd_ref().as_fd()
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor({})", self.fd_ref().raw())
    }
}

impl From<OwnedFd> for Descriptor {
    #[inline]
    fn from(fd: OwnedFd) -> Self {
        Self(Held::Owned(fd))
    }
}

impl From<Rc<dyn VirtualFd>> for Descriptor {
    fn from(fd: Rc<dyn VirtualFd>) -> Self {
        Self(Held::Virtual(Box::new(fd)))
    }
}

impl From<FdOwned> for Descriptor {
    #[inline]
    fn from(fd: FdOwned) -> Self {
        match fd {
            FdOwned::System(fd) => fd.into(),
            FdOwned::Virtual(fd) => fd.into(),
        }
    }
}

impl<T: AsFd + 'static> From<Rc<T>> for Descriptor {
    fn from(shared: Rc<T>) -> Self {
        Self(Held::Shared(Box::new(shared)))
    }
}

macro_rules! descriptor_from {
    ($($owner:ty),+ $(,)?) => { $(
        impl From<$owner> for Descriptor {
            fn from(owner: $owner) -> Self {
                Self(Held::Owned(owner.into()))
            }
        }
    )+ };
}

descriptor_from!(
    std::fs::File,
    std::net::TcpListener,
    std::net::TcpStream,
    std::net::UdpSocket,
    std::os::unix::net::UnixDatagram,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixStream,
    std::process::ChildStdin,
    std::process::ChildStdout,
    std::process::ChildStderr,
);

/// A new connection of a listener.
#[derive(Debug)]
pub struct Accepted {
    /// The descriptor: non-blocking, close-on-exec.
    pub fd: Descriptor,
    /// The address of the peer; `None` for Unix sockets.
    pub peer: Option<SocketAddr>,
}
