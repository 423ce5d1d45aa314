//! `timeout`: runs a block of code with a limit that the code may move while it runs.
//!
//! The limit of `wait_for` is fixed beforehand. Here the code gets a handle on its own limit: a
//! server moves it with each message of its client, or a caller removes it when the work has come too
//! far to be dropped. A scope ends by its own limit only, so each of several nested scopes reports
//! only its own expiry. It polls the code first, so that a value that is ready wins (T6).
//!
//! In asyncio: `timeout` and `timeout_at`; in the notes, what `wait_for` does (N14).

use super::sleep::fresh_now;
use super::wait_for::{Elapsed, poll_within};
use crate::event_loop::WeakHandle;
use crate::task::lazy_timer::LazyTimer;
use crate::task::waiters::{WaiterKey, WakerList};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The code runs, or waits, or has not begun.
    Open,
    /// It was dropped at its limit.
    Expired,
    /// It has ended, or was dropped, in another way.
    Left,
}

struct LimitState {
    when: Cell<Option<Instant>>,
    /// Whether it was set since the alarm was.
    moved: Cell<bool>,
    stage: Cell<Stage>,
    /// Whether the code is being polled: its limit is polled afterwards in any case.
    inside: Cell<bool>,
    /// The task that awaits the scope, which is woken when other code moves the limit.
    awaits: WakerList,
}

/// A handle to the limit of a [`timeout`], for the code that it limits. It can be cloned.
#[derive(Clone)]
pub struct TimeoutScope(Rc<LimitState>);

/// The error of a limit that has no effect any more, because its code has ended, or was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the timeout is over: its code has ended, or was dropped")]
pub struct ScopeEnded;

impl TimeoutScope {
    fn new(when: Option<Instant>) -> Self {
        Self(Rc::new(LimitState {
            when: Cell::new(when),
            moved: Cell::new(true),
            stage: Cell::new(Stage::Open),
            inside: Cell::new(false),
            awaits: WakerList::default(),
        }))
    }

    /// Returns the deadline; `None` if there is no limit.
    #[doc(alias = "deadline")]
    #[must_use]
    pub fn when(&self) -> Option<Instant> {
        self.0.when.get()
    }

    /// Sets another deadline, earlier or later; `None` removes the limit. A deadline that has passed ends
    /// the code in the next turn, unless it is done by then.
    ///
    /// # Errors
    ///
    /// [`ScopeEnded`] if the code has ended, or was dropped: nothing changes.
    pub fn reschedule(&self, when: impl Into<Option<Instant>>) -> Result<(), ScopeEnded> {
        let scope = &self.0;
        if scope.stage.get() != Stage::Open {
            return Err(ScopeEnded);
        }
        scope.when.set(when.into());
        scope.moved.set(true);
        if !scope.inside.get() {
            // The panic of a waker is reported and does not reach the caller (R057).
            scope.awaits.wake_all_reporting();
        }
        Ok(())
    }

    /// Whether the code was dropped at its deadline.
    #[must_use]
    pub fn expired(&self) -> bool {
        self.0.stage.get() == Stage::Expired
    }
}

impl fmt::Debug for TimeoutScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutScope")
            .field("when", &self.when())
            .field("stage", &self.0.stage.get())
            .finish()
    }
}

/// Runs `code`, but no longer than `limit`. The code gets a [`TimeoutScope`], with which it can
/// change the limit.
///
/// `limit` counts from the first poll on the loop's clock; one that reaches beyond 575 years is
/// none. The code may be ended a little late, never early. At the deadline it is polled once more,
/// and if it is done then it wins, even where `limit` is zero ([T6]).
///
/// Of nested timeouts each returns [`Elapsed`] for its own time only ([T9]). If both expire in
/// one turn, the inner one returns first to the code between them, which runs until its next `.await`
/// that waits; then the outer one ends it.
///
/// # Errors
///
/// [`Elapsed`] if the time was up. The code is dropped *before* this returns, so whatever it
/// borrowed is free again.
///
/// # Panics
///
/// Outside a running loop: there is no clock to ask.
///
/// # Cancellation
///
/// Dropping it drops the code. No timer stays armed. That is not an expiry.
///
/// # Examples
///
/// Up to five milliseconds of silence, however long the whole takes:
///
/// ```
/// use readily::time::fresh_now;
/// use readily::{Elapsed, run, sleep, timeout};
/// use std::time::Duration;
///
/// let silence = Duration::from_millis(5);
/// let result = run(timeout(silence, async |scope| {
///     for pause in [1, 2, 3, 1000] {
///         sleep(Duration::from_millis(pause)).await;
///         scope.reschedule(fresh_now() + silence).unwrap();
///     }
/// }))?;
/// assert_eq!(result, Err(Elapsed));
/// # Ok::<(), readily::Error>(())
/// ```
///
/// [T6]: crate::book::invariants#t6
/// [T9]: crate::book::invariants#t9
#[doc(alias = "fail_after")]
pub fn timeout<C, T>(limit: Duration, code: C) -> impl Future<Output = Result<T, Elapsed>>
where
    C: AsyncFnOnce(TimeoutScope) -> T,
{
    let when = move || {
        let weak = WeakHandle::current()
            .expect("a timeout outside a loop: use readily::run, or EventLoop::enter");
        weak.with(|handle| handle.deadline(limit)).flatten()
    };
    limited(when, code)
}

