//! What keeps a run from ending, though its loop has no work: handles for other threads, and waits
//! for other loops.
//!
//! A [`RemoteHandle`] is a counted reference to the inbox: while one exists, a run does not end for
//! lack of work. A closed loop returns a message to its sender.
//!
//! In debug mode a run that nothing on its loop can end is reported as a deadlock. A task of
//! another loop that is awaited here can end it, but has no timer, descriptor or `RemoteHandle` on
//! this loop. So each such wait is counted, by a [`CrossLoopWait`], while its waker is stored in the
//! other loop.
//!
//! In asyncio: `call_soon_threadsafe`, `wrap_future`; in the notes, the way back from the thread pool
//! (N3, N5).

use super::current;
use super::error::LoopClosed;
use super::loop_handle::{Inbox, LoopHandle, Message};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A handle to a loop for other threads: sends closures, spawns futures, wakes the loop and stops
/// it.
///
/// While a `RemoteHandle` exists, [`EventLoop::run`](super::EventLoop::run) does not end for lack of work:
/// another thread may still send some.
pub struct RemoteHandle {
    inbox: Arc<Inbox>,
}

impl LoopHandle {
    /// Returns the inbox, to which wakers on other threads send task ids.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Returns a handle to this loop for other threads.
    #[doc(alias = "get_signal")]
    #[must_use]
    pub fn remote_handle(&self) -> RemoteHandle {
        RemoteHandle::new(Arc::clone(&self.inbox))
    }
}

impl RemoteHandle {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        inbox.remotes.fetch_add(1, Ordering::Relaxed);
        Self { inbox }
    }

    /// Runs `f` on the loop's thread, in one of its next turns. Closures run in the order in which
    /// they were sent, and before closures and tasks that the loop's thread queues afterwards by
    /// `call_soon` or `spawn`. Of two calls at the same time on two threads, either may be first.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] with `f` in it, if the loop is gone, or belongs to a parent process. A loop that is
    /// dropped afterwards drops `f` on its own thread.
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn call_soon<F>(&self, f: F) -> Result<(), LoopClosed<F>>
    where
        F: FnOnce(&LoopHandle) + Send + 'static,
    {
        self.call_soon_with(f, |f, handle| f(handle))
    }

    /// Runs `call` with `value` on the loop's thread; a closed loop returns `value`.
    #[track_caller]
    pub(crate) fn call_soon_with<V, C>(&self, value: V, call: C) -> Result<(), LoopClosed<V>>
    where
        V: Send + 'static,
        C: FnOnce(V, &LoopHandle) + Send + 'static,
    {
        self.inbox.send_call_with(value, call, Location::caller())
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Makes [`EventLoop::run`](super::EventLoop::run) return after the turn that it is in.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`] if the loop is gone.
    pub fn stop(&self) -> Result<(), LoopClosed<()>> {
        if self.inbox.send(Message::Stop) {
            Ok(())
        } else {
            Err(LoopClosed(()))
        }
    }

    /// Ends the loop's wait, if it is waiting. A loop without work then waits again.
    #[doc(alias = "wakeup")]
    #[doc(alias = "uv_async_send")]
    pub fn wake(&self) {
        self.inbox.notify();
    }

    /// Whether the loop is gone, or belongs to a parent process.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

impl Clone for RemoteHandle {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.inbox))
    }
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        // `AcqRel`: the messages of the last handle are in the queue before the loop sees zero.
        if self.inbox.remotes.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The loop may have been waiting for nothing but this handle.
            self.inbox.notify();
        }
    }
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Counts a wait of a task of this loop for another loop, until it is dropped.
pub(crate) struct CrossLoopWait(Arc<Inbox>);

impl CrossLoopWait {
    /// Counts a wait on this thread's current loop, if that is another one than the loop of `home`.
    pub(crate) fn new(home: &Arc<Inbox>) -> Option<Self> {
        let inbox = current::with(|handle| handle.inbox())?;
        if Arc::ptr_eq(&inbox, home) {
            return None;
        }
        Some(Self::of(inbox))
    }

    /// Counts a wait on this thread's current loop for a thread without one. In debug mode only, where
    /// the count is used.
    pub(crate) fn for_a_thread() -> Option<Self> {
        let inbox = current::with(|handle| handle.is_debug().then(|| handle.inbox()))?;
        inbox.map(Self::of)
    }

    fn of(inbox: Arc<Inbox>) -> Self {
        inbox.cross_loop_waits.fetch_add(1, Ordering::Relaxed);
        Self(inbox)
    }
}

impl Drop for CrossLoopWait {
    fn drop(&mut self) {
        // `Release`: a thread that reads zero also sees the wakes that happened before this.
        self.0.cross_loop_waits.fetch_sub(1, Ordering::Release);
    }
}
