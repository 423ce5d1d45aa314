//! Receiving the messages of other threads: once a turn, and before this thread queues work of its
//! own.
//!
//! A message becomes an entry of the ready queue, and the rule for queued work (L5) decides in which
//! turn it runs. A closure that was sent before the loop's thread queued one must run before that
//! one, so `call_soon` and `spawn` receive messages first.
//!
//! In asyncio both kinds of work go into one queue; in the notes, the way back from the thread pool
//! (N3, N5).

use super::loop_handle::{Call, LoopHandle, Message};
use crate::base::shrink;
use std::panic::Location;
use std::task::Waker;

impl LoopHandle {
    /// Wakes up, and notes whether another thread has notified the loop.
    #[inline]
    pub(super) fn consume_notification(&self) {
        if self.replayed_or(self.inbox.wake_up()) {
            self.notified.set(true);
        }
    }

    /// Step 3. Receives the messages of other threads, if there may be any.
    #[inline]
    pub(super) fn receive_messages(&self) {
        if self.notified.take() {
            self.queue_messages();
        }
    }

    /// Receives earlier messages before this thread queues a closure or a task, so that they run
    /// first. Nearly always there are none, and then this costs one load.
    #[inline]
    pub(crate) fn receive_earlier(&self) {
        if self.replayed_or(self.inbox.has_messages()) {
            self.queue_messages();
        }
    }

    /// Queues a task that another thread has woken, unless it is gone.
    fn queue_woken(&self, waker: &Waker) {
        if let Some(scheduler) = self.scheduler.get() {
            scheduler.queue(waker);
        }
    }

    /// Queues the messages as what they ask for. A stop is queued, too, because it must not overtake
    /// the messages that were sent before it.
    #[cold]
    fn queue_messages(&self) {
        self.ready.rows.attention.set(true);
        let mut messages = self.messages.take();
        self.inbox.drain(&mut messages);
        if let Some(kernel) = &self.kernel {
            self.reorder(&**kernel, &mut messages);
        }
        let push = |call| {
            self.ready.push_call(call);
        };
        for message in messages.drain(..) {
            match message {
                Message::Call(run, site) => push(Call::new(site, run)),
                Message::Wake(_, waker) => self.queue_woken(&waker),
                Message::Stop => push(Call::new(Location::caller(), Self::stop)),
            }
        }
        // Shrink after a burst (R126): at once, because there may be no later call.
        messages.shrink_to(shrink::MIN_CAPACITY);
        self.messages.replace(messages);
    }
}
