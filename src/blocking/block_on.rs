//! Blocks a thread until a poll is ready.
//!
//! In asyncio: `concurrent.futures.Future.result`, for a thread without a loop.

use super::pool_state::now;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// Ends the sleep of a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks this thread until `poll` is ready; `None` if that is not before `end`.
pub(super) fn block_on<R>(
    end: Option<Instant>,
    mut poll: impl FnMut(&Waker) -> Poll<R>,
) -> Option<R> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(result) = poll(&waker) {
            return Some(result);
        }
        match end {
            None => thread::park(),
            Some(end) => {
                let left = end.saturating_duration_since(now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}
