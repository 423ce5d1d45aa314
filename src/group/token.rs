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

/// A request to end, which tasks and callbacks can wait for. Clones refer to the same token.
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

/// Identifies a callback of one token; all other tokens reject it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelKey(u64);

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancellationToken {
    /// Creates a token without a parent. This needs no loop.
    #[must_use]
    pub fn new() -> Self {
        Self {
            node: Rc::default(),
        }
    }

    /// Creates a child token, which is cancelled together with this one, and can also be cancelled alone. This token
    /// keeps no memory for children that were dropped or cancelled.
    #[must_use]
    pub fn child_token(&self) -> Self {
        Self {
            node: Node::below(&self.node),
        }
    }

    /// Cancels this token and all its descendants. Returns `true` exactly if this token was not cancelled before.
    ///
    /// All of them are cancelled before any user code runs ([G4]). Then the waiters are woken and the
    /// callbacks queued, from this token downwards.
    ///
    /// A waker that panics follows the [`PanicPolicy`](crate::PanicPolicy), after all others were
    /// woken.
    ///
    /// # Panics
    ///
    /// If a waker panics, outside a loop.
    ///
    /// [G4]: crate::book::invariants#g4
    pub fn cancel(&self) -> bool {
        self.node.cancel(None)
    }

    /// As [`cancel`](Self::cancel), with a reason: see [`reason`](Self::reason).
    ///
    /// # Panics
    ///
    /// As [`cancel`](Self::cancel).
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.node.cancel(Some(reason.into().into()))
    }

    /// Whether this token was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Returns the reason of the cancellation, if one was given to this token or to an ancestor.
    #[must_use]
    pub fn reason(&self) -> Option<Rc<str>> {
        self.node.reason()
    }

    /// Waits until this token is cancelled.
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

    /// Runs `future` until it is done, or until this token is cancelled: then `future` is dropped, and this returns
    /// `None`.
    ///
    /// Even a `future` that is always ready is dropped after a cancellation. If `future` is done at the moment of the
    /// cancellation, its output is returned, as with a timeout. If the token was cancelled before the first poll,
    /// `future` is not polled.
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

    /// Queues `callback` on the current loop when this token is cancelled; at once, if it is cancelled
    /// already. Callbacks of one token run in the order in which they were added. If
    /// the token is dropped, or the loop is gone, the callbacks are dropped.
    ///
    /// # Panics
    ///
    /// Outside a loop, because no loop would run the callback.
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

    /// Removes a callback; `false` if it has been queued already, or was removed before.
    pub fn remove_on_cancel(&self, key: CancelKey) -> bool {
        self.node.remove(key.0)
    }

    /// Returns a guard that cancels this token when it is dropped, for instance at the end of a scope.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }

    /// Returns the number of child tokens of this one. For tests.
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

/// The future of [`CancellationToken::cancelled`].
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

/// A guard that cancels its token when it is dropped.
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
    /// Returns the token without cancelling it.
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
