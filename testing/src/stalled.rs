//! Whether a loop has anything to do at this moment, and time that goes by when it has not.
//!
//! A test does something, lets the loop do what follows from it, and looks. So it must know when
//! that is over: when a wait has looked and found nothing, and no timer is due. Only then may time
//! go by, or what belongs to this moment would happen in a later one.
//!
//! In the notes these are the turns of the loop (N2), counted by hand.

use super::sim_loop::SimLoop;
use readily::Error;
#[cfg(doc)]
use readily::EventLoop;
use readily::clock::LAST;
use std::time::Duration;

/// What [`SimLoop::run_until_stalled`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalled {
    /// Nothing can happen any more at this moment of time.
    Idle,
    /// After this many turns there is still something to do: a task that wakes itself, a level
    /// that nobody serves.
    Busy(u32),
}

/// After this many turns the loop counts as busy.
const MAX_TURNS: u32 = 10_000;

impl SimLoop {
    /// Turns until nothing can happen at this moment of time; the time does not move.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::turn`].
    pub fn run_until_stalled(&mut self) -> Result<Stalled, Error> {
        let kernel = self.kernel().clone();
        for _ in 0..MAX_TURNS {
            let event_loop = self.event_loop();
            let before = event_loop.stats().events;
            event_loop.turn_now()?;
            self.check_after_a_turn();
            let event_loop = self.event_loop();
            let now = event_loop.fresh_now();
            let due = event_loop.next_deadline().is_some_and(|next| next <= now);
            // A turn without an event may be one whose wait was ended early: that says nothing.
            let idle = kernel.is_idle() && event_loop.stats().events == before;
            if !due && idle {
                return Ok(Stalled::Idle);
            }
        }
        Ok(Stalled::Busy(MAX_TURNS))
    }

    /// Lets `time` go by: everything that falls due in it happens, at its own moment. It goes no
    /// further than to the end of time, after 2⁶⁴ ns; what is due later is due never.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    ///
    /// If the loop is not quiet at one of these moments, where no time can go by: see
    /// [`Stalled::Busy`]. As [`EventLoop::turn`].
    #[track_caller]
    pub fn advance(&mut self, time: Duration) -> Result<(), Error> {
        let last = Duration::from_nanos(LAST);
        let end = self.elapsed().saturating_add(time).min(last);
        loop {
            let stalled = self.run_until_stalled()?;
            assert_eq!(
                stalled,
                Stalled::Idle,
                "at {:?} the loop is not quiet, so no time goes by",
                self.elapsed()
            );
            let left = end.saturating_sub(self.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            // A wait that finds nothing ready moves the time: to the next timer, or to the end.
            self.event_loop().turn(Some(left))?;
        }
    }
}
