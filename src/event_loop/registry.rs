//! The callback table: a key for each registration, callbacks for each key.
//!
//! A key is a slot number and a generation. The kernel hands it back with every event, and
//! an event whose generation is old is somebody else's past: closing a descriptor and
//! opening another under the same number cannot mix the two up. What a callback needs is
//! taken *out* of the table while it runs, so the table is never borrowed across user code,
//! and a callback may do to it what it likes.
//!
//! In the notes this is "a map of callbacks" (N7). Rules: L1, L2, L3, L8.

use super::callbacks::Callbacks;
use super::classify::{Kind, Role};
use crate::base::slab::{Slab, SlabKey};
use crate::poll::{AnyFd, AnyKernel, Interest, KernelFd, NewFd, Trigger, sim};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::Location;
use std::rc::Rc;

/// Names a registration of one loop for as long as it lives.
///
/// Keys are never used again: a key whose registration has gone finds nothing, and a key of
/// another loop finds nothing either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(super) slot: SlabKey,
    /// Which loop: two loops may use the same slot and generation.
    pub(super) home: u64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.slot.to_bits();
        write!(f, "Key({}.{})", bits as u32, bits >> 32)
    }
}

/// A descriptor as a registration holds it: open for as long as the registration lives.
///
/// Made by `into()` from anything that owns a descriptor, or from an `Rc` of something
/// that does, where the callbacks want to use it too.
pub struct Descriptor(Held);

enum Held {
    Owned(OwnedFd),
    Shared(Rc<dyn AsFd>),
    Other(Rc<dyn KernelFd>),
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
            Held::Shared(_) | Held::Other(_) => Err(self),
        }
    }

    /// The same, as `kernel` has it, if it has a use for the system's descriptors.
    pub(super) fn on(self, kernel: Option<&Rc<dyn AnyKernel>>) -> Self {
        match (self.0, kernel) {
            (Held::Owned(fd), Some(kernel)) => {
                Self(kernel.adopt(fd).map_or_else(Held::Owned, Held::Other))
            }
            (held, _) => Self(held),
        }
    }

    /// The descriptor, of whichever kernel it is.
    #[must_use]
    #[inline]
    pub fn any(&self) -> AnyFd<'_> {
        match &self.0 {
            Held::Owned(fd) => AnyFd::System(fd.as_fd()),
            Held::Shared(shared) => AnyFd::System((**shared).as_fd()),
            Held::Other(fd) => AnyFd::Other(&**fd),
        }
    }
}

/// Of a descriptor in memory this is a placeholder: see [`AnyFd::as_fd`].
impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.any().as_fd()
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor({})", self.any().number())
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        Self(Held::Owned(fd))
    }
}

impl From<sim::Fd> for Descriptor {
    fn from(fd: sim::Fd) -> Self {
        Self(Held::Other(Rc::new(fd)))
    }
}

impl From<Rc<sim::Fd>> for Descriptor {
    fn from(fd: Rc<sim::Fd>) -> Self {
        Self(Held::Other(fd))
    }
}

impl From<Rc<dyn KernelFd>> for Descriptor {
    fn from(fd: Rc<dyn KernelFd>) -> Self {
        Self(Held::Other(fd))
    }
}

