//! The listeners of one loop, and the delivery of a signal to them.
//!
//! The loop's pipe is made with the first listener, and closed with the last.
//!
//! In asyncio: `_signal_handlers` of a loop, with one entry for each number.
//!
//! # Rules
//!
//! - **P10** After a signal that comes while a listener exists, that listener is notified at least once;
//!   a signal before it or after its end does not notify it.
//! - **P11** The action of a signal is ours exactly while it has a listener.

use super::number::{Signal, SignalError, SignalRequest};
use super::pipe::{SignalPipe, SignalReceiver};
use crate::event_loop::panics::FirstPanic;
use crate::event_loop::{Attachment, Error, LoopHandle, Payload, WeakHandle};
use crate::task::waiters::WakerList;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::panic::Location;
use std::rc::{Rc, Weak};

/// A closure for each signal of a number.
pub(super) type Callback = Box<dyn FnMut(&LoopHandle)>;

/// One listener for one number.
pub(super) struct Listener {
    number: c_int,
    site: &'static Location<'static>,
    /// A signal has come since the last look.
    pub(super) pending: Cell<bool>,
    /// It was removed.
    pub(super) gone: Cell<bool>,
    pub(super) waiters: WakerList,
    /// Whether there is a callback, which is out of its cell while it runs.
    has_callback: bool,
    callback: RefCell<Option<Callback>>,
}

/// The listeners of a loop.
pub(crate) struct LoopSignals {
    handle: WeakHandle,
    /// `None` without a listener, and on a kernel in memory.
    pipe: RefCell<Option<Rc<SignalPipe>>>,
    numbers: RefCell<BTreeMap<c_int, Vec<Rc<Listener>>>>,
}

/// The listeners, as the loop has them.
struct Attached(Rc<LoopSignals>);

