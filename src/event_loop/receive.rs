//! Receiving the messages of other threads: once a turn, and before this thread queues work of its
//! own.
//!
//! A turn runs the messages that it finds. But a closure that was sent before the loop's thread
//! queued one must run before that one, so `call_soon` and `spawn` receive messages first.
//!
//! In asyncio both kinds of work go into one queue; in the notes, the way back from the thread pool
//! (N3, N5).

use super::inbox::Message;
use super::loop_handle::LoopHandle;
use super::ready::Call;
use crate::base::shrink;
use std::panic::Location;

impl LoopHandle {
    /// Step 3. Receives the messages of other threads, which run in this turn.
    #[inline]
    pub(super) fn read_inbox(&self) {
        if self.notified.take() {
            self.receive_messages();
        }
    }

    #[cold]
    fn receive_messages(&self) {
        self.receive(&|message| match message {
            Message::Call(run, site) => self.ready.push_remote(Call::new(site, run)),
            Message::Wake(task_id) => self.ready.push_woken(task_id),
            Message::Stop => self.stop(),
        });
    }

    /// Receives earlier messages before this thread queues a closure or a task, so that they run
    /// first. Nearly always there are none, and then this costs one load.
    #[inline]
    pub(super) fn receive_earlier(&self) {
        if self.replayed_or(self.inbox.has_messages()) {
            self.queue_messages();
        }
    }

    /// Queues messages for the next turn, like all added work (L5). A stop is queued, too, because
    /// it must not overtake the messages that were sent before it.
    #[cold]
    fn queue_messages(&self) {
        let push = |call| {
            self.ready.push_call(call);
        };
        self.receive(&|message| match message {
            Message::Call(run, site) => push(Call::new(site, run)),
            Message::Wake(task_id) => self.ready.push_woken(task_id),
            Message::Stop => push(Call::new(Location::caller(), Self::stop)),
        });
    }

    fn receive(&self, take: &dyn Fn(Message)) {
        let mut messages = self.messages.take();
        self.inbox.drain(&mut messages);
        if let Some(kernel) = &self.kernel {
            self.reorder(&**kernel, &mut messages);
        }
        messages.drain(..).for_each(take);
        // Shrink after a burst (R126): at once, because there may be no later call.
        messages.shrink_to(shrink::MIN_CAPACITY);
        self.messages.replace(messages);
    }
}