/// Runs `code`, as [`timeout`] does, but no longer than until a time on the loop's clock. With `None` there is no limit
/// until the code sets one.
///
/// # Errors
///
/// As [`timeout`]. Even if the deadline has passed, the code is polled once, and its output is returned if it is ready
/// then.
///
/// # Panics
///
/// As [`timeout`].
///
/// # Cancellation
///
/// As [`timeout`].
///
/// # Examples
///
/// ```
/// use readily::time::{fresh_now, timeout_at};
/// use readily::{Elapsed, run};
/// use std::future::pending;
///
/// let result = run(timeout_at(None, async |scope| {
///     scope.reschedule(fresh_now()).unwrap();
///     pending::<()>().await
/// }))?;
/// assert_eq!(result, Err(Elapsed));
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "fail_at")]
pub fn timeout_at<C, T>(
    when: impl Into<Option<Instant>>,
    code: C,
) -> impl Future<Output = Result<T, Elapsed>>
where
    C: AsyncFnOnce(TimeoutScope) -> T,
{
    limited(move || when.into(), code)
}

/// The limit, polled by the task that awaits the scope.
struct Limit {
    scope: TimeoutScope,
    timer: LazyTimer,
    waiting: Option<WaiterKey>,
    /// Whether it had passed already when it was last moved.
    was_past: bool,
}

impl Limit {
    fn new(scope: TimeoutScope) -> Self {
        Self {
            scope,
            timer: LazyTimer::never(),
            waiting: None,
            was_past: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Waits first, and looks then: cloning a waker may be code that moves the limit.
        self.scope.0.awaits.wait(&mut self.waiting, cx.waker());
        if self.scope.0.moved.replace(false) {
            let when = self.scope.when();
            let is_past = when.is_some_and(|when| when <= fresh_now());
            // The code has had its turn since; to say the same once more gives it no other one.
            if self.was_past && is_past {
                return Poll::Ready(());
            }
            self.was_past = is_past;
            self.timer = when.map_or_else(LazyTimer::never, LazyTimer::at);
        }
        self.timer.poll(cx)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let scope = &self.scope.0;
        scope.awaits.leave(&mut self.waiting);
        if scope.stage.get() == Stage::Open {
            scope.stage.set(Stage::Left);
        }
    }
}

/// `when` is asked at the first poll.
async fn limited<C, T>(when: impl FnOnce() -> Option<Instant>, code: C) -> Result<T, Elapsed>
where
    C: AsyncFnOnce(TimeoutScope) -> T,
{
    let scope = TimeoutScope::new(when());
    let mut code = pin!(Some(code(scope.clone())));
    // Dropped before the code, so that the code's destructors find the scope ended.
    let mut limit = Limit::new(scope.clone());
    let result = poll_fn(|cx| {
        scope.0.inside.set(true);
        let polled = poll_within(code.as_mut(), cx, |cx| {
            scope.0.inside.set(false);
            limit.poll(cx)
        });
        scope.0.inside.set(false);
        polled
    })
    .await;
    // The scope's state says why it ended, also to the code's own destructors (T9).
    scope.0.stage.set(match result {
        Ok(_) => Stage::Left,
        Err(Elapsed) => Stage::Expired,
    });
    // Before the caller continues.
    code.as_mut().set(None);
    result
}
