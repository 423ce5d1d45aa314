//! A source that calls a function for each event: what [`spi::register_source`] registers.
//!
//! [`spi::register_source`]: crate::spi::register_source

use super::descriptor::Descriptor;
use super::error::RegisterError;
use super::loop_handle::LoopHandle;
use super::panics::{Payload, catch};
use super::registration::FdState;
use super::registry::Key;
use super::source_registration::{RegisteredSource, SourceRegistration, Watch};
use super::weak_handle::WeakHandle;
use crate::poll::{FdRef, Readiness};
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

/// The function is dropped while the descriptor is open.
struct CallbackSource<F> {
    registration: SourceRegistration,
    handle: WeakHandle,
    /// `None` while it runs.
    on_event: Cell<Option<F>>,
    descriptor: Descriptor,
}

impl<F: FnMut(&LoopHandle, Readiness)> RegisteredSource for CallbackSource<F> {
    fn registration(&self) -> &SourceRegistration {
        &self.registration
    }

    fn fd_ref(&self) -> FdRef<'_> {
        self.descriptor.fd_ref()
    }

    fn on_event(&self, ready: Readiness) -> Option<Payload> {
        let mut on_event = self.on_event.take()?;
        let called = self.handle.with(|handle| catch(|| on_event(handle, ready)));
        // S1: also after a panic.
        self.on_event.set(Some(on_event));
        called?.err()
    }

    fn on_end(&self) -> Option<Payload> {
        None
    }
}

impl LoopHandle {
    /// See [`register_source`](crate::spi::register_source), for a caller at `site`.
    pub(crate) fn register_source_from<F>(
        &self,
        site: &'static Location<'static>,
        descriptor: Descriptor,
        fd_state: FdState,
        on_event: F,
    ) -> Result<Key, RegisterError<F>>
    where
        F: FnMut(&LoopHandle, Readiness) + 'static,
    {
        let source = Rc::new(CallbackSource {
            registration: SourceRegistration::new(Watch::BOTH, site),
            handle: self.weak_handle(),
            on_event: Cell::new(Some(on_event)),
            descriptor: descriptor.on(self.kernel()),
        });
        let Err(error) = self.add_source(&source, fd_state) else {
            return Ok(self.key(source.registration.slot.get()));
        };
        let source = Rc::into_inner(source).expect("the loop has dropped its reference");
        Err(RegisterError {
            error,
            descriptor: Some(source.descriptor),
            callbacks: source.on_event.take().expect("it does not run"),
        })
    }
}
