//! The pipe to which the process's handler writes, as a source of a loop.
//!
//! Each byte is the number of a signal. On a kernel in memory there is no pipe: a test delivers the
//! signals. A recording has the bytes, because the pipe is a descriptor of its kernel.
//!
//! In asyncio this is the self-pipe of `unix_events.py`.

use super::number::{SignalError, SignalRequest};
use crate::event_loop::panics::FirstPanic;
use crate::event_loop::{
    Error, FdState, LoopHandle, Payload, RegisteredSource, SourceRegistration, Unhandled, Watch,
    WeakHandle,
};
use crate::poll::{FdOwned, FdRef, Interest, Readiness};
use readily_sys::errno;
use readily_sys::signal::{Subscription, is_blocked};
use std::cell::RefCell;
use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::rc::{Rc, Weak};

/// Where the numbers go.
pub(super) trait SignalReceiver {
    fn handle(&self) -> &WeakHandle;

    /// A signal of this number has come. A panic of a waker goes to `panic`.
    fn receive(&self, number: c_int, panic: &mut FirstPanic);

    /// The registration has ended. Returns the first panic of a waker.
    fn end(&self) -> Option<Payload>;
}

/// The pipe of a loop. The fields are dropped in their order: the handler must not write to a pipe
/// without a reader.
pub(super) struct SignalPipe {
    /// `None` when the registration has ended.
    subscription: RefCell<Option<Subscription>>,
    fd: FdOwned,
    registration: SourceRegistration,
    receiver: Weak<dyn SignalReceiver>,
}

impl SignalPipe {
    /// Makes a pipe without signals, and registers it; `None` on a kernel in memory.
    pub(super) fn open(
        handle: &LoopHandle,
        receiver: Weak<dyn SignalReceiver>,
        site: &'static Location<'static>,
    ) -> Result<Option<Rc<Self>>, SignalError> {
        let (subscription, reader) = Subscription::new()?;
        let fd = match handle.kernel() {
            None => FdOwned::System(reader),
            Some(kernel) => match kernel.import(reader) {
                Ok(fd) => FdOwned::Virtual(fd),
                Err(_in_memory) => return Ok(None),
            },
        };
        let pipe = Rc::new(Self {
            subscription: RefCell::new(Some(subscription)),
            fd,
            registration: SourceRegistration::new(Watch::READING, site),
            receiver,
        });
        handle.add_source(&pipe, FdState::MadeHere)?;
        Ok(Some(pipe))
    }

    /// Deregisters it, and restores the actions of its signals.
    pub(super) fn close(&self, handle: Option<&LoopHandle>) {
        self.subscription.take();
        if let Some(handle) = handle {
            handle.remove_source(&self.registration);
        }
    }

    /// P11: installs the handler for a number, unless that was done.
    pub(super) fn subscribe(&self, request: SignalRequest) -> Result<(), SignalError> {
        let number = request.signal.raw();
        let mut subscription = self.subscription.borrow_mut();
        let subscription = subscription.as_mut().ok_or(Error::Closed)?;
        if subscription.hears(number) {
            return Ok(());
        }
        let added = subscription.add(number, request.ignored);
        let is_heard = added.map_err(|error| match error.raw_os_error() {
            Some(errno::EINVAL) => SignalError::Reserved(request.signal),
            _ => SignalError::Io(error),
        })?;
        if is_heard && is_blocked(number) {
            subscription.remove(number);
            return Err(SignalError::Blocked(request.signal));
        }
        Ok(())
    }

    /// P11: its last listener has gone.
    pub(super) fn unsubscribe(&self, number: c_int) {
        if let Some(subscription) = &mut *self.subscription.borrow_mut() {
            subscription.remove(number);
        }
    }

    /// Whether the process ignores a signal that has a listener.
    pub(super) fn is_ignored(&self, number: c_int) -> bool {
        let subscription = self.subscription.borrow();
        let is_heard = subscription.as_ref().map(|one| one.hears(number));
        is_heard == Some(false)
    }

    fn io(&self) -> FdRef<'_> {
        match &self.fd {
            FdOwned::System(fd) => FdRef::System(fd.as_fd()),
            FdOwned::Virtual(fd) => FdRef::Virtual(&**fd),
        }
    }

    /// Reads the numbers that have come.
    fn read(&self, receiver: &dyn SignalReceiver, panic: &mut FirstPanic) -> Result<(), Error> {
        let mut bytes = [0; 128]; // one byte of each number at most
        loop {
            let n = match self.io().read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                read => read?,
            };
            for &byte in &bytes[..n] {
                let number = c_int::from(byte);
                // Before it is delivered: a signal from here on is one more byte.
                let taken = match &*self.subscription.borrow() {
                    Some(subscription) => subscription.take(number),
                    None => return Ok(()), // a waker has removed the last listener
                };
                let is_due = |handle: &LoopHandle| handle.replayed_or(taken);
                if receiver.handle().with(is_due) == Some(true) {
                    receiver.receive(number, panic);
                }
            }
            if n < bytes.len() {
                return self.rearm(receiver.handle());
            }
        }
    }

    fn rearm(&self, handle: &WeakHandle) -> Result<(), Error> {
        let rearm = |handle: &LoopHandle| match handle.rearm_interest().contains(Interest::READ) {
            true => handle.rearm_source(&self.registration, Interest::READ),
            false => Ok(()),
        };
        match handle.with(rearm) {
            Some(Err(Error::UnknownKey(_))) | None => Ok(()), // it has ended meanwhile
            Some(rearmed) => rearmed,
        }
    }
}

impl RegisteredSource for SignalPipe {
    fn registration(&self) -> &SourceRegistration {
        &self.registration
    }

    fn fd_ref(&self) -> FdRef<'_> {
        self.io()
    }

    fn on_event(&self, _ready: Readiness) -> Option<Payload> {
        let receiver = self.receiver.upgrade()?;
        let mut panic = FirstPanic::default();
        if let Err(error) = self.read(&*receiver, &mut panic) {
            let (what, error) = ("reading the signals", error.into_io());
            receiver.handle().report(&Unhandled::Io { what, error });
        }
        panic.take()
    }

    fn on_end(&self) -> Option<Payload> {
        self.subscription.take();
        self.receiver.upgrade()?.end()
    }
}
