//! A call of a job: what the pool knows of it, and the caller's handle.

use super::error::JobError;
use super::wire::{Wire, decode_whole};
use crate::task::{Future, Promise, create_future};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// The encoded result of a call.
pub(super) type Outcome = Result<Vec<u8>, JobError>;

/// What [`JobHandle::cancel`] does with a job that a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cancel {
    /// The worker is killed, and replaced.
    Kill,
    /// The job runs to its end, and its result is discarded.
    LetRun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    Running,
    Ended,
}

/// A call, as the pool has it.
pub(super) struct Call {
    pub(super) number: u64,
    /// The frame to send; empty once it was sent or will not be.
    frame: RefCell<Vec<u8>>,
    phase: Cell<Phase>,
    result: Promise<Outcome>,
    /// Why the worker that runs the call has to be killed.
    reason: RefCell<Option<JobError>>,
    /// Of the task that waits for such a reason.
    waker: Cell<Option<Waker>>,
}

impl Call {
    pub(super) fn new<O>(number: u64, frame: Vec<u8>) -> (Rc<Self>, JobHandle<O>) {
        let (result, outcome) = create_future();
        let call = Rc::new(Self {
            number,
            frame: RefCell::new(frame),
            phase: Cell::new(Phase::Queued),
            result,
            reason: RefCell::default(),
            waker: Cell::default(),
        });
        let handle = JobHandle {
            call: Rc::clone(&call),
            outcome,
            result: PhantomData,
        };
        (call, handle)
    }

    /// Whether the call still waits for a worker.
    pub(super) fn is_queued(&self) -> bool {
        self.phase.get() == Phase::Queued
    }

    /// Whether a worker runs the call.
    pub(super) fn is_running(&self) -> bool {
        self.phase.get() == Phase::Running
    }

    /// A worker begins the call: returns the frame to send. `None` if it was cancelled.
    pub(super) fn begin(&self) -> Option<Vec<u8>> {
        if self.phase.get() != Phase::Queued {
            return None;
        }
        self.phase.set(Phase::Running);
        Some(self.frame.take())
    }

    /// P6: ends the call, unless it has ended. One that was [stopped](Self::stop) ends for that reason,
    /// also if its answer came at the same time.
    pub(super) fn end(&self, outcome: Outcome) {
        self.phase.set(Phase::Ended);
        drop(self.frame.take());
        let outcome = match self.reason.take() {
            Some(reason) => Err(reason),
            None => outcome,
        };
        // Refused if the handle has cancelled the call, or was dropped.
        let _ = self.result.set_result(outcome);
    }

    /// Ends a call that no worker has begun, and stops one that a worker runs. `true` exactly if it was
    /// neither before.
    pub(super) fn stop(&self, reason: JobError) -> bool {
        match self.phase.get() {
            Phase::Queued => self.end(Err(reason)),
            Phase::Running if self.reason.borrow().is_none() => {
                self.reason.replace(Some(reason));
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
            }
            Phase::Running | Phase::Ended => return false,
        }
        true
    }

    /// Waits until the worker that runs the call has to be killed.
    pub(super) async fn stopped(&self) {
        poll_fn(|cx| match &*self.reason.borrow() {
            Some(_) => Poll::Ready(()),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await;
    }
}

/// The handle of a job that was [submitted](super::ProcessPool::submit): await it for the result.
///
/// # Cancellation
///
/// Dropping the handle of a job that waits for a worker removes it: it never runs. A job that a worker
/// runs goes on to its end, and its result is discarded. To end it earlier, use
/// [`cancel`](JobHandle::cancel).
///
/// # Panics
///
/// If it is awaited again after it has given its result.
#[must_use = "a job whose handle is dropped is removed from the queue"]
pub struct JobHandle<O> {
    call: Rc<Call>,
    outcome: Future<Outcome>,
    result: PhantomData<fn() -> O>,
}

impl<O> JobHandle<O> {
    /// Cancels the job; awaiting it then gives [`JobError::Cancelled`]. A job that waits for a worker never
    /// runs. If a worker runs the job, `running` selects what happens.
    ///
    /// Returns `true` exactly if the job will not run, or not to its end, because of this call.
    pub fn cancel(&self, running: Cancel) -> bool {
        let phase = self.call.phase.get();
        match (phase, running) {
            (Phase::Queued, _) | (Phase::Running, Cancel::Kill) => {
                self.call.stop(JobError::Cancelled)
            }
            (Phase::Running, Cancel::LetRun) => {
                let _ = self.call.result.set_result(Err(JobError::Cancelled));
                false
            }
            (Phase::Ended, _) => false,
        }
    }

    /// Whether the job has ended, with a result or with an error.
    #[must_use]
    pub fn done(&self) -> bool {
        self.call.result.done()
    }

    /// Whether a worker runs the job.
    #[must_use]
    pub fn running(&self) -> bool {
        self.call.is_running()
    }
}

impl<O: Wire> std::future::Future for JobHandle<O> {
    type Output = Result<O, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready(match outcome {
            Ok(Ok(bytes)) => decode_whole(&bytes).map_err(JobError::Result),
            Ok(Err(error)) => Err(error),
            // Its promise is in the call, which this holds.
            Err(_) => Err(JobError::ShutDown),
        })
    }
}

impl<O> Drop for JobHandle<O> {
    fn drop(&mut self) {
        if self.call.is_queued() {
            self.call.end(Err(JobError::Cancelled));
        }
    }
}

impl<O> fmt::Debug for JobHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("phase", &self.call.phase.get())
            .finish_non_exhaustive()
    }
}
