//! Deadlines of registrations, and the callbacks that are not run by an event.
//!
//! A silent peer causes no event, so only a timer can end its connection. The timer belongs to the
//! registration: it is cancelled when the registration ends, and a new deadline replaces the old
//! one. The timers are in a map by descriptor: a registration without a deadline costs nothing.
//!
//! In libevent this is the timeout of an event, in Go `SetDeadline`; asyncio leaves it to
//! `call_later`. In the notes it is a timer (N1).

use super::classify::Branch;
use super::error::Error;
use super::loop_handle::{Action, Call, Cx, LoopHandle, RegistrationRc};
use super::origin::Origin;
use super::panics::catch;
use super::registration::{Reasons, Registration};
use super::registry::Key;
use crate::base::slab::SlabKey;
use std::panic::Location;
use std::time::Duration;

/// A call of a callback that is not for an event.
#[derive(Clone, Copy)]
enum Unasked {
    /// The connection was accepted.
    Open,
    /// Its deadline has passed, which this line has set.
    Timeout(&'static Location<'static>),
    /// Its owner has something to do.
    Write,
}

impl LoopHandle {
    /// Sets the deadline of a registration: [`on_timeout`](crate::Callbacks::on_timeout) runs once, `after`
    /// from now. A deadline that was set before is replaced; `None` clears it. The deadline ends with the
    /// registration.
    ///
    /// Inside a callback, [`Cx::set_deadline`] does this for the registration of that callback.
    /// A connection under way may have a deadline too, and keeps it once it is established.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKey`], also for a stream of coroutines, which has no callbacks: use
    /// [`timeout`](crate::timeout) there. [`Error::Closed`], [`Error::Forked`]. Nothing is changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Closures, EventLoop, Interest};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let (ours, _silent) = UnixStream::pair()?;
    /// let callbacks = Closures::new().on_timeout(|cx| cx.close());
    /// let key = event_loop.register(ours, Interest::READ, callbacks)?;
    /// event_loop.set_deadline_of(key, Some(Duration::from_millis(5)))?;
    /// event_loop.run()?; // ends: the peer was silent, and the registration is gone
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "set_timeout")]
    #[track_caller]
    pub fn set_deadline_of(&self, key: Key, after: Option<Duration>) -> Result<(), Error> {
        self.registration_state(key)?;
        self.ensure_usable()?;
        if let Some(registration) = self.registry.get(key.slot) {
            self.arm_deadline(key.slot, &registration, after, Location::caller());
        }
        Ok(())
    }

    pub(super) fn arm_deadline(
        &self,
        slot: SlabKey,
        registration: &Registration,
        after: Option<Duration>,
        site: &'static Location<'static>,
    ) {
        self.cancel_deadline(registration);
        if let Some(after) = after {
            // Three words hold it, so it needs no box (`InlineFn`).
            let call = Call::new(site, move |handle: &Self| {
                handle.deadline_passed(slot, site)
            });
            let at_ns = self.times.deadline_ns(after);
            let timer = self.arm(at_ns, Action::call(call));
            registration.has_deadline.set(true);
            self.registry.keep_deadline(registration.number(), timer);
        }
    }

    /// Cancels the deadline of a registration that ends.
    #[inline]
    pub(super) fn cancel_deadline(&self, registration: &Registration) {
        if registration.has_deadline.replace(false) {
            self.cancel_timer_of(registration);
        }
    }

    #[inline(never)]
    fn cancel_timer_of(&self, registration: &Registration) {
        if let Some(timer) = self.registry.take_deadline(registration.number()) {
            // The timer's closure has only numbers: dropping it runs no user code (L8).
            drop(self.times.timers.borrow_mut().cancel(timer));
        }
    }

    fn deadline_passed(&self, slot: SlabKey, site: &'static Location<'static>) {
        if let Some(registration) = self.registry.get(slot) {
            // The timer has fired: there is nothing to cancel.
            registration.has_deadline.set(false);
            let _ = self.registry.take_deadline(registration.number());
            self.call_one(registration, Unasked::Timeout(site));
        }
    }

    /// Runs `on_open` of a connection that a listener has accepted. The listener's `accept` closure
    /// has returned by then: neither runs inside the other (L3).
    pub(super) fn open(&self, registration: RegistrationRc) {
        self.call_one(registration, Unasked::Open);
    }

    /// Queues a call of `on_write` of a registration, as if there were room: for callbacks of this crate that
    /// have something to do and no event. If it is gone by then, this does nothing.
    pub(crate) fn call_write_soon(&self, key: Key, site: &'static Location<'static>) {
        let slot = key.slot;
        self.call_soon_from(site, move |handle| {
            if let Some(registration) = handle.registry.get(slot) {
                handle.call_one(registration, Unasked::Write);
            }
        });
    }

    /// Calls one callback outside a batch of events. If it panics, its registration is removed, as
    /// in a batch.
    fn call_one(&self, registration: RegistrationRc, unasked: Unasked) {
        let called = catch(|| {
            // L3: no turn runs inside another, so the callbacks are never borrowed already.
            if let Some(mut callbacks) = registration.borrow_tail() {
                let cx = Cx::new(self, &registration);
                match unasked {
                    Unasked::Timeout(_) => callbacks.on_timeout(&cx),
                    Unasked::Open => callbacks.on_open(&cx),
                    Unasked::Write => callbacks.on_write(&cx),
                }
            }
        });
        if let Err(payload) = called {
            let removed = self.deregister(registration.slot());
            let origin = match unasked {
                Unasked::Timeout(site) => Origin::Timer { site },
                Unasked::Open => registration.origin(Branch::Connect),
                Unasked::Write => registration.origin(Branch::Write),
            };
            // Before a panic of its destructors, so that the callback's panic is the first.
            self.apply_panic_policy(payload, origin);
            if let Some(removed) = removed {
                self.registry.keep_removed(removed);
            }
        }
        if registration.state.get().reasons.contains(Reasons::REMOVED) {
            drop(registration);
            self.drop_removed();
        }
    }
}
