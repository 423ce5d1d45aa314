//! `timeout`: a block of code, and a limit that may be moved while it runs.
//!
//! `wait_for` has a limit that is known beforehand. Here the code within gets a handle on its own
//! limit: a server pushes it back with each sign of life, a caller takes it away when the work has
//! come too far to be thrown away. A scope ends by its own limit only, so in nested ones each tells
//! whose time it was; and it looks at the code first, so that a value that is there wins (T6).
//!
//! In asyncio: `timeout` and `timeout_at`; in the notes, what `wait_for` does (N14).

use super::sleep::fresh_now;
use super::wait_for::{Elapsed, poll_within};
use crate::event_loop::WeakHandle;
use crate::task::alarm::LazyTimer;
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
    /// Whether the code is being polled: its limit is looked at afterwards anyway.
    inside: Cell<bool>,
    /// The one who awaits the scope, to be told when its limit is moved from elsewhere.
    awaits: WakerList,
}

/// The limit of a [`timeout`], in the hands of the code that it limits, and of whoever gets a
/// clone of it.
#[derive(Clone)]
pub struct TimeoutScope(Rc<LimitState>);

/// The limit has no effect any more: the code has ended, or was dropped.
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

    /// When the time is up; `None` if there is no limit.
    #[doc(alias = "deadline")]
    #[must_use]
    pub fn when(&self) -> Option<Instant> {
        self.0.when.get()
    }

    /// Moves the limit, further away or nearer; `None` takes it away. A moment that has passed ends
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
            // R057: a waker's panic is nobody's here.
            scope.awaits.wake_all_reporting();
        }
        Ok(())
    }

    /// Whether the code was dropped because the time was up.
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

/// Runs `code`, but no longer than `limit`, which the code can move: it is given the
/// [`TimeoutScope`].
///
/// `limit` counts from the first poll on the loop's clock; one that reaches beyond 575 years is
/// none. The code may be ended a little late, never early. At the deadline it is polled once more,
/// and if it is done then it wins, even where `limit` is zero ([T6]).
///
/// Of nested timeouts each returns [`Elapsed`] for its own time only ([T9]). Where both are up in
/// one turn the inner one tells the code between them, and that has until its next `.await` that
/// waits; then the outer one ends it.
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
/// use readily::{Elapsed, fresh_now, run, sleep, timeout};
/// use std::time::Duration;
///
/// let silence = Duration::from_millis(5);
/// let told = run(timeout(silence, async |scope| {
///     for pause in [1, 2, 3, 1000] {
///         sleep(Duration::from_millis(pause)).await;
///         scope.reschedule(fresh_now() + silence).unwrap();
///     }
/// }))?;
/// assert_eq!(told, Err(Elapsed));
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

/// As [`timeout`], until a moment of the loop's clock, or, with `None`, without a limit as long as
/// nobody sets one.
///
/// # Errors
///
/// As [`timeout`]. A moment that has passed gives code that is ready on its first poll time to
/// say so.
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
/// use readily::{Elapsed, fresh_now, run, timeout_at};
/// use std::future::pending;
///
/// let told = run(timeout_at(None, async |scope| {
///     scope.reschedule(fresh_now()).unwrap();
///     pending::<()>().await
/// }))?;
/// assert_eq!(told, Err(Elapsed));
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

/// The limit as the one who awaits the scope sees it.
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
    // Goes before the code does, whose destructors are told then that it is over.
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
    // T9: whoever asks, in the code's own destructors for one, is told by whom it was ended.
    scope.0.stage.set(match result {
        Ok(_) => Stage::Left,
        Err(Elapsed) => Stage::Expired,
    });
    // Before the caller hears of it.
    code.as_mut().set(None);
    result
}
