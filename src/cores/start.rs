//! The thread of a core, from its start to its end.
//!
//! The thread makes its own loop, which belongs to it, and sends a handle to the builder. When all threads
//! have done so, each gets the group, and runs. If one fails, the builder drops the way back, and the
//! others end without having run. So a group exists whole, or not at all.
//!
//! ```text
//! builder                         thread of a core
//! ───────                         ────────────────
//! start ─────────────────────────▶ pin · Runner::build
//!        ◀── Ok(RemoteHandle) ─── or the error
//! group ─────────────────────────▶ Core::attach · run ·· until stopped
//!                                  drain ·· until nothing is left, or the deadline
//!                                  close ·· Ends::put
//! ```
//!
//! Rules: M1, M2.

use super::core::Core;
use super::error::BuildError;
use super::group::{Group, Hook};
use super::now;
use super::report::{CoreEnd, CoreReport};
use super::seat::Seat;
use crate::event_loop::panics::{catch, drop_quietly};
use crate::event_loop::stderr::message;
use crate::event_loop::{CloseReport, Error, EventLoop, Payload, RemoteHandle};
use crate::run::{Runner, RunnerBuilder};
use readily_sys::affinity;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

/// A closure that returns the options of the loop of a core.
pub(super) type LoopOptions = dyn Fn(usize) -> RunnerBuilder + Send + Sync;

/// Why a thread has no loop.
pub(super) enum StartError {
    Build(BuildError),
    /// The closure of the options has panicked. The panic goes on in the caller of `build`.
    Panicked(Payload),
}

impl From<BuildError> for StartError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// What a thread needs to make its loop.
pub(super) struct Start {
    pub(super) core: usize,
    /// The processor to pin the thread to.
    pub(super) processor: Option<usize>,
    pub(super) options: Arc<LoopOptions>,
    pub(super) hook: Option<Arc<Hook>>,
}

impl Start {
    fn make_loop(&self) -> Result<Runner, StartError> {
        let core = self.core;
        if let Some(processor) = self.processor {
            affinity::pin(processor).map_err(|error| BuildError::Pin { core, error })?;
        }
        let built = catch(|| (self.options)(core).build()).map_err(StartError::Panicked)?;
        let runner = built.map_err(|error| BuildError::Loop { core, error })?;
        if let Some(hook) = &self.hook {
            let hook = Arc::clone(hook);
            runner.on_unhandled(move |unhandled| hook(core, unhandled));
        }
        Ok(runner)
    }
}

/// The life of a thread.
pub(super) fn run_thread(
    start: Start,
    answer: Sender<Result<RemoteHandle, StartError>>,
    group: Receiver<Arc<Group>>,
) {
    let core = start.core;
    let mut runner = match start.make_loop() {
        Ok(runner) => runner,
        Err(error) => return drop(answer.send(Err(error))),
    };
    drop(start);
    let remote = runner.remote_handle();
    if answer.send(Ok(remote)).is_err() {
        return;
    }
    drop(answer);
    let Ok(group) = group.recv() else {
        return; // another core was not started
    };
    let context = Core::attach(&runner, core, Arc::clone(&group));
    let ended = catch(|| run(runner.event_loop(), context.seat()));
    drop(context);
    let closed = catch(|| runner.close());
    group.core_ended(report(core, ended, closed));
}

fn report(
    core: usize,
    ended: Result<Result<CoreEnd, Error>, Payload>,
    closed: Result<CloseReport, Payload>,
) -> CoreReport {
    let panicked = |payload: Payload| {
        let end = CoreEnd::Panicked(message(&payload));
        drop_quietly(payload);
        end
    };
    let end = match ended {
        Ok(Ok(end)) => end,
        Ok(Err(error)) => CoreEnd::Failed(error.to_string()),
        Err(payload) => panicked(payload),
    };
    let mut report = CoreReport::new(core, end);
    match closed {
        Ok(left) => report.left = left,
        // The first panic is the reason.
        Err(payload) if matches!(report.end, CoreEnd::Panicked(_)) => drop_quietly(payload),
        Err(payload) => report.end = panicked(payload),
    }
    report
}

/// M2: runs the loop until it is stopped; then, if the group is being shut down, until nothing is left
/// or the deadline has passed.
fn run(event_loop: &mut EventLoop, seat: &Seat) -> Result<CoreEnd, Error> {
    event_loop.run()?;
    let Some(mut deadline) = seat.deadline() else {
        return Ok(CoreEnd::Stopped);
    };
    while !event_loop.close_inbox_if_drained() {
        // An earlier deadline may have come meanwhile.
        deadline = seat.deadline().unwrap_or(deadline);
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() || event_loop.take_stop() {
            break;
        }
        event_loop.turn(Some(left))?;
    }
    Ok(CoreEnd::ShutDown)
}
