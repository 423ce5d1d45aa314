//! Waiting for the end of a server, by callbacks and by coroutines.
//!
//! In asyncio: `Server.wait_closed`.

use crate::event_loop::user_code::drop_bounded;
use crate::event_loop::{LoopHandle, WeakHandle};
use crate::task::budget;
use crate::task::waiters::{WaiterKey, WakerList};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The numbers of connections of a closed server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerClosed {
    /// How many connections the server has had.
    pub served: u64,
    /// How many of them were open at [`Server::abort`](super::Server::abort), or at the limit of
    /// [`Server::drain`](super::Server::drain).
    pub aborted: usize,
}

type OnClosed = Box<dyn FnOnce(&LoopHandle, ServerClosed)>;

/// Whether a server is closed, with the callbacks and wakers that wait for that.
#[derive(Default)]
pub(super) struct Closed {
    result: Cell<Option<ServerClosed>>,
    callbacks: RefCell<Vec<OnClosed>>,
    waiters: WakerList,
}

impl Closed {
    pub(super) fn get(&self) -> Option<ServerClosed> {
        self.result.get()
    }

    /// Notes that the server is closed: queues the callbacks, and wakes the waiters.
    pub(super) fn set(
        &self,
        handle: &WeakHandle,
        site: &'static Location<'static>,
        result: ServerClosed,
    ) {
        if self.result.get().is_some() {
            return;
        }
        self.result.set(Some(result));
        let open = handle.upgrade_open();
        for callback in self.callbacks.take() {
            match &open {
                Some(open) => {
                    let _ = open.call_soon_from(site, move |handle| callback(handle, result));
                }
                // Each by itself, because this may be in a destructor, and their destructors may panic.
                None => drop_of(handle, callback),
            }
        }
        self.waiters.wake_all_reporting();
    }

    /// Calls `callback` soon after the server is closed; soon after this call, if it is closed already. If the loop is
    /// closed, drops it.
    pub(super) fn call(
        &self,
        handle: &WeakHandle,
        site: &'static Location<'static>,
        callback: OnClosed,
    ) {
        match (self.result.get(), handle.upgrade_open()) {
            (_, None) => drop_of(handle, callback),
            (None, Some(_)) => self.callbacks.borrow_mut().push(callback),
            (Some(result), Some(open)) => {
                open.call_soon_from(site, move |handle| callback(handle, result));
            }
        }
    }
}

/// Drops a callback of a loop that is closed, being closed, or gone. A panic is reported.
fn drop_of(handle: &WeakHandle, callback: OnClosed) {
    match handle.upgrade() {
        Some(closed) => closed.drop_guarded(callback),
        None => drop_bounded(callback),
    }
}

/// The future of [`Server::wait_closed`](super::Server::wait_closed).
pub(super) struct WaitClosed {
    closed: Rc<Closed>,
    place: Option<WaiterKey>,
}

impl WaitClosed {
    pub(super) fn new(closed: &Rc<Closed>) -> Self {
        Self {
            closed: Rc::clone(closed),
            place: None,
        }
    }
}

impl Future for WaitClosed {
    type Output = ServerClosed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ServerClosed> {
        let this = self.get_mut();
        if let Some(result) = this.closed.get() {
            return budget::budgeted(cx, |_| Poll::Ready(result)); // F1
        }
        this.closed.waiters.wait(&mut this.place, cx.waker());
        Poll::Pending
    }
}

impl Drop for WaitClosed {
    fn drop(&mut self) {
        self.closed.waiters.leave(&mut self.place);
    }
}
