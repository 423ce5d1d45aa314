//! The entry point of a program: one future, driven to its end, and everything cleared away.
//!
//! The future is the caller's own and may borrow from its stack; it takes its turns in the
//! loop's queue like any task. When it is done, what is left over is cancelled and dropped on
//! this thread, and the loop is closed.
//!
//! In the notes: `run(coroutine)`, the one entry point of a program (N18).

mod builder;

use crate::event_loop::{CloseReport, Error, EventLoop, LoopHandle, Origin, Unhandled};
use crate::task::{MainTask, TaskRef, all_tasks};
use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::task::Poll;

pub use builder::RunnerBuilder;

/// Runs `future` on a loop of its own, and returns its output.
///
/// When it is done, tasks that are left are cancelled: their futures are dropped, here.
///
/// # Errors
///
/// [`Error::WouldBlockLoop`] inside a callback or task of another loop, [`Error::Stopped`] if the
/// loop is stopped before `future` is done, [`Error::Io`] if the system has no descriptor for a loop,
/// or takes it away.
///
/// # Panics
///
/// If `future` panics. A panic of a callback or a detached task is reported on standard error, and
/// the others go on; a [`Runner`] can be given another [`PanicPolicy`](crate::PanicPolicy).
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
    // Dropped and not closed: what destructors panic with is reported, and does not cost the output.
    drop(runner);
    output
}

/// A loop for several runs, one after another: what is spawned in one goes on in the next.
///
/// Dereferences to [`LoopHandle`], to register, arm and spawn between two runs.
#[derive(Debug)]
pub struct Runner {
    event_loop: EventLoop,
}

impl Runner {
    /// A runner on a new loop, with the system's own poller and clock.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::new`].
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            event_loop: EventLoop::new()?,
        })
    }

    /// Drives `future` to its end. Tasks that it has spawned stay, and go on in the next run.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::turn`]; [`Error::Stopped`] if somebody stops the loop. `future` is
    /// dropped then.
    ///
    /// # Panics
    ///
    /// If `future` panics; if a callback or a detached task does, where the policy is
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate). The runner can be used again.
    #[doc(alias = "run_until_complete")]
    #[doc(alias = "block_on")]
    #[track_caller]
    pub fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        let site = Location::caller();
        let handle = self.event_loop.handle();
        // Also for the destructors of the future, which goes before this does.
        let _here = handle.enter_if_needed();
        let mut future = pin!(Some(future));
        let main = MainTask::new::<F>(&handle);
        let ended = Cell::new(false);
        let (mut end, mut stopped, mut turned, mut told) = (None, false, false, false);
        let run = self.event_loop.turn_until(
            &mut || {
                let Some(future) = future.as_mut().as_pin_mut().filter(|_| !ended.get()) else {
                    return; // a wake that came too late
                };
                // Its panic is the caller's own, and ends the run whatever the policy says of
                // those that nobody waits for.
                match catch_unwind(AssertUnwindSafe(|| main.poll(future))) {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(output)) => end = Some(output),
                    Err(payload) => handle.note_main_panic(payload),
                }
                ended.set(true);
                handle.poll_next();
            },
            &mut |event_loop| {
                // A stop that came before the run still leaves it one turn.
                let may_stop = std::mem::replace(&mut turned, true) && !ended.get();
                stopped = may_stop && event_loop.take_stop();
                let over = ended.get() || stopped;
                if !over && !told && event_loop.is_debug() && event_loop.is_deadlocked() {
                    told = true;
                    let names = |task: TaskRef| task.get_name().to_string();
                    let tasks = all_tasks().into_iter().map(names).collect();
                    event_loop.report(&Unhandled::Deadlock { tasks });
                }
                over
            },
        );
        drop(main);
        // It has ended. A destructor that panics now is reported, and does not cost the output.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| future.set(None))) {
            handle.report_panic(payload, Origin::Main { site: Some(site) });
        }
        run?;
        match end {
            Some(output) => Ok(output),
            None if stopped => Err(Error::Stopped),
            None => unreachable!("it turns until there is an end"),
        }
    }

    /// The loop itself.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        &mut self.event_loop
    }

    /// Closes the loop, and says what was still there. See [`EventLoop::close`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::close`].
    pub fn close(self) -> CloseReport {
        self.event_loop.close()
    }
}

impl Runner {
    /// A runner with a poller, a clock, a seed or a policy of one's own.
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
        Self { event_loop }
    }
}

impl Deref for Runner {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.event_loop
    }
}
