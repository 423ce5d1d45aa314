//! The way in from other threads: a list behind a lock, and a notifier.
//!
//! The list carries the work; the notifier only says "look". It is rung when the loop sleeps,
//! or is about to, and once per sleep: a write to an eventfd costs a hundred times what a
//! flag costs. The inbox outlives the loop, so a waker that is used late finds a closed
//! list and nothing worse.
//!
//! In asyncio: `call_soon_threadsafe`; in the notes, the way back from the thread pool (N3, N5).
//!
//! # States
//!
//! *awake*: the loop runs, and will look at the state before it sleeps. *asleep*: it waits
//! in the kernel, or is about to, or a host waits for its descriptor. *rung*: somebody came
//! since the last wait; if the loop was asleep, the loop was notified for it.
//!
//! ```text
//! awake ── fall_asleep ──▶ asleep ── ring (and the notifier) ──▶ rung ── wake_up ──▶ awake
//!   └──────────────────────── ring (no bell) ─────────────────▲
//! asleep ── wake_up (an event or a timer was first) ──▶ awake
//! ```
//!
//! # Rules
//!
//! - **W1** A wake before or during the wait ends the wait. All changes are of one atomic,
//!   so they have one order: either `notify` comes first, and `fall_asleep` finds it, or
//!   `fall_asleep` does, and `notify` finds the loop asleep and uses the notifier.
//! - **W2** Between two waits at most one ring is paid: only the step from *asleep* to
//!   *rung* pays.
//! - **W3** Waking after the loop is gone is safe, and work comes back to its sender.
//! - **W4** Where a recording is played, messages are taken as they were taken then (`taped.rs`).

use super::error::LoopClosed;
use super::local::LoopHandle;
use crate::base::sync::{AtomicBool, AtomicU8, AtomicUsize, Mutex, MutexGuard};
use crate::poll::Notify;
use readily_sys::fork::ForkGuard;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::ThreadId;

#[cfg(all(loom, test))]
pub(super) mod models;

/// What can be handed in.
pub(super) enum Message {
    /// Call this on the loop's thread. Beside it where it was sent from, by which it is known
    /// again where a recording is played.
    Call(
        Box<dyn FnOnce(&LoopHandle) + Send>,
        &'static Location<'static>,
    ),
    /// A job was woken.
    Wake(u64),
    /// Leave `run` after this turn.
    Stop,
}

struct Queue {
    messages: Vec<Message>,
    closed: bool,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Whether there are messages in the list; changed under its lock.
    has_messages: AtomicBool,
    state: AtomicU8,
    notifier: Arc<dyn Notify>,
    /// A child of our process has the list, and the notifier of its parent: it must not ring it.
    fork: ForkGuard,
    /// How many `RemoteHandle`s there are: each may still hand something in.
    pub(super) remotes: AtomicUsize,
    /// How many tasks of other loops are awaited on this one.
    pub(super) cross_loop_waits: AtomicUsize,
    /// Whether each wake has to come as a message: see [`VirtualKernel::is_recording`](crate::spi::VirtualKernel).
    recording: bool,
    /// Whose thread the loop is.
    loop_id: ThreadId,
}

