//! The entry point of a program: runs one future to completion, then cleans up.
//!
//! The future may borrow from the caller's stack. It is polled in the order of the loop's queue,
//! like any task. When it is done, the tasks that are left are cancelled and dropped on this
//! thread, and the loop is closed.
//!
//! In the notes: `run(coroutine)`, the one entry point of a program (N18).

mod builder;
mod interrupt;

use crate::event_loop::{CloseReport, Error, EventLoop, LoopHandle, Origin, Unhandled};
use crate::task::{MainTask, TaskRef, all_tasks};
use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::task::Poll;

pub use builder::RunnerBuilder;
use interrupt::Interrupt;

/// Runs `future` on a new loop, and returns its output.
///
/// When `future` is done, the tasks that are left are cancelled: their futures are dropped on this
/// thread.
///
/// # Errors
///
/// [`Error::WouldBlockLoop`] inside a callback or task of another loop, [`Error::Stopped`] if the
/// loop is stopped before `future` is done, [`Error::Io`] if the system has no descriptor for a
/// loop, or the descriptor is closed by other code.
///
/// # Panics
///
/// If `future` panics. A panic of a callback or a detached task is reported on standard error, and
/// the rest of the program continues; a [`Runner`] can have another
/// [`PanicPolicy`](crate::PanicPolicy).
///
/// # Examples
///
/// ```
/// let answer = readily::run(async { 21 })?;
/// assert_eq!(answer, 21);
/// # Ok::<(), readily::Error>(())
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> Result<F::Output, Error> {
    let mut runner = Runner::new()?;
    let output = runner.run(future);
    // Dropped and not closed: a panic of a destructor is reported, and the output is returned.
    drop(runner);
    output
}

/// A loop for several runs, one after another. Tasks that are left by one run continue in the next.
///
/// Dereferences to [`LoopHandle`], to register, arm and spawn between two runs.
#[derive(Debug)]
pub struct Runner {
    event_loop: EventLoop,
    cancel_on_sigint: bool,
}

impl Runner {
    /// Creates a runner with a new loop, on the system's poller and clock.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::new`].
    pub fn new() -> Result<Self, Error> {
        Ok(EventLoop::new()?.into())
    }

    /// Runs `future` to completion, and returns its output. Tasks that are left stay, and continue
    /// in the next run.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`]; [`Error::Stopped`] if the loop is stopped before `future` is done, and
    /// [`Error::Interrupted`] if SIGINT has come ([`RunnerBuilder::cancel_on_sigint`]). `future` is dropped then.
    ///
    /// # Panics
    ///
    /// If `future` panics; or if a callback or a detached task panics and the policy is
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate). The runner can be used again.
    #[doc(alias = "run_until_complete")]
    #[doc(alias = "block_on")]
    #[track_caller]
    pub fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        let site = Location::caller();
        let handle = self.event_loop.handle();
        // Held until the future has been dropped: its destructors need the loop, too.
        let _here = handle.enter_if_needed();
        let mut future = pin!(Some(future));
        let main = MainTask::new::<F>(&handle);
        let ended = Cell::new(false);
        // Ends after the future has been dropped, too: a second SIGINT may have to end its destructors.
        let interrupt = match self.cancel_on_sigint {
            true => Some(Interrupt::on(&handle)?),
            false => None,
        };
        let interrupted = || interrupt.as_ref().is_some_and(Interrupt::has_come);
        let (mut end, mut stopped, mut turned, mut reported) = (None, false, false, false);
        let run = self.event_loop.turn_until(
            &mut || {
                let Some(future) = future.as_mut().as_pin_mut().filter(|_| !ended.get()) else {
                    return; // woken after it has ended
                };
                // A panic of the main future is resumed in the caller, and ends the run under every
                // policy.
                match catch_unwind(AssertUnwindSafe(|| main.poll(future))) {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(output)) => end = Some(output),
                    Err(payload) => handle.keep_main_panic(payload),
                }
                ended.set(true);
                handle.poll_next();
            },
            |event_loop: &EventLoop| {
                // After a stop that was requested before the run, one turn still runs.
                let may_stop = std::mem::replace(&mut turned, true) && !ended.get();
                stopped = may_stop && event_loop.take_stop();
                let over = ended.get() || stopped || interrupted();
                if !over && !reported && event_loop.is_debug() && event_loop.is_deadlocked() {
                    reported = true;
                    let names = |task: TaskRef| task.get_name().to_string();
                    let tasks = all_tasks().into_iter().map(names).collect();
                    event_loop.report(&Unhandled::Deadlock { tasks });
                }
                over
            },
        );
        drop(main);
        // The run has ended. If a destructor panics now, this is reported, and the output is
        // returned.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| future.set(None))) {
            handle.report_panic(payload, Origin::Main { site: Some(site) });
        }
        run?;
        match end {
            Some(output) => Ok(output),
            None if interrupted() => Err(Error::Interrupted),
            None if stopped => Err(Error::Stopped),
            None => unreachable!("the loop turns until the future is done or a stop comes"),
        }
    }

    /// Returns the runner's loop.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        &mut self.event_loop
    }

    /// Closes the loop, and returns a count of what was left. See [`EventLoop::close`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::close`].
    pub fn close(self) -> CloseReport {
        self.event_loop.close()
    }
}

impl Runner {
    /// Returns a builder, to choose the poller, the clock, the seed, the panic policy or debug mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{PanicPolicy, Runner, spawn, yield_now};
    ///
    /// use std::panic::{AssertUnwindSafe, Location, catch_unwind};
    ///
    /// let mut runner = Runner::builder().panic_policy(PanicPolicy::Propagate).debug(true).build()?;
    /// let ran = catch_unwind(AssertUnwindSafe(|| {
    ///     runner.run(async {
    ///         spawn(async { panic!("a detached task ends the run") });
    ///         yield_now().await;
    ///     })
    /// }));
    /// assert!(ran.is_err());
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn builder() -> RunnerBuilder {
        RunnerBuilder::default()
    }
}

impl From<EventLoop> for Runner {
    fn from(event_loop: EventLoop) -> Self {
        Self {
            event_loop,
            cancel_on_sigint: false,
        }
    }
}

impl Deref for Runner {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.event_loop
    }
}
