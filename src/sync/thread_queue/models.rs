//! The thread queue under loom: two threads that send and end, against a receiver that waits.
//!
//! The receiver sleeps until its waker has been woken, and then polls. So a wake that comes between its
//! check and its sleep, and is lost, is an endless wait, which loom reports. The same holds for an
//! unreported end of the senders.

use super::ThreadQueue;
use crate::sync::{Closed, PutError};
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

struct Bed(Notify);

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// All that is received until the senders have gone.
fn receive(mailbox: &ThreadQueue<u32>) -> Vec<u32> {
    let bed = Arc::new(Bed(Notify::new()));
    let waker = Waker::from(Arc::clone(&bed));
    let mut received = Vec::new();
    loop {
        match mailbox.poll_pop(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(value)) => received.push(value),
            Poll::Ready(Err(Closed(()))) => return received,
            Poll::Pending => bed.0.wait(),
        }
    }
}

/// Q9.
#[test]
fn what_two_threads_send_arrives_and_so_does_their_end() {
    loom::model(|| {
        let mailbox = Arc::new(ThreadQueue::new(usize::MAX));
        mailbox.state().senders = 2;
        let threads = [[1, 2].as_slice(), &[3]].map(|values| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for &value in values {
                    assert!(mailbox.push(value).is_ok());
                }
                mailbox.leave();
            })
        });
        let mut received = receive(&mailbox);
        let place = |value| received.iter().position(|&other| other == value);
        assert!(place(1) < place(2), "Q9: in its order");
        received.sort_unstable();
        assert_eq!(received, [1, 2, 3], "Q9: all, and once");
        for thread in threads {
            thread.join().expect("sending does not fail");
        }
    });
}

/// Q9: a receiver that goes leaves each value with it, or with its sender.
#[test]
fn what_meets_the_end_of_the_receiver_is_there_or_comes_back() {
    loom::model(|| {
        let mailbox = Arc::new(ThreadQueue::new(usize::MAX));
        let also = Arc::clone(&mailbox);
        let thread = thread::spawn(move || match also.push(1) {
            Ok(()) => 0,
            Err(PutError::Closed(value) | PutError::Full(value)) => value,
        });
        let there = {
            let mut list = mailbox.state();
            list.closed = true;
            std::mem::take(&mut list.items).into_iter().sum::<u32>()
        };
        let back = thread.join().expect("sending does not fail");
        assert_eq!(there + back, 1, "Q9");
    });
}
