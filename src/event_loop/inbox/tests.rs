//! The inbox in a child process.

use super::*;
use crate::base::unique_id;

impl<H> Inbox<H> {
    /// An inbox of a loop of the parent process.
    pub(crate) fn of_the_parent() -> Self {
        struct Silent;
        impl Notify for Silent {
            fn notify(&self) {
                unreachable!("a child does not wake its parent");
            }
        }
        Self::new(
            unique_id::next(),
            Arc::new(Silent),
            ForkGuard::of_the_parent(),
            false,
        )
    }
}

/// R197. The lock is held at the fork by another thread, which the child does not have.
#[test]
fn a_child_of_the_loops_process_does_not_wait_for_the_lock() {
    let inbox = Inbox::<()>::of_the_parent();
    let mut queue = inbox.queue();
    queue.messages.push(Message::Stop);
    let mut into = Vec::new();
    inbox.drain(&mut into);
    assert!(into.is_empty() && inbox.is_empty());
    assert!(inbox.is_closed() && !inbox.send(Message::Stop));
    assert_eq!(inbox.close().len(), 0);
    drop(queue);
    assert_eq!(inbox.close().len(), 1, "the lock was free at the fork");
}
