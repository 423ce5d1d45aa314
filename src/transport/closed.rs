//! The end of a server, for callbacks and for coroutines that wait for it.
//!
//! In asyncio: `Server.wait_closed`.

use crate::event_loop::{LoopHandle, WeakHandle};
use crate::task::waiters::{WaiterKey, WakerList};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What has become of the connections of a server that is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerClosed {
    /// How many connections it has had.
    pub served: u64,
    /// How many of them were open at [`Server::abort`](super::Server::abort), or at the limit of
    /// [`Server::drain`](super::Server::drain).
    pub aborted: usize,
}

type OnClosed = Box<dyn FnOnce(&LoopHandle, ServerClosed)>;

/// Whether a server is closed, and the callbacks and wakers that wait for it.
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

    /// The server is closed. The callbacks run soon.
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
        let callbacks = self.callbacks.take();
        if let Some(open) = handle.upgrade_open() {
            for callback in callbacks {
                open.call_soon_from(site, move |handle| callback(handle, result));
            }
        }
        self.waiters.wake_all_reporting();
    }

    /// Calls `callback` soon after the end, or soon if that was before.
    pub(super) fn call(
        &self,
        handle: &WeakHandle,
        site: &'static Location<'static>,
        callback: OnClosed,
    ) {
        match (self.result.get(), handle.upgrade_open()) {
            (Some(result), Some(open)) => {
                open.call_soon_from(site, move |handle| callback(handle, result));
            }
            _ => self.callbacks.borrow_mut().push(callback),
        }
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
            return Poll::Ready(result);
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
