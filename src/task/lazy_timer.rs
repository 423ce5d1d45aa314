//! A timer that a future awaits: a timer of the loop, armed when it is first polled.
//!
//! Sleeps, limits and intervals are built on this. It is in this module because both combinators
//! and time use it, and neither of these modules depends on the other. Nothing is armed before the
//! first poll (calling a coroutine runs nothing, N9), and a delay counts from a fresh reading of
//! the clock then, so it is never early (C1).
//!
//! In the notes: the *timers* of N1, as `await` sees them (N11, N14).

use crate::event_loop::{LoopHandle, WakeTimer, WakeTimerState, current};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const NO_LOOP: &str = "slept outside a loop: use readily::run, or EventLoop::enter";

/// A timer of the loop that a future awaits. Dropping it disarms the timer.
#[derive(Debug)]
pub(crate) struct LazyTimer {
    state: State,
    /// The time by which it may be late, so that it expires together with other timers.
    slack: Duration,
}

#[derive(Debug)]
enum State {
    After(Duration),
    At(Instant),
    Never,
    /// Nothing is armed: the waiting task goes to the back of the queue, once.
    Yield,
    Armed(WakeTimer),
    Elapsed,
}

impl LazyTimer {
    fn new(state: State) -> Self {
        let slack = Duration::ZERO;
        Self { state, slack }
    }

    /// Expires after `delay`, counted from the first poll.
    pub(crate) fn after(delay: Duration) -> Self {
        Self::new(State::After(delay))
    }

    /// Expires at `when`; in the turn after the first poll if that has passed.
    pub(crate) fn at(when: Instant) -> Self {
        Self::new(State::At(when))
    }

    /// Never expires, and needs no loop.
    pub(crate) fn never() -> Self {
        Self::new(State::Never)
    }

    /// Expires in the turn after the first poll, without a timer, which is cheaper.
    pub(crate) fn yield_once() -> Self {
        Self::new(State::Yield)
    }

    /// Allows the timer to be late by up to `slack`; called before the first poll.
    pub(crate) fn with_slack(mut self, slack: Duration) -> Self {
        if matches!(self.state, State::Yield) && !slack.is_zero() {
            self.state = State::After(Duration::ZERO);
        }
        self.slack = slack;
        self
    }

    fn arm(&self, handle: &LoopHandle, cx: &Context<'_>) -> Option<WakeTimer> {
        let waker = cx.waker().clone();
        match self.state {
            State::After(delay) if self.slack.is_zero() => Some(handle.wake_later(delay, waker)),
            State::After(delay) => Some(match handle.deadline(delay) {
                Some(when) => handle.wake_at(handle.round_up(when, self.slack), waker),
                None => handle.wake_later(delay, waker), // never, which is late enough
            }),
            State::At(when) => Some(handle.wake_at(handle.round_up(when, self.slack), waker)),
            State::Never | State::Yield | State::Armed(_) | State::Elapsed => None,
        }
    }

    /// Whether the timer has expired; from then on polling it is always ready.
    pub(crate) fn has_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed)
    }

    /// # Panics
    ///
    /// When it is first polled outside a loop, or polled afterwards on another loop, or after its
    /// loop was closed: it would never expire.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::After(_) | State::At(_) => {
                let timer = current::with(|handle| self.arm(handle, cx)).flatten();
                self.state = State::Armed(timer.expect(NO_LOOP));
                Poll::Pending
            }
            State::Never => Poll::Pending,
            State::Yield => {
                assert!(current::is_any(), "{NO_LOOP}");
                self.state = State::Elapsed;
                // The task goes to the back of the queue: the next poll is in a later turn.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            State::Armed(timer) => match timer.poll(cx.waker()) {
                WakeTimerState::Pending => Poll::Pending,
                // To wait for a loop that is gone, or that does not run, would be to wait for ever.
                WakeTimerState::LoopClosed => panic!("slept on a loop that is closed"),
                WakeTimerState::OtherLoop => {
                    panic!("slept on another loop than the one that runs here")
                }
                WakeTimerState::Fired => {
                    self.state = State::Elapsed;
                    Poll::Ready(())
                }
            },
            State::Elapsed => Poll::Ready(()),
        }
    }
}
