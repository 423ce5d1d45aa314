//! What other threads do, as the kernel has it: where a recording is made or played.
//!
//! All that a turn depends on comes from the poller, the clock and the descriptors, but for this:
//! whether somebody has rung, and which messages lay in the inbox. A recorder writes that down; a
//! replayer says what it was, and then the messages are taken in that order, and waited for if they
//! have not come yet. On any other kernel it is what it is.
//!
//! In the notes: the way back from the thread pool (N3, N5), made to repeat itself.

use super::inbox::Message;
use super::local::LoopHandle;
use crate::base::fnv;
use crate::poll::VirtualKernel;

impl LoopHandle {
    /// Puts to the kernel what has come about by itself.
    pub(super) fn replayed_or(&self, live: bool) -> bool {
        match &self.kernel {
            Some(kernel) => kernel.replayed_or(live.into()) != 0,
            None => live,
        }
    }

    /// Tells the kernel who is called next.
    #[inline]
    pub(super) fn trace_call(&self, what: &'static str, whose: u64) {
        if let Some(kernel) = &self.kernel {
            kernel.trace_call(what, whose);
        }
    }

    /// W4: leaves in `messages` those that the kernel says have come, in its order; holds the others.
    pub(super) fn reorder(&self, kernel: &dyn VirtualKernel, messages: &mut Vec<Message>) {
        let mut held = self.held_back.take();
        held.append(messages);
        let count = kernel.replayed_or(held.len() as u64);
        for _ in 0..count {
            let first = held.first().map_or(0, Message::origin_hash);
            let tag = kernel.replayed_or(first);
            let Some(at) = self.find(kernel, &mut held, tag) else {
                break; // the kernel knows that it waited in vain
            };
            messages.push(held.remove(at));
        }
        // Out of the cell meanwhile, and nobody else puts anything there.
        self.held_back.replace(held);
    }

    /// Where in `held` the message is; waits for it.
    fn find(&self, kernel: &dyn VirtualKernel, held: &mut Vec<Message>, tag: u64) -> Option<usize> {
        let mut fresh = Vec::new();
        loop {
            let found = held.iter().position(|message| message.origin_hash() == tag);
            if found.is_some() {
                return found;
            }
            // W1: who sends from here on rings.
            let waits = self.inbox.fall_asleep();
            let notified = !waits || kernel.await_notification();
            self.inbox.wake_up();
            self.inbox.drain(&mut fresh);
            if !notified && fresh.is_empty() {
                return None;
            }
            held.append(&mut fresh);
        }
    }
}

impl Message {
    /// Tells messages apart that were sent from different places. Two of the same tag come in the
    /// order of their sending.
    fn origin_hash(&self) -> u64 {
        match self {
            Self::Stop => 1,
            Self::Wake(task_id) => task_id.wrapping_shl(2) | 2,
            Self::Call(_, site) => {
                let place = [site.line().to_le_bytes(), site.column().to_le_bytes()];
                let place = place.into_iter().flatten();
                u64::from(fnv::sum(site.file().bytes().chain(place))) << 2 | 3
            }
        }
    }
}
