//! A descriptor as a registration holds it: owned, shared, or another kernel's.
//!
//! A registration keeps its descriptor open for as long as it lives, for a number that is closed and
//! given to somebody else would be a registration of something else. Whoever wants to use it too
//! shares the owner.
//!
//! In the notes this is the `fd` of `(fd, event)` (N7).

use crate::poll::{FdOwned, FdRef, VirtualFd, VirtualKernel};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

/// A descriptor as a registration holds it: open for as long as the registration lives.
///
/// Made by `into()` from anything that owns a descriptor, or from an `Rc` of something
/// that does, where the callbacks want to use it too.
///
/// When the registration ends, the loop closes what it owns, and tells an error of that as
/// [`Unhandled::CloseFailed`](super::Unhandled::CloseFailed). What is in an `Rc` is closed by the
/// destructor of its owner, which tells nobody.
pub struct Descriptor(Held);

enum Held {
    Owned(OwnedFd),
    Shared(Rc<dyn AsFd>),
    Virtual(Rc<dyn VirtualFd>),
}

impl Descriptor {
    /// The owned descriptor of the system.
    ///
    /// # Errors
    ///
    /// Itself, where it was made from an `Rc`, or is not the system's.
    pub fn into_owned(self) -> Result<OwnedFd, Self> {
        match self.0 {
            Held::Owned(fd) => Ok(fd),
            Held::Shared(_) | Held::Virtual(_) => Err(self),
        }
    }

    /// Lets go of a number that was closed outside the loop, without closing it: it may be another
    /// file's by now. What is shared or another kernel's is its owner's, and is returned.
    pub(super) fn forget(self) -> Option<Self> {
        let _number = match self.into_owned() {
            Ok(fd) => fd.into_raw_fd(),
            Err(others) => return Some(others),
        };
        None
    }

    /// Itself, as `kernel` has it, if that has a use for the system's descriptors.
    pub(super) fn on(self, kernel: Option<&Rc<dyn VirtualKernel>>) -> Self {
        match (self.0, kernel) {
            (Held::Owned(fd), Some(kernel)) => {
                Self(kernel.import(fd).map_or_else(Held::Owned, Held::Virtual))
            }
            (held, _) => Self(held),
        }
    }

    /// Whether it can be watched on a loop whose kernel is this one, or the system's. A number alone
    /// does not tell: each kernel counts for itself.
    pub(super) fn belongs_to(&self, kernel: Option<&Rc<dyn VirtualKernel>>) -> bool {
        let Held::Virtual(fd) = &self.0 else {
            return true; // a kernel that has no use for the system's refuses the number
        };
        let Some(kernel) = kernel else { return false };
        match (fd.kernel_identity(), kernel.identity()) {
            (Some(of_fd), Some(of_loop)) => of_fd == of_loop,
            _ => true,
        }
    }

    /// The descriptor, of whichever kernel it is.
    #[must_use]
    #[inline]
    pub fn fd_ref(&self) -> FdRef<'_> {
        match &self.0 {
            Held::Owned(fd) => FdRef::System(fd.as_fd()),
            Held::Shared(shared) => FdRef::System((**shared).as_fd()),
            Held::Virtual(fd) => FdRef::Virtual(&**fd),
        }
    }
}

/// Of a descriptor in memory this is a placeholder: see [`FdRef::as_fd`].
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
    fn from(fd: OwnedFd) -> Self {
        Self(Held::Owned(fd))
    }
}

impl From<Rc<dyn VirtualFd>> for Descriptor {
    fn from(fd: Rc<dyn VirtualFd>) -> Self {
        Self(Held::Virtual(fd))
    }
}

impl From<FdOwned> for Descriptor {
    fn from(fd: FdOwned) -> Self {
        match fd {
            FdOwned::System(fd) => fd.into(),
            FdOwned::Virtual(fd) => fd.into(),
        }
    }
}

impl<T: AsFd + 'static> From<Rc<T>> for Descriptor {
    fn from(shared: Rc<T>) -> Self {
        Self(Held::Shared(shared))
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
