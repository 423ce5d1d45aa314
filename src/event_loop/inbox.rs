//! The inbox: messages from other threads, in a queue behind a lock, with a notifier.
//!
//! The queue has the messages; the notifier only wakes the loop. It is used only if the loop sleeps
//! or is about to, and once per sleep, because a write to an eventfd costs far more than a flag.
//! The inbox outlives the loop, so a waker that is used late finds a closed queue, and does no
//! harm. Closures are called with `H`, the handle of the loop.
//!
//! In asyncio: `call_soon_threadsafe`; in the notes, the way back from the thread pool (N3, N5).
//!
//! # States
//!
//! *awake*: the loop runs, and will read the state before it sleeps. *asleep*: the loop waits in
//! the kernel, or is about to, or dispatches the events of a wait, or a host waits for its descriptor.
//! *notified*: `notify` was called since the last wait; if the loop was asleep, that call has used the
//! notifier, and the state says so.
//!
//! ```text
//! awake ── fall_asleep ──▶ asleep ── notify (uses the notifier) ──▶ notified ── wake_up ──▶ awake
//!   └───────────────────── notify (without the notifier) ─────────────▲
//! asleep ── wake_up, stay_awake (there is more to do than to dispatch events) ──▶ awake
//! ```
//!
//! A loop that only dispatches events stays asleep, because it waits again soon: so a turn needs no
//! atomic exchange. A message that is sent meanwhile uses the notifier, as during the wait.
//!
//! # Rules
//!
//! - **W1** A wake before or during the wait ends the wait. All changes are of one atomic, so they
//!   have one order: either `notify` is first, and `fall_asleep` returns `false`; or `fall_asleep`
//!   is first, and `notify` finds the loop asleep and uses the notifier.
//! - **W2** Between two waits the notifier is used at most once: only in the step from *asleep* to
//!   *notified*.
//! - **W3** Waking after the loop is gone is safe, and messages are returned to their senders.
//! - **W4** In a replay, messages are received as they were in the recording (`replay.rs`).

use super::error::LoopClosed;
use crate::base::sync::{AtomicBool, AtomicU8, AtomicUsize, Mutex, MutexGuard};
use crate::poll::Notify;
use readily_sys::fork::ForkGuard;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::thread::ThreadId;

mod message;
#[cfg(all(loom, test))]
pub(super) mod models;

pub(super) use message::Message;

struct Queue<H> {
    messages: Vec<Message<H>>,
    closed: bool,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
/// A bit. Together with [`ASLEEP`]: the notifier was used.
const NOTIFIED: u8 = 2;

pub(crate) struct Inbox<H> {
    queue: Mutex<Queue<H>>,
    /// Whether there are messages in the queue; changed under its lock.
    has_messages: AtomicBool,
    state: AtomicU8,
    notifier: Arc<dyn Notify>,
    /// A child process has a copy of the queue, but shares the notifier of its parent, and must not
    /// use it.
    fork: ForkGuard,
    /// The number of `RemoteHandle`s: each may still send a message.
    pub(super) remotes: AtomicUsize,
    /// The number of waits of this loop's tasks for other loops.
    pub(super) cross_loop_waits: AtomicUsize,
    /// Whether each wake has to be sent as a message: see
    /// [`VirtualKernel::is_recording`](crate::spi::VirtualKernel).
    recording: bool,
    /// The thread of the loop, and the loop's unique id.
    thread: ThreadId,
    pub(crate) loop_id: u64,
}

impl<H> Inbox<H> {
    pub(super) fn new(
        loop_id: u64,
        notifier: Arc<dyn Notify>,
        fork: ForkGuard,
        recording: bool,
    ) -> Self {
        Self {
            queue: Mutex::new(Queue {
                messages: Vec::new(),
                closed: false,
            }),
            has_messages: AtomicBool::new(false),
            // Asleep from the start: a host may wait for the descriptor before the first turn.
            state: AtomicU8::new(ASLEEP),
            notifier,
            fork,
            remotes: AtomicUsize::new(0),
            cross_loop_waits: AtomicUsize::new(0),
            recording,
            thread: std::thread::current().id(),
            loop_id,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<H>> {
        // A poisoned queue is consistent: nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the queue; `None` in a child process if another thread had the lock at the fork: the
    /// child does not have that thread, so the lock is never released there.
    fn queue_unless_lost(&self) -> Option<MutexGuard<'_, Queue<H>>> {
        match self.forked() {
            false => Some(self.queue()),
            true => self.queue.try_lock().ok(),
        }
    }

    /// Whether this process is a child of the one that made the loop.
    pub(crate) fn forked(&self) -> bool {
        self.fork.forked()
    }

    /// Sends a message; `false` if the loop is closed, and then the message is dropped.
    pub(super) fn send(&self, message: Message<H>) -> bool {
        if self.forked() {
            return false;
        }
        let queue = self.queue();
        if queue.closed {
            // L8: the message may be a closure whose destructor calls the inbox again.
            drop(queue);
            drop(message);
            return false;
        }
        self.add(queue, message);
        true
    }

    /// Sends a call of `call` with `value`. A closed loop returns `value` unchanged, so the closure
    /// is boxed under the lock, where the loop cannot close meanwhile.
    pub(super) fn send_call_with<V, C>(
        &self,
        value: V,
        call: C,
        site: &'static Location<'static>,
    ) -> Result<(), LoopClosed<V>>
    where
        V: Send + 'static,
        C: FnOnce(V, &H) + Send + 'static,
    {
        // In a fork the lock is not taken: the thread that held it may exist in the parent only.
        if self.forked() {
            return Err(LoopClosed(value));
        }
        let queue = self.queue();
        if queue.closed {
            drop(queue);
            return Err(LoopClosed(value));
        }
        let call = Box::new(move |handle: &H| call(value, handle));
        self.add(queue, Message::Call(call, site));
        Ok(())
    }

    fn add(&self, mut queue: MutexGuard<'_, Queue<H>>, message: Message<H>) {
        queue.messages.push(message);
        self.has_messages.store(true, Ordering::Relaxed);
        drop(queue);
        self.notify();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.forked() || self.queue().closed
    }

    /// Notifies the loop. W2: the notifier is used only if the loop is asleep.
    pub(super) fn notify(&self) {
        if self.forked() {
            return;
        }
        // `Release`: a thread that reads the state also sees the messages that were sent before.
        if self.state.fetch_or(NOTIFIED, Ordering::AcqRel) == ASLEEP {
            self.notifier.notify();
        }
    }

    /// Marks the loop as about to sleep; `false` if it was notified since it woke up.
    #[inline]
    pub(super) fn fall_asleep(&self) -> bool {
        let (relaxed, acquire) = (Ordering::Relaxed, Ordering::Acquire);
        // If it is still marked, a `notify` that is not seen here finds it so, and uses the notifier.
        self.state.load(relaxed) == ASLEEP
            || (self.state.compare_exchange(AWAKE, ASLEEP, relaxed, acquire))
                .map_or_else(|state| state & NOTIFIED == 0, |_| true)
    }

    /// Marks the loop as awake, because it has work: a message that is sent meanwhile does not need the
    /// notifier. Not if the notifier was used since the wait: its event is for the next wait.
    #[inline]
    pub(super) fn stay_awake(&self) {
        let (relaxed, asleep) = (Ordering::Relaxed, ASLEEP);
        if self.state.load(relaxed) == asleep {
            let _ = self.state.compare_exchange(asleep, AWAKE, relaxed, relaxed);
        }
    }

    /// Whether the notifier was used since the wait. For a loop that is not about to sleep.
    #[inline]
    pub(super) fn has_used_notifier(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ASLEEP != 0
    }

    /// Makes the descriptor readable for earlier notifications, because a host is about to wait for
    /// it.
    pub(super) fn notify_host(&self) {
        // W2: not if the notifier was used already.
        if !self.fall_asleep() && self.state.fetch_or(ASLEEP, Ordering::AcqRel) == NOTIFIED {
            self.notifier.notify();
        }
    }

    /// Whether the loop was notified. A notification that is missed here ends the next wait.
    #[inline]
    pub(super) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) & NOTIFIED != 0
    }

