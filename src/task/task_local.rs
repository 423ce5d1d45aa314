//! Task-locals: values that belong to a task, without being passed from call to call.
//!
//! A request's number, say, is needed wherever the program logs, and no function wants to pass it
//! on. A task-local value is set around a future, and is present whenever that future is polled or
//! dropped. A spawned task has none of the values unless it inherits them with [`inherit`]: an
//! implicit copy would keep them alive unseen.
//!
//! In asyncio this is `contextvars`. Rule: G7.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A value with the address of its key.
type Entry = (usize, Rc<dyn Any>);

thread_local! {
    /// The values that are set on this thread, the innermost last.
    static VALUES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// G7: values that are set until this is dropped.
struct ScopeGuard {
    before: usize,
}

impl ScopeGuard {
    fn enter(entries: &[Entry]) -> Self {
        // A thread that is ending has no thread-locals any more (R096).
        let before = VALUES.try_with(|values| {
            let mut values = values.borrow_mut();
            let before = values.len();
            values.extend_from_slice(entries);
            before
        });
        Self {
            before: before.unwrap_or_default(),
        }
    }
}

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        // The scope that ends holds them all too, so no value is dropped here for good (L8).
        let _ = VALUES.try_with(|values| values.borrow_mut().truncate(self.before));
    }
}

/// G7: while this lives, no value is set. For the tasks of a loop that is turned inside a task of
/// another loop: that task's values are not theirs.
pub(super) struct HideGuard(Vec<Entry>);

impl HideGuard {
    pub(super) fn all() -> Self {
        Self(VALUES.try_with(RefCell::take).unwrap_or_default())
    }
}

impl Drop for HideGuard {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.0);
        // The scopes that were entered meanwhile have ended.
        let _ = VALUES.try_with(|all| all.replace(values));
    }
}

/// Declares task-locals: `task_local! { static NAME: Type; }`, with attributes and visibility as
/// for any static. See [`TaskLocal`].
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);+ $(;)?) => { $(
        $(#[$attribute])*
        $visibility static $name: $crate::task::TaskLocal<$type> = $crate::task::TaskLocal::new();
    )+ };
}

/// A key of a task-local value, made by [`task_local!`](crate::task_local).
///
/// # Examples
///
/// ```
/// use readily::task::inherit;
/// use readily::{run, spawn, task_local};
///
/// task_local! {
///     static REQUEST: u32;
/// }
///
/// async fn logs() -> String {
///     let number = REQUEST.with(|number| *number);
///     format!("{number:?}")
/// }
///
/// let (own, child, asked) = run(REQUEST.scope(7, async {
///     let (child, asked) = (spawn(logs()), spawn(inherit(logs())));
///     (logs().await, child.await.unwrap(), asked.await.unwrap())
/// }))?;
/// assert_eq!((&*own, &*child, &*asked), ("Some(7)", "None", "Some(7)"));
/// # Ok::<(), readily::Error>(())
/// ```
#[doc(alias = "contextvars")]
#[doc(alias = "ContextVar")]
pub struct TaskLocal<T: 'static> {
    /// Two keys must have two addresses, so a key must have a size.
    _place: u8,
    _type: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskLocal<T> {
    #[doc(hidden)]
    #[must_use]
    #[allow(clippy::new_without_default)] // a key that is not a static is of no use
    pub const fn new() -> Self {
        Self {
            _place: 0,
            _type: PhantomData,
        }
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn entry(&'static self, value: T) -> Entry {
        (self.key(), Rc::new(value))
    }

    /// Sets this value whenever `future` is polled, and when it is dropped. Outside of `future` the
    /// value from before is set; tasks that `future` spawns have no value, see [`inherit`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops `future`, with the value in place.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scoped<F> {
        Scoped {
            entries: vec![self.entry(value)],
            future: Some(Box::pin(future)),
        }
    }

    /// Runs `f`, for instance a callback, with this value set.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let entries = [self.entry(value)];
        let _within = ScopeGuard::enter(&entries);
        f()
    }

    /// Returns `f` with a clone of the current value, which is set while `f` runs, on any thread: for a job of
    /// a thread pool. The clone is dropped when `f` has returned, on that thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{run, run_blocking, task_local};
    ///
    /// task_local! {
    ///     static REQUEST: u32;
    /// }
    ///
    /// let number = || REQUEST.with(|number| *number);
    /// let (without, with) = run(REQUEST.scope(7, async move {
    ///     (run_blocking(number).await, run_blocking(REQUEST.carry(number)).await)
    /// }))?;
    /// assert_eq!((without.unwrap(), with.unwrap()), (None, Some(7)));
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn carry<R, F>(&'static self, f: F) -> impl FnOnce() -> R + Send + use<R, F, T>
    where
        T: Clone + Send,
        F: FnOnce() -> R + Send,
    {
        let value = self.with(T::clone);
        move || match value {
            Some(value) => self.sync_scope(value, f),
            None => f(),
        }
    }

    /// Calls `f` with the current value; `None` if no value is set.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        // The value is owned here, so that `f` does not run under the borrow (L8).
        let found = VALUES.try_with(|values| {
            let values = values.borrow();
            let found = values.iter().rfind(|(key, _)| *key == self.key());
            found.map(|(_, value)| Rc::clone(value))
        });
        found.ok().flatten()?.downcast_ref().map(f)
    }
}

impl<T: 'static> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLocal")
    }
}

/// Returns `future` with a copy of all task-locals that are set here, for [`spawn`](crate::spawn()).
///
/// In asyncio a new task always copies the context. Example: [`TaskLocal`].
///
/// # Cancellation
///
/// Dropping it drops `future`, with the values in place.
#[doc(alias = "copy_context")]
pub fn inherit<F: Future>(future: F) -> Scoped<F> {
    let mut entries: Vec<Entry> = Vec::new();
    let _ = VALUES.try_with(|values| {
        for entry in values.borrow().iter().rev() {
            // Only the innermost of each key: along a chain of inheriting tasks the list must not
            // grow.
            if entries.iter().all(|(key, _)| *key != entry.0) {
                entries.push(entry.clone());
            }
        }
    });
    let future = Some(Box::pin(future));
    Scoped { entries, future }
}

/// A future with task-locals: see [`TaskLocal::scope`] and [`inherit`].
#[must_use = "a future does nothing unless it is awaited or spawned"]
pub struct Scoped<F> {
    entries: Vec<Entry>,
    /// `None` only while this is dropped.
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { entries, future } = &mut *self;
        let _within = ScopeGuard::enter(entries);
        let future = future.as_mut().expect("it is dropped only at the end");
        future.as_mut().poll(cx)
    }
}

impl<F> Drop for Scoped<F> {
    fn drop(&mut self) {
        let _within = ScopeGuard::enter(&self.entries);
        self.future = None;
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped")
            .field("values", &self.entries.len())
            .finish()
    }
}