impl Attachment for Attached {
    /// On the system's kernel the pipe has ended before, and the listeners with it.
    fn close(&self) {
        if let Some(payload) = self.0.end_all() {
            std::panic::resume_unwind(payload);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl LoopSignals {
    /// Those of `handle`, which the first call makes.
    fn of(handle: &LoopHandle) -> Rc<Self> {
        let make = || {
            Attached(Rc::new(Self {
                handle: handle.weak_handle(),
                pipe: RefCell::default(),
                numbers: RefCell::default(),
            }))
        };
        handle.attached(make, |Attached(signals)| Rc::clone(signals))
    }

    /// Adds a listener, with `callback` if it is to have one.
    pub(super) fn listen(
        handle: &LoopHandle,
        request: SignalRequest,
        callback: Option<Callback>,
        site: &'static Location<'static>,
    ) -> Result<(Rc<Self>, Rc<Listener>), SignalError> {
        request.signal.check()?;
        check_usable(handle)?;
        let me = Self::of(handle);
        if let Err(error) = me.subscribe(handle, request, site) {
            me.close_if_unused();
            return Err(error);
        }
        let number = request.signal.raw();
        let listener = Rc::new(Listener {
            number,
            site,
            pending: Cell::new(false),
            gone: Cell::new(false),
            waiters: WakerList::default(),
            has_callback: callback.is_some(),
            callback: RefCell::new(callback),
        });
        let mut numbers = me.numbers.borrow_mut();
        let listeners = numbers.entry(number).or_default();
        listeners.push(Rc::clone(&listener));
        drop(numbers);
        Ok((me, listener))
    }

    fn subscribe(
        self: &Rc<Self>,
        handle: &LoopHandle,
        request: SignalRequest,
        site: &'static Location<'static>,
    ) -> Result<(), SignalError> {
        if self.pipe.borrow().is_none() {
            let receiver: Weak<Self> = Rc::downgrade(self);
            let pipe = SignalPipe::open(handle, receiver, site)?;
            self.pipe.replace(pipe);
        }
        match &*self.pipe.borrow() {
            Some(pipe) => pipe.subscribe(request),
            None => Ok(()),
        }
    }

    /// Whether the process ignores the signal of a listener.
    pub(super) fn is_ignored(&self, listener: &Listener) -> bool {
        let pipe = self.pipe.borrow();
        pipe.as_ref()
            .is_some_and(|pipe| pipe.is_ignored(listener.number))
    }

    /// Fails if no signal can come any more.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.handle.is_other_loop() {
            return Err(Error::OtherLoop);
        }
        self.handle.with(check_usable).unwrap_or(Err(Error::Closed))
    }

    /// P10: notifies the listeners of a number, and returns how many there are.
    pub(crate) fn deliver(&self, number: c_int, panic: &mut FirstPanic) -> usize {
        // A waker may add and remove listeners (L8).
        let listeners = self.numbers.borrow().get(&number).cloned();
        let listeners = listeners.unwrap_or_default();
        for listener in &listeners {
            if listener.gone.get() || listener.pending.replace(true) {
                continue;
            }
            match listener.has_callback {
                true => self.queue(listener),
                false => panic.run(|| listener.waiters.wake_all()),
            }
        }
        listeners.len()
    }

    /// Queues a call of the callback. A panic in it is one of a queued closure.
    fn queue(&self, listener: &Rc<Listener>) {
        let called = Rc::clone(listener);
        let call = move |handle: &LoopHandle| Self::of(handle).call(&called, handle);
        let queue = |handle: &LoopHandle| handle.call_soon_from(listener.site, call);
        self.handle.with(queue);
    }

    fn call(&self, listener: &Rc<Listener>, handle: &LoopHandle) {
        if listener.gone.get() || !listener.pending.take() {
            return;
        }
        let Some(mut callback) = listener.callback.take() else {
            return;
        };
        // A callback that panics is removed, as that of a registration.
        let remove = RemoveOnDrop(self, listener);
        callback(handle);
        std::mem::forget(remove);
        match listener.gone.get() {
            true => handle.drop_guarded(callback),
            false => drop(listener.callback.replace(Some(callback))),
        }
    }

    /// Removes a listener; `false` if it was removed before.
    pub(super) fn remove(&self, listener: &Rc<Listener>) -> bool {
        if listener.gone.replace(true) {
            return false;
        }
        let mut numbers = self.numbers.borrow_mut();
        let mut is_last = false;
        if let Some(listeners) = numbers.get_mut(&listener.number) {
            listeners.retain(|other| !Rc::ptr_eq(other, listener));
            is_last = listeners.is_empty();
        }
        if is_last {
            numbers.remove(&listener.number);
        }
        drop(numbers);
        if is_last {
            if let Some(pipe) = &*self.pipe.borrow() {
                pipe.unsubscribe(listener.number);
            }
            self.close_if_unused();
        }
        let callback = listener.callback.take();
        // Without a loop its destructor runs here.
        self.handle.with(|handle| handle.drop_guarded(callback));
        true
    }

    /// Ends all listeners. Returns the first panic of a waker or a destructor.
    fn end_all(&self) -> Option<Payload> {
        let mut panic = FirstPanic::default();
        for listener in self.numbers.take().into_values().flatten() {
            listener.gone.set(true);
            panic.run(|| listener.waiters.wake_all());
            let callback = listener.callback.take();
            panic.run(|| drop(callback));
        }
        panic.take()
    }

    /// Closes the pipe if there is no listener.
    fn close_if_unused(&self) {
        if !self.numbers.borrow().is_empty() {
            return;
        }
        // Out of its cell: its end runs user code (L8).
        if let Some(pipe) = self.pipe.take() {
            pipe.close(self.handle.upgrade().as_deref());
        }
    }
}

fn check_usable(handle: &LoopHandle) -> Result<(), Error> {
    match handle {
        _ if handle.is_closed() => Err(Error::Closed),
        _ if handle.inbox().forked() => Err(Error::Forked),
        _ => Ok(()),
    }
}

struct RemoveOnDrop<'a>(&'a LoopSignals, &'a Rc<Listener>);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

/// Delivers a signal to the listeners of one loop, and returns how many there are.
pub(crate) fn deliver(handle: &LoopHandle, signal: Signal) -> usize {
    let mut panic = FirstPanic::default();
    let count = LoopSignals::of(handle).deliver(signal.raw(), &mut panic);
    if let Some(payload) = panic.take() {
        std::panic::resume_unwind(payload);
    }
    count
}

impl SignalReceiver for LoopSignals {
    fn handle(&self) -> &WeakHandle {
        &self.handle
    }

    fn receive(&self, number: c_int, panic: &mut FirstPanic) {
        self.deliver(number, panic);
    }

    fn end(&self) -> Option<Payload> {
        self.pipe.take();
        self.end_all()
    }
}