    /// Marks the loop as awake; `true` if there may be messages. A message that is sent meanwhile,
    /// and missed, is not lost: its `notify` comes later, and keeps the loop from sleeping.
    pub(super) fn wake_up(&self) -> bool {
        // Between ready tasks the state has mostly not changed, and a load is cheaper than a swap.
        self.state.load(Ordering::Relaxed) != AWAKE
            && self.state.swap(AWAKE, Ordering::AcqRel) & NOTIFIED != 0
    }

    /// Whether the loop is awake, and was not notified since it woke up.
    #[inline]
    pub(super) fn is_awake(&self) -> bool {
        self.state.load(Ordering::Relaxed) == AWAKE
    }

    /// Moves all messages into `into`, which must be empty, and whose buffer the queue reuses.
    pub(super) fn drain(&self, into: &mut Vec<Message<H>>) {
        if let Some(mut queue) = self.queue_unless_lost() {
            std::mem::swap(&mut queue.messages, into);
            self.has_messages.store(false, Ordering::Relaxed);
        }
    }

    /// Whether a message is queued. `Relaxed` is enough: a message that was sent before this call,
    /// in program order or through a join or a lock, is seen; messages that are sent at the same
    /// time have no order.
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        self.has_messages.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        (self.queue_unless_lost()).is_none_or(|queue| queue.messages.is_empty())
    }

    /// Closes the queue, unless there is a message in it; `true` if it is closed.
    pub(super) fn close_if_empty(&self) -> bool {
        let Some(mut queue) = self.queue_unless_lost() else {
            return true;
        };
        queue.closed |= queue.messages.is_empty();
        queue.closed
    }

    /// Closes the queue, and returns the messages that were not received, for the caller to drop.
    pub(super) fn close(&self) -> Vec<Message<H>> {
        let Some(mut queue) = self.queue_unless_lost() else {
            return Vec::new();
        };
        queue.closed = true;
        std::mem::take(&mut queue.messages)
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recording
    }

    /// Whether a `RemoteHandle` exists, which may still send a message.
    pub(super) fn has_remotes(&self) -> bool {
        self.remotes.load(Ordering::Acquire) != 0
    }

    /// Whether a task of this loop waits for another loop.
    pub(super) fn has_cross_loop_waits(&self) -> bool {
        self.cross_loop_waits.load(Ordering::Acquire) != 0
    }

    /// Whether this thread is the loop's, even if the loop does not turn.
    pub(crate) fn is_loop_thread(&self) -> bool {
        std::thread::current().id() == self.thread
    }

    /// Runs `f` on the loop's thread. This does not keep a run from ending; a closed loop drops `f`.
    pub(crate) fn send_call(
        &self,
        f: impl FnOnce(&H) + Send + 'static,
        site: &'static Location<'static>,
    ) {
        self.send(Message::Call(Box::new(f), site));
    }

    /// Wakes a task of this loop from another thread (or from outside a turn).
    #[cold]
    pub(crate) fn wake_task(&self, number: u64, waker: Waker) {
        self.send(Message::Wake(number, waker)); // W3: a closed inbox drops it
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
