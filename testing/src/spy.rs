//! A future, or a value, that tells what became of it: how often it was polled, when it was dropped.
//!
//! That a future is polled no more than it was woken, and dropped once, on the right occasion, is
//! half of what an executor promises (T1, T3); the other half is its output. What is seen is kept
//! outside, so it can be asked when the future has gone.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Debug, Default)]
struct Record {
    polls: Cell<u32>,
    finished: Cell<bool>,
    drops: Cell<u32>,
}

/// What has become of what was spied on.
#[derive(Clone, Debug, Default)]
pub struct SpyReport(Rc<Record>);

impl SpyReport {
    /// How often it was polled.
    #[must_use]
    pub fn polls(&self) -> u32 {
        self.0.polls.get()
    }

    /// Whether it gave its output.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.0.finished.get()
    }

    /// How often it was dropped: never, or once. Of several clones of a [`token`](SpyReport::token)
    /// each counts.
    #[must_use]
    pub fn drops(&self) -> u32 {
        self.0.drops.get()
    }

    /// Something to be put where its drop is of interest: into a closure, into a future.
    pub fn token(&self) -> Token {
        Token(self.clone())
    }

    /// Wants it to have been polled this often.
    ///
    /// # Panics
    ///
    /// If it was not.
    #[track_caller]
    pub fn assert_polled(&self, times: u32) {
        assert_eq!(self.polls(), times, "polls");
    }

    /// Wants it to have been dropped, once.
    ///
    /// # Panics
    ///
    /// If it was not.
    #[track_caller]
    pub fn assert_dropped(&self) {
        assert_eq!(self.drops(), 1, "drops");
    }

    /// Wants it to live.
    ///
    /// # Panics
    ///
    /// If it was dropped.
    #[track_caller]
    pub fn assert_alive(&self) {
        assert_eq!(self.drops(), 0, "drops");
    }
}

/// Tells its [`SpyReport`] when it is dropped.
#[derive(Debug)]
#[must_use = "it is dropped at once unless it is kept"]
pub struct Token(SpyReport);

impl Clone for Token {
    fn clone(&self) -> Self {
        self.0.token()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let drops = &self.0.0.drops;
        drops.set(drops.get() + 1);
    }
}

/// A future that is spied on: see [`spy`].
#[must_use = "it does nothing unless it is awaited"]
pub struct Spy<F> {
    // In this order: the future goes before it is told that it has gone.
    future: Pin<Box<F>>,
    token: Token,
}

/// `future`, and what will become of it.
///
/// # Examples
///
/// ```
/// use readily_testing::spy;
/// use readily::{run, sleep, spawn, yield_now};
/// use std::time::Duration;
///
/// let (napping, seen) = spy(sleep(Duration::from_secs(60)));
/// run(async {
///     let task = spawn(napping);
///     yield_now().await;
///     seen.assert_polled(1);
///     task.cancel();
///     seen.assert_dropped(); // at once: it was not running
///     assert!(!seen.finished());
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn spy<F: IntoFuture>(future: F) -> (Spy<F::IntoFuture>, SpyReport) {
    let seen = SpyReport::default();
    let spy = Spy {
        future: Box::pin(future.into_future()),
        token: seen.token(),
    };
    (spy, seen)
}

impl<F: Future> Future for Spy<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let record = Rc::clone(&self.token.0.0);
        record.polls.set(record.polls.get() + 1);
        let polled = self.future.as_mut().poll(cx);
        record
            .finished
            .set(record.finished.get() || polled.is_ready());
        polled
    }
}

impl<F> fmt::Debug for Spy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spy").field(&self.token.0).finish()
    }
}
