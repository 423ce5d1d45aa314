//! Running a loop until it is idle, and moving its time on.
//!
//! A test acts, lets the loop react, and then checks the result. The reaction is complete when a wait
//! has returned no event and no timer is due. Only then may the time move, because otherwise a part of
//! the reaction would happen at a later time.
//!
//! In the notes these are the turns of the loop (N2).

use super::sim_loop::SimLoop;
use readily::Error;
#[cfg(doc)]
use readily::EventLoop;
use readily::clock::LAST;
use std::time::Duration;

/// The result of [`SimLoop::run_until_stalled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalled {
    /// Nothing can happen any more at the present time.
    Idle,
    /// After this many turns there is still something to do: a task wakes itself, or a level-triggered
    /// event is never handled.
    Busy(u32),
}

/// The number of turns after which a loop counts as busy.
const MAX_TURNS: u32 = 10_000;

impl SimLoop {
    /// Runs turns until nothing can happen at the present time. The time does not move.
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
            // A turn without events does not prove that the loop is idle: its wait may have ended early.
            let idle = kernel.is_idle() && event_loop.stats().events == before;
            if !due && idle {
                return Ok(Stalled::Idle);
            }
        }
        Ok(Stalled::Busy(MAX_TURNS))
    }

    /// Lets `time` pass, and runs everything that is due within it, each at its own time. The time ends
    /// at 2⁶⁴ ns; a timer that is due later never fires.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    ///
    /// If the loop does not become idle at one of these times, so that the time cannot move: see
    /// [`Stalled::Busy`]. Else as [`EventLoop::turn`].
    #[track_caller]
    pub fn advance(&mut self, time: Duration) -> Result<(), Error> {
        let last = Duration::from_nanos(LAST);
        let end = self.elapsed().saturating_add(time).min(last);
        loop {
            let stalled = self.run_until_stalled()?;
            assert_eq!(
                stalled,
                Stalled::Idle,
                "at {:?} the loop does not become idle, so the time cannot move",
                self.elapsed()
            );
            let left = end.saturating_sub(self.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            // A wait without events moves the time to the next timer, or to the end of its timeout.
            self.event_loop().turn(Some(left))?;
        }
    }
}
