//! `Barrier`: a fixed number of tasks wait until all of them have arrived.
//!
//! The last one to arrive releases the others, each with a number of its own, and the next round begins
//! at once: it need not wait until every task of the round has left, so there is no draining phase as in
//! asyncio. A waiter that is dropped before is not counted. A broken barrier returns an error to all.
//!
//! In asyncio: `Barrier`, `BrokenBarrierError`.

use crate::task::budget;
use crate::task::wait_queue::{WaitQueue, WaitTicket, WakeBatch, drop_waker};
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The error of a wait at a [`Barrier`] that was aborted, or was reset meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the barrier is broken: it was aborted, or reset during a wait")]
pub struct BrokenBarrierError;

type Passed = Result<usize, BrokenBarrierError>;

/// What is granted to a waiter instead of a number, if the barrier is broken.
const BROKEN: usize = usize::MAX;

struct Shared {
    parties: usize,
    broken: Cell<bool>,
    /// The type of the line of a condition: each type of line has to be compiled.
    waiters: WaitQueue<(), usize>,
}

impl Shared {
    /// One more has come: what comes of it, if it need not wait.
    fn arrive(&self) -> Option<Passed> {
        if self.broken.get() {
            return Some(Err(BrokenBarrierError));
        }
        if self.waiters.len() + 1 < self.parties {
            return None;
        }
        self.release_all(false);
        Some(Ok(self.parties - 1))
    }

    /// Releases all waiters, each with its number, or because the barrier is broken.
    fn release_all(&self, is_broken: bool) {
        // All are granted before one is woken: a waker may arrive for the next round (Q4).
        let mut wakers = Vec::with_capacity(self.waiters.len());
        loop {
            let number = if is_broken { BROKEN } else { wakers.len() };
            let Some(waker) = self.waiters.grant_if(|()| true, |()| number) else {
                break;
            };
            wakers.push(waker);
        }
        let mut batch = WakeBatch::default();
        for waker in wakers {
            batch.wake(waker);
        }
        batch.report();
    }
}

/// Lets a fixed number of tasks wait for each other. Clones refer to the same barrier.
///
/// # Examples
///
/// ```
/// use readily::sync::Barrier;
/// use readily::{gather, run};
///
/// let start = Barrier::new(3);
/// let numbers = run(async { gather((0..6).map(|_| start.wait())).await })?;
/// assert_eq!(numbers, [0, 1, 2, 0, 1, 2].map(Ok));
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    shared: Rc<Shared>,
}

impl Barrier {
    /// Creates a barrier for `parties` waiters.
    ///
    /// # Panics
    ///
    /// If `parties` is zero.
    #[must_use]
    pub fn new(parties: usize) -> Self {
        assert!(parties > 0, "a barrier is for one at least");
        Self {
            shared: Rc::new(Shared {
                parties,
                broken: Cell::new(false),
                waiters: WaitQueue::default(),
            }),
        }
    }

    /// Waits until all parties wait, and returns the number of this one, in the order of arrival, from zero. Each
    /// number is given once in a round. So, for instance, the party with number zero can do work that is to be done
    /// once.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrierError`] if the barrier is broken, or is aborted or reset meanwhile.
    ///
    /// # Cancellation
    ///
    /// A wait that is dropped before all have arrived is not counted. Afterwards nothing is lost: the
    /// others have been released.
    pub async fn wait(&self) -> Result<usize, BrokenBarrierError> {
        Wait {
            shared: &self.shared,
            ticket: None,
        }
        .await
    }

    /// Breaks the barrier: present and later waiters get an error, until it is [reset](Barrier::reset).
    pub fn abort(&self) {
        self.shared.broken.set(true);
        self.shared.release_all(true);
    }

    /// Resets the barrier to its initial state. Present waiters get an error.
    pub fn reset(&self) {
        self.shared.broken.set(false);
        self.shared.release_all(true);
    }

    /// Whether the barrier is broken.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.shared.broken.get()
    }

    /// Returns the number of parties.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.shared.parties
    }

    /// Returns the number of waiters.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.shared.waiters.len()
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("n_waiting", &self.n_waiting())
            .field("broken", &self.broken())
            .finish()
    }
}

struct Wait<'a> {
    shared: &'a Shared,
    ticket: Option<WaitTicket>,
}

impl Future for Wait<'_> {
    type Output = Passed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Passed> {
        budget::budgeted(cx, |cx| {
            let Self { shared, ticket } = &mut *self;
            if ticket.is_some() {
                let granted = shared.waiters.poll(ticket, cx.waker());
                return granted.map(|number| match number {
                    BROKEN => Err(BrokenBarrierError),
                    number => Ok(number),
                });
            }
            if let Some(passed) = shared.arrive() {
                return Poll::Ready(passed);
            }
            let waker = cx.waker().clone();
            // Cloning the waker may run user code, which may have arrived here too.
            if let Some(passed) = shared.arrive() {
                drop_waker(waker);
                return Poll::Ready(passed);
            }
            *ticket = Some(shared.waiters.enqueue((), waker));
            Poll::Pending
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // Its grant is not passed on, because all waiters were granted.
            let _left = self.shared.waiters.cancel(ticket);
        }
    }
}
