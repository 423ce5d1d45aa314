//! Taking in what other threads sent: once a turn, and before this thread queues something of its own.
//!
//! A turn that finds messages runs them in it. But a closure that was sent before the loop's thread
//! queued one must run before that, so `call_soon` and `spawn` look into the inbox first.
//!
//! In asyncio both go into one queue; in the notes, the way back from the thread pool (N3, N5).

use super::inbox::Message;
use super::local::LoopHandle;
use super::ready::Call;
use crate::base::shrink;
use std::panic::Location;

impl LoopHandle {
    /// Step 3. What other threads sent is ready, or already done.
    #[inline]
    pub(super) fn read_inbox(&self) {
        if self.notified.take() {
            self.receive_messages();
        }
    }

    #[cold]
    fn receive_messages(&self) {
        self.receive(|message| match message {
            Message::Call(run, site) => self.ready.push_remote(Call::new(site, run)),
            Message::Wake(task_id) => self.ready.push_woken(task_id),
            Message::Stop => self.stop(),
        });
    }

    /// Before this thread queues a closure or a task of its own: what was sent before stands before
    /// it. Nearly always nothing was, which is one load.
    #[inline]
    pub(super) fn receive_earlier(&self) {
        if self.replayed_or(self.inbox.has_messages()) {
            self.queue_messages();
        }
    }

    /// What was sent is for the next turn, as all that is added (L5): a stop too, or it would come
    /// before what was sent ahead of it.
    #[cold]
    fn queue_messages(&self) {
        let push = |call| {
            self.ready.push_call(call);
        };
        self.receive(|message| match message {
            Message::Call(run, site) => push(Call::new(site, run)),
            Message::Wake(task_id) => self.ready.push_woken(task_id),
            Message::Stop => push(Call::new(Location::caller(), Self::stop)),
        });
    }

    fn receive(&self, take: impl Fn(Message)) {
        let mut messages = self.messages.take();
        self.inbox.drain(&mut messages);
        if let Some(kernel) = &self.kernel {
            self.reorder(&**kernel, &mut messages);
        }
        messages.drain(..).for_each(take);
        // R126: at once, for there may be no next time; each of very many was in a box of its own.
        messages.shrink_to(shrink::MIN_CAPACITY);
        self.messages.replace(messages);
    }
}
