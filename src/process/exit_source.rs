//! The descriptor that reports the end of a child, as a source of the loop.
//!
//! In asyncio: `PidfdChildWatcher`, which adds a reader for it.

use crate::event_loop::{
    Error, FdState, LoopHandle, Payload, RegisteredSource, SourceRegistration, Watch,
};
use crate::poll::{FdRef, Readiness};
use readily_sys::exit_fd::ExitFd;
use std::os::fd::AsFd;
use std::panic::Location;
use std::rc::{Rc, Weak};

/// The child of such a descriptor.
pub(super) trait ExitReceiver {
    /// It has ended. Returns the first panic of a waker.
    fn exited(&self) -> Option<Payload>;
}

/// A registered [`ExitFd`].
pub(super) struct ExitSource {
    pub(super) exit_fd: ExitFd,
    registration: SourceRegistration,
    child: Weak<dyn ExitReceiver>,
}

impl ExitSource {
    pub(super) fn register(
        handle: &LoopHandle,
        exit_fd: ExitFd,
        child: Weak<dyn ExitReceiver>,
        site: &'static Location<'static>,
    ) -> Result<Rc<Self>, Error> {
        let source = Rc::new(Self {
            exit_fd,
            registration: SourceRegistration::new(Watch::READING, site),
            child,
        });
        handle.add_source(&source, FdState::MadeHere)?;
        Ok(source)
    }

    pub(super) fn deregister(&self, handle: &LoopHandle) {
        handle.remove_source(&self.registration);
    }
}

impl RegisteredSource for ExitSource {
    fn registration(&self) -> &SourceRegistration {
        &self.registration
    }

    fn fd_ref(&self) -> FdRef<'_> {
        FdRef::System(self.exit_fd.as_fd())
    }

    fn on_event(&self, _ready: Readiness) -> Option<Payload> {
        self.child.upgrade()?.exited()
    }

    /// The child itself ends with the children of the loop.
    fn on_end(&self) -> Option<Payload> {
        None
    }
}
