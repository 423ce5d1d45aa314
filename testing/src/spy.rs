//! A future or a value that records how often it was polled, and when it was dropped.
//!
//! An executor promises to poll a future only after a wake (T1), and to drop it once, at the right
//! moment (T3). The record is outside the future, so a test can read it after the drop.

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

/// The record of a [`Spy`] or of a [`Token`]: polls, completion and drops.
#[derive(Clone, Debug, Default)]
pub struct SpyReport(Rc<Record>);

impl SpyReport {
    /// How often the future was polled.
    #[must_use]
    pub fn polls(&self) -> u32 {
        self.0.polls.get()
    }

    /// Whether the future has returned its output.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.0.finished.get()
    }

    /// How often the future was dropped: never, or once. Each clone of a [`token`](SpyReport::token)
    /// counts separately.
    #[must_use]
    pub fn drops(&self) -> u32 {
        self.0.drops.get()
    }

    /// Returns a token that records its drop, to be moved into a closure or a future.
    pub fn token(&self) -> Token {
        Token(self.clone())
    }

    /// Asserts that the future was polled `times` times.
    ///
    /// # Panics
    ///
    /// If it was polled more or less often.
    #[track_caller]
    pub fn assert_polled(&self, times: u32) {
        assert_eq!(self.polls(), times, "polls");
    }

    /// Asserts that exactly one drop was recorded.
    ///
    /// # Panics
    ///
    /// If there was no drop, or more than one.
    #[track_caller]
    pub fn assert_dropped(&self) {
        assert_eq!(self.drops(), 1, "drops");
    }

    /// Asserts that no drop was recorded.
    ///
    /// # Panics
    ///
    /// If there was a drop.
    #[track_caller]
    pub fn assert_alive(&self) {
        assert_eq!(self.drops(), 0, "drops");
    }
}

/// A value that records its drop in its [`SpyReport`].
#[derive(Debug)]
#[must_use = "a token that is not kept is dropped at once"]
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

/// A future that records its polls and its drop: see [`spy`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Spy<F> {
    // In this order: the token records the drop after the future has been dropped.
    future: Pin<Box<F>>,
    token: Token,
}

/// Wraps a future, and returns it with the report of its polls and its drop.
///
/// # Examples
///
/// ```
/// use readily_testing::spy;
/// use readily::{run, sleep, spawn, yield_now};
/// use std::time::Duration;
///
/// let (napping, report) = spy(sleep(Duration::from_secs(60)));
/// run(async {
///     let task = spawn(napping);
///     yield_now().await;
///     report.assert_polled(1);
///     task.cancel();
///     report.assert_dropped(); // at once: it was not running
///     assert!(!report.finished());
/// })?;
/// # Ok::<(), readily::Error>(())
/// ```
pub fn spy<F: IntoFuture>(future: F) -> (Spy<F::IntoFuture>, SpyReport) {
    let report = SpyReport::default();
    let spy = Spy {
        future: Box::pin(future.into_future()),
        token: report.token(),
    };
    (spy, report)
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