impl From<NewFd> for Descriptor {
    fn from(fd: NewFd) -> Self {
        match fd {
            NewFd::System(fd) => fd.into(),
            NewFd::Other(fd) => fd.into(),
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

/// What is out of the table while a callback runs. Field order is drop order: callbacks
/// first, while their descriptor is still open.
pub(super) struct Entry {
    pub(super) callbacks: Box<dyn Callbacks>,
    pub(super) fd: Descriptor,
}

/// One line of the table.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) fd: RawFd,
    pub(super) role: Role,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// Out of the poller: it has hung up, and its last bytes wait until the owner wants to
    /// read again. A hangup cannot be masked, so it would be reported for ever.
    pub(super) parked: bool,
    /// It has no read branch: bytes that nobody will ever take do not hold a hangup up.
    pub(super) deaf: bool,
    /// Whether it is a socket, which is asked not to send us a signal when written to.
    pub(super) socket: bool,
    /// How many bytes were left when the hangup was last put off for them.
    pub(super) unread: usize,
    pub(super) site: &'static Location<'static>,
}

struct Slot {
    line: Line,
    /// `None` while one of its callbacks runs (L3), and for a moment before the first.
    entry: Option<Entry>,
}

/// What [`Registry::take`] found.
pub(super) enum Taken {
    /// The entry, to be put back.
    Entry(Entry),
    /// It is there, but does not ask for this kind (any more).
    Unwanted,
    /// L1, L2: whoever this was for has gone.
    Gone,
}

/// The table. Each method borrows it once, briefly, and never calls out.
#[derive(Default)]
pub(super) struct Registry {
    slots: RefCell<Slab<Slot>>,
    /// Which slot has a number. It tells a second registration from a first one on every
    /// system (kqueue would overwrite the first in silence), and it cannot go stale: a
    /// registration holds its descriptor, and leaves this map before it lets go of it.
    by_fd: RefCell<BTreeMap<RawFd, SlabKey>>,
}

impl Registry {
    /// The line that has `fd` already.
    pub(super) fn find(&self, fd: RawFd) -> Option<(SlabKey, Line)> {
        let key = *self.by_fd.borrow().get(&fd)?;
        Some((key, self.line(key)?))
    }

    /// Adds a line, to be filled once the poller has taken it too.
    pub(super) fn insert(&self, line: Line) -> SlabKey {
        let fd = line.fd;
        let key = self.slots.borrow_mut().insert(Slot { line, entry: None });
        self.by_fd.borrow_mut().insert(fd, key);
        key
    }

    pub(super) fn line(&self, key: SlabKey) -> Option<Line> {
        self.slots.borrow().get(key).map(|slot| slot.line)
    }

    /// Changes a line in place; `None` if it has gone.
    pub(super) fn update(&self, key: SlabKey, change: impl FnOnce(&mut Line)) -> Option<()> {
        self.slots
            .borrow_mut()
            .get_mut(key)
            .map(|slot| change(&mut slot.line))
    }

    /// Takes callbacks and descriptor out, if the registration lives and asks for `kind`.
    pub(super) fn take(&self, key: SlabKey, kind: Kind) -> Taken {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(key) else {
            return Taken::Gone;
        };
        let wanted = match kind {
            Kind::Read => slot.line.interest.contains(Interest::READ),
            Kind::Write => slot.line.interest.contains(Interest::WRITE),
            Kind::Default if slot.line.role != Role::Source => {
                slot.line.interest.contains(Interest::PRIORITY)
            }
            Kind::Connect | Kind::Hangup | Kind::Default => !slot.line.parked,
        };
        if !wanted {
            return Taken::Unwanted;
        }
        slot.entry.take().map_or(Taken::Unwanted, Taken::Entry)
    }

    /// Puts them back, or returns them to be dropped if the registration went meanwhile.
    #[must_use = "what is not put back is dropped outside the borrow (L8)"]
    pub(super) fn put_back(&self, key: SlabKey, entry: Entry) -> Option<Entry> {
        match self.slots.borrow_mut().get_mut(key) {
            Some(slot) => slot.entry.replace(entry),
            None => Some(entry),
        }
    }

    /// Takes a line out for good, with its entry unless that is running just now.
    pub(super) fn remove(&self, key: SlabKey) -> Option<(Line, Option<Entry>)> {
        let Slot { line, entry } = self.slots.borrow_mut().remove(key)?;
        self.by_fd.borrow_mut().remove(&line.fd);
        Some((line, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    pub(super) fn first(&self) -> Option<SlabKey> {
        self.slots.borrow_mut().first()
    }

    pub(super) fn verify(&self) {
        let slots = self.slots.borrow();
        slots.verify();
        let by_fd = self.by_fd.borrow();
        assert_eq!(
            slots.len(),
            by_fd.len(),
            "one descriptor for each registration"
        );
        for (key, slot) in slots.iter() {
            assert_eq!(
                by_fd.get(&slot.line.fd),
                Some(&key),
                "the map leads to the slot"
            );
        }
    }
}
