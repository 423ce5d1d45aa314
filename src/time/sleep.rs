//! `sleep`: a timer that wakes the one who awaits it.
//!
//! Nothing is armed before the first poll (calling a coroutine runs nothing, N9), and the
//! time counts from a fresh reading of the clock then, so it is never early (C1).
//!
//! In the notes: `sleep(seconds)` (N11, N18).

use crate::event_loop::{Handle, WakeState, WakeTimer};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Waits for `delay`, counted from the first poll, on the loop's clock.
///
/// Never early; late by what the loop is busy with. Zero gives way once. A delay beyond 584
/// years never ends.
///
/// # Panics
///
/// When polled outside a loop: there is no clock to ask. When polled again on another loop than
/// before, or after its loop was closed: it would never end.
///
/// # Cancellation
///
/// Dropping it disarms its timer. Nothing is lost but the time.
///
/// # Examples
///
/// ```
/// use readily::{run, sleep};
/// use std::time::Duration;
///
/// run(async { sleep(Duration::from_millis(5)).await })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    Sleep {
        state: State::Unarmed(delay),
    }
}

/// What [`sleep`] returns.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    state: State,
}

#[derive(Debug)]
enum State {
    Unarmed(Duration),
    Armed(WakeTimer),
    Over,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Unarmed(delay) => {
                let handle = Handle::current()
                    .expect("slept outside a loop: use readily::run, or EventLoop::enter");
                let timer = handle.with(|local| local.wake_later(*delay, cx.waker().clone()));
                self.state = State::Armed(timer.expect("the current loop is there"));
                Poll::Pending
            }
            State::Armed(timer) => match timer.poll(cx.waker()) {
                WakeState::Pending => Poll::Pending,
                // To wait for a loop that is gone, or does not run, is to wait for ever.
                WakeState::Gone => panic!("slept on a loop that is closed"),
                WakeState::Elsewhere => panic!("slept on another loop than the one that runs here"),
                WakeState::Fired => {
                    self.state = State::Over;
                    Poll::Ready(())
                }
            },
            State::Over => Poll::Ready(()),
        }
    }
}

/// Gives way once: everybody else who is ready runs before this goes on (N10).
///
/// # Cancellation
///
/// Nothing is lost.
///
/// # Examples
///
/// ```
/// use readily::{gather, run, yield_now};
/// use std::cell::RefCell;
///
/// let seen = RefCell::new(String::new());
/// let say = async |word: &str| {
///     for letter in word.chars() {
///         seen.borrow_mut().push(letter);
///         yield_now().await;
///     }
/// };
/// run(async { gather((say("ace"), say("bdf"))).await })?;
/// assert_eq!(*seen.borrow(), "abcdef");
/// # Ok::<(), readily::Error>(())
/// ```
pub async fn yield_now() {
    let mut gave_way = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        // To the back of the queue: the next poll is in a later turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
