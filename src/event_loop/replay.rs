//! Recording and replaying the messages of other threads.
//!
//! A turn depends on the poller, the clock and the descriptors, all of which a virtual kernel
//! records and replays by itself, and on two facts more: whether the loop was notified, and which
//! messages were in the inbox. The loop passes these to the kernel. A recording kernel stores them;
//! a replaying kernel returns the stored ones. The loop then takes the messages in that order, and
//! waits for the ones that have not arrived yet. Every other kernel returns the facts unchanged.
//!
//! In the notes: the way back from the thread pool (N3, N5), made repeatable.

use super::loop_handle::{LoopHandle, Message};
use crate::base::fnv;
use crate::poll::VirtualKernel;

impl LoopHandle {
    /// Passes a fact to the kernel, and returns the fact or, in a replay, the recorded one.
    #[inline]
    pub(crate) fn replayed_or(&self, live: bool) -> bool {
        match &self.kernel {
            Some(kernel) => kernel.replayed_or(live.into()) != 0,
            None => live,
        }
    }

    /// Whether a virtual kernel records, or replays, what other threads do.
    pub(crate) fn is_recording(&self) -> bool {
        self.kernel
            .as_ref()
            .is_some_and(|kernel| kernel.is_recording())
    }

    /// Whether a virtual kernel is notified of each call.
    pub(crate) fn is_traced(&self) -> bool {
        self.kernel.is_some()
    }

    /// Notifies a virtual kernel of the next call: its kind, and its task, closure or registration.
    #[inline]
    pub(crate) fn trace_call(&self, what: &'static str, id: u64) {
        if let Some(kernel) = &self.kernel {
            kernel.trace_call(what, id);
        }
    }

    /// W4: leaves in `messages` the messages that the kernel names, in its order; holds back the
    /// others.
    pub(super) fn reorder(&self, kernel: &dyn VirtualKernel, messages: &mut Vec<Message>) {
        let mut held = self.held_back.take();
        held.append(messages);
        let count = kernel.replayed_or(held.len() as u64);
        for _ in 0..count {
            let first = held.first().map_or(0, Message::origin_hash);
            let hash = kernel.replayed_or(first);
            let Some(at) = self.find(kernel, &mut held, hash) else {
                break; // it will not come, and the kernel has noticed that
            };
            messages.push(held.remove(at));
        }
        // The cell was empty meanwhile: no other code writes to it.
        self.held_back.replace(held);
    }

    /// Waits for a message with this origin hash, and returns its index in `held`.
    fn find(
        &self,
        kernel: &dyn VirtualKernel,
        held: &mut Vec<Message>,
        hash: u64,
    ) -> Option<usize> {
        let mut arrived = Vec::new();
        loop {
            let found = held
                .iter()
                .position(|message| message.origin_hash() == hash);
            if found.is_some() {
                return found;
            }
            // W1: a message that is sent from here on notifies the loop.
            let waits = self.inbox.fall_asleep();
            let notified = !waits || kernel.await_notification();
            self.inbox.wake_up();
            self.inbox.drain(&mut arrived);
            if !notified && arrived.is_empty() {
                return None;
            }
            held.append(&mut arrived);
        }
    }
}

impl Message {
    /// A hash of the place that the message was sent from. Messages with the same hash stay in the
    /// order in which they were sent.
    fn origin_hash(&self) -> u64 {
        match self {
            Self::Stop => 1,
            Self::Wake(number, _) => number.wrapping_shl(2) | 2,
            Self::Call(_, site) => {
                let sum = fnv::add(fnv::EMPTY, site.file().as_bytes());
                let sum = fnv::add(sum, &site.line().to_le_bytes());
                let sum = fnv::add(sum, &site.column().to_le_bytes());
                u64::from(sum) << 2 | 3
            }
        }
    }
}