impl Inbox {
    pub(super) fn new(bell: Arc<dyn Notify>, fork: ForkGuard, taped: bool) -> Self {
        let list = Mutex::new(Queue {
            messages: Vec::new(),
            closed: false,
        });
        // Asleep from the start: a host may wait for the descriptor before the first turn.
        let state = AtomicU8::new(ASLEEP);
        Self {
            queue: list,
            has_messages: AtomicBool::new(false),
            state,
            notifier: bell,
            fork,
            remotes: AtomicUsize::new(0),
            cross_loop_waits: AtomicUsize::new(0),
            recording: taped,
            loop_id: std::thread::current().id(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A poisoned list is whole: nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, unless this is a child of our process, and another thread had the lock at the fork: that
    /// thread is not in the child, where the lock is never released.
    fn queue_unless_lost(&self) -> Option<MutexGuard<'_, Queue>> {
        match self.forked() {
            false => Some(self.queue()),
            true => self.queue.try_lock().ok(),
        }
    }

    /// Whether this process is a child of the one whose loop this is.
    pub(crate) fn forked(&self) -> bool {
        self.fork.forked()
    }

    /// Hands a message in; `false` if the loop is closed, and then the message is dropped.
    pub(super) fn send(&self, message: Message) -> bool {
        if self.forked() {
            return false;
        }
        let list = self.queue();
        if list.closed {
            // L8: the message may be a closure whose destructor comes back to us.
            drop(list);
            drop(message);
            return false;
        }
        self.add(list, message);
        true
    }

    /// Hands in the call of `call` with `value`; a closed loop gives `value` back as it was, whenever
    /// it closes: hence boxed under the lock.
    pub(super) fn send_call_with<V, C>(
        &self,
        value: V,
        call: C,
        site: &'static Location<'static>,
    ) -> Result<(), LoopClosed<V>>
    where
        V: Send + 'static,
        C: FnOnce(V, &LoopHandle) + Send + 'static,
    {
        // Not even the lock is taken in a fork: who held it may be in the parent only.
        if self.forked() {
            return Err(LoopClosed(value));
        }
        let list = self.queue();
        if list.closed {
            drop(list);
            return Err(LoopClosed(value));
        }
        let call = Box::new(move |handle: &LoopHandle| call(value, handle));
        self.add(list, Message::Call(call, site));
        Ok(())
    }

    fn add(&self, mut list: MutexGuard<'_, Queue>, message: Message) {
        list.messages.push(message);
        self.has_messages.store(true, Ordering::Relaxed);
        drop(list);
        self.notify();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.forked() || self.queue().closed
    }

    /// Says that somebody came. W2: only who finds the loop asleep pays for the notifier.
    pub(super) fn notify(&self) {
        if self.forked() {
            return;
        }
        // `Release`: what was handed in before is seen by whoever finds the state.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP {
            self.notifier.notify();
        }
    }

    /// Says that the loop is about to sleep; `false` if somebody has come since it woke up.
    pub(super) fn fall_asleep(&self) -> bool {
        let (relaxed, acquire) = (Ordering::Relaxed, Ordering::Acquire);
        let was = self.state.compare_exchange(AWAKE, ASLEEP, relaxed, acquire);
        was != Err(NOTIFIED)
    }

    /// A host is about to wait for the descriptor, which must tell of what has come already.
    pub(super) fn notify_host(&self) {
        if !self.fall_asleep() {
            self.notifier.notify();
        }
    }

    /// Says that the loop is up; `true` if there may be messages. One that is handed in while we
    /// look, and missed, is not lost: its ring comes after, and keeps the loop from sleeping.
    pub(super) fn wake_up(&self) -> bool {
        // Between ready tasks nobody has changed it, and a look is cheaper than a swap.
        self.state.load(Ordering::Relaxed) != AWAKE
            && self.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }

    /// Takes all messages out into `into`, which is empty, and leaves its buffer in return.
    pub(super) fn drain(&self, into: &mut Vec<Message>) {
        let Some(mut list) = self.queue_unless_lost() else {
            return;
        };
        std::mem::swap(&mut list.messages, into);
        self.has_messages.store(false, Ordering::Relaxed);
    }

    /// Whether a message lies here. `Relaxed`: what was sent before this was asked, in the order of
    /// the program or by way of a join or a lock, is seen; of what was not there is no order.
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        self.has_messages.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        let list = self.queue_unless_lost();
        list.is_none_or(|list| list.messages.is_empty())
    }

    /// Closes, and returns what nobody will read any more, to be dropped by the caller.
    pub(super) fn close(&self) -> Vec<Message> {
        let Some(mut list) = self.queue_unless_lost() else {
            return Vec::new();
        };
        list.closed = true;
        std::mem::take(&mut list.messages)
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recording
    }

    /// Whether somebody may still hand something in.
    pub(super) fn has_remotes(&self) -> bool {
        self.remotes.load(Ordering::Acquire) != 0
    }

    /// Whether this thread is the one whose loop this is, turning or not.
    pub(crate) fn is_loop_thread(&self) -> bool {
        std::thread::current().id() == self.loop_id
    }

    /// Runs `f` on the loop's thread, without keeping the loop from ending. Dropped by a closed one.
    pub(crate) fn send_call(
        &self,
        f: impl FnOnce(&LoopHandle) + Send + 'static,
        site: &'static Location<'static>,
    ) {
        self.send(Message::Call(Box::new(f), site));
    }

    /// Wakes a job of this loop from another thread (or from outside a turn).
    #[cold]
    pub(crate) fn wake_task(&self, task_id: u64) {
        // W3: to a closed inbox this is nothing.
        self.send(Message::Wake(task_id));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    impl Inbox {
        /// That of a loop of the parent of this process.
        pub(crate) fn of_the_parent() -> Self {
            struct Silent;
            impl Notify for Silent {
                fn notify(&self) {
                    unreachable!("a child does not wake its parent");
                }
            }
            Self::new(Arc::new(Silent), ForkGuard::of_the_parent(), false)
        }
    }

    /// R197. The lock is held at the fork by another thread, which the child does not have.
    #[test]
    fn a_child_of_the_loops_process_does_not_wait_for_the_lock() {
        let inbox = Inbox::of_the_parent();
        let mut list = inbox.queue();
        list.messages.push(Message::Stop);
        let mut into = Vec::new();
        inbox.drain(&mut into);
        assert!(into.is_empty() && inbox.is_empty());
        assert!(inbox.is_closed() && !inbox.send(Message::Stop));
        assert_eq!(inbox.close().len(), 0);
        drop(list);
        assert_eq!(inbox.close().len(), 1, "the lock was free at the fork");
    }
}
