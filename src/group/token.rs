//! `CancellationToken`: requests many tasks and callbacks to end, in a tree.
//!
//! Dropping a future ends it where it waits. Some tasks should end by themselves instead, for example
//! after a last message to a peer; and a callback is no future. They get a token. Cancelling a token
//! reaches every clone of it and the tokens below it; cancelling a child token reaches only that part
//! of the tree.
//!
//! The name is tokio's; asyncio has no such type. Rules: G4, G5.

use super::token_tree::Node;
use crate::event_loop::{LoopHandle, WeakHandle};
use crate::task::budget;
use crate::task::waiters::WaiterKey;
use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A request to end, shared by many tasks and callbacks. Clones refer to the same token.
///
/// A token belongs to its thread. To cancel it from another thread, send a closure with
/// [`RemoteHandle::call_soon`](crate::RemoteHandle::call_soon) that cancels the token on its own thread.
///
/// # Examples
///
/// ```
/// use readily::{CancellationToken, run, sleep, spawn};
/// use std::time::Duration;
///
/// let said = run(async {
///     let token = CancellationToken::new();
///     let own = token.child_token();
///     let server = spawn(async move {
///         let served = own.run_until_cancelled(sleep(Duration::from_secs(3600))).await;
///         assert!(served.is_none());
///         "goodbye"
///     });
///     token.cancel();
///     server.await.unwrap()
/// })?;
/// assert_eq!(said, "goodbye");
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Rc<Node>,
}

/// Names a callback of one token; to all others it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelKey(u64);

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancellationToken {
    /// A token of its own. It needs no loop.
    #[must_use]
    pub fn new() -> Self {
        Self {
            node: Rc::default(),
        }
    }

    /// A token that is cancelled with this one, and can be cancelled alone. Of one that was
    /// dropped or cancelled nothing stays here.
    #[must_use]
    pub fn child_token(&self) -> Self {
        Self {
            node: Node::below(&self.node),
        }
    }

    /// Cancels this token and all below it. `true` exactly if it was not cancelled before.
    ///
    /// All of them are cancelled before any user code runs ([G4]). Then the waiters are woken and the
    /// callbacks queued, from this token downwards.
    ///
    /// A waker that panics follows the [`PanicPolicy`](crate::PanicPolicy), after all others were
    /// woken.
    ///
    /// # Panics
    ///
    /// If a waker does, outside a loop.
    ///
    /// [G4]: crate::book::invariants#g4
    pub fn cancel(&self) -> bool {
        self.node.cancel(None)
    }

    /// The same, and says why: see [`reason`](Self::reason).
    ///
    /// # Panics
    ///
    /// As [`cancel`](Self::cancel).
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.node.cancel(Some(reason.into().into()))
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Returns the reason of the cancellation, if one was given here or above.
    #[must_use]
    pub fn reason(&self) -> Option<Rc<str>> {
        self.node.reason()
    }

    /// Waits until it is cancelled.
    ///
    /// # Cancellation
    ///
    /// Dropping it loses nothing.
    #[must_use = "a future does nothing unless it is awaited"]
    pub fn cancelled(&self) -> Cancelled {
        Cancelled {
            node: Rc::clone(&self.node),
            waiting: None,
        }
    }

    /// Runs `future` until it is done, or this is cancelled: `None`, and then `future` is dropped
    /// before this returns.
    ///
    /// However busy `future` is, it hears of it. An output that is there wins over a token that is cancelled at the same moment, as a value
    /// wins over a timeout. With one that was cancelled from the start, `future` is not polled.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops `future`.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        if self.is_cancelled() {
            self.cancelled().await; // which counts
            return None;
        }
        let mut future = pin!(Some(future));
        let mut cancelled = self.cancelled();
        let output = poll_fn(|cx| {
            let mut running = future.as_mut().as_pin_mut().expect("it is there");
            if let Poll::Ready(output) =
                budget::budgeted_composite(cx, |cx| running.as_mut().poll(cx))
            {
                return Poll::Ready(Some(output));
            }
            // Whatever is left of the budget: what uses it up each time could not be cancelled.
            ready!(cancelled.check(cx));
            let output = match budget::final_poll(running, cx) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            };
            budget::consume();
            Poll::Ready(output)
        })
        .await;
        future.set(None);
        output
    }

    /// Calls `callback`, soon, on the loop that is running here, when this is cancelled; if it is
    /// already, also soon. Callbacks of one token run in the order in which they were added. If
    /// this is dropped, or that loop is gone, they are dropped.
    ///
    /// # Panics
    ///
    /// Outside a loop, which would have to run the callback.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{CancellationToken, EventLoop};
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    /// let entered = event_loop.enter();
    /// let token = CancellationToken::new();
    /// let kept = token.on_cancel(|handle| handle.stop());
    /// let other = token.on_cancel(|_| unreachable!("it is taken back"));
    /// assert!(token.remove_on_cancel(other));
    /// drop(entered);
    /// token.cancel();
    /// event_loop.run()?; // until the callback stops it
    /// assert!(!token.remove_on_cancel(kept), "it has run");
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[track_caller]
    pub fn on_cancel(&self, callback: impl FnOnce(&LoopHandle) + 'static) -> CancelKey {
        let home = WeakHandle::current()
            .expect("added a callback outside a loop: use readily::run, or EventLoop::enter");
        CancelKey(self.node.add(home, Box::new(callback)))
    }

    /// Takes a callback back; `false` if it has been queued already, or taken back.
    pub fn remove_on_cancel(&self, key: CancelKey) -> bool {
        self.node.remove(key.0)
    }

    /// Cancels this token when the guard is dropped: at the end of a scope, however it is left.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }

    /// How many tokens hang below this one, directly. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn children(&self) -> usize {
        self.node.children()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken")
            .field("cancelled", &self.is_cancelled())
            .field("reason", &self.reason())
            .finish()
    }
}

/// What [`CancellationToken::cancelled`] returns.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Cancelled {
    node: Rc<Node>,
    waiting: Option<WaiterKey>,
}

impl Cancelled {
    /// Whether it is, and the waker is kept if not. It costs nothing.
    fn check(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { node, waiting } = self;
        if !node.is_cancelled() {
            node.waiters.wait(waiting, cx.waker());
        }
        // Cloning the waker may run user code, which may have cancelled the token.
        match node.is_cancelled() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        budget::budgeted(cx, |cx| self.check(cx))
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.node.waiters.leave(&mut self.waiting);
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.node.is_cancelled();
        f.debug_tuple("Cancelled").field(&over).finish()
    }
}

/// Cancels its token when it is dropped.
///
/// ```
/// use readily::CancellationToken;
///
/// let token = CancellationToken::new();
/// drop(token.clone().drop_guard());
/// assert!(token.is_cancelled());
/// let token = CancellationToken::new().drop_guard().disarm();
/// assert!(!token.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "dropping it cancels the token"]
pub struct DropGuard {
    /// `None` only when it was disarmed.
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// Gives the token back without cancelling it.
    #[must_use]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("it is taken out once, here")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
