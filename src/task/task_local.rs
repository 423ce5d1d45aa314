//! Task-locals: values that a task has with it, without handing them on from call to call.
//!
//! A request's number is wanted wherever something is logged, and handed through by nobody. It is
//! put round a future, and is there whenever that future is polled, or dropped. A task that is
//! spawned has none of it, unless it is asked to inherit: what is handed on unseen is kept alive
//! unseen.
//!
//! In asyncio this is `contextvars`; it is not in the notes. Rule: G7.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The values that are set, each under the address of its key. Few, and never changed: a scope
/// makes a new one.
type Values = Rc<Vec<(usize, Rc<dyn Any>)>>;

thread_local! {
    static VALUES: RefCell<Option<Values>> = const { RefCell::new(None) };
}

fn present() -> Option<Values> {
    // A thread that is ending has no values any more (R096).
    VALUES
        .try_with(|values| values.borrow().clone())
        .unwrap_or_default()
}

/// G7: makes `values` the present ones until it is dropped, and then those from before again.
struct Within(Option<Values>);

impl Within {
    fn enter(values: &Option<Values>) -> Self {
        let values = values.clone();
        Self(
            VALUES
                .try_with(|now| now.replace(values))
                .unwrap_or_default(),
        )
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let before = self.0.take();
        let values = VALUES.try_with(|now| now.replace(before));
        // Not under the borrow: the last of these may be user code (L8).
        drop(values);
    }
}

/// Declares task-locals: `task_local! { static NAME: Type; }`, with attributes and visibility as
/// for any static. See [`TaskLocal`].
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);+ $(;)?) => { $(
        $(#[$attribute])*
        $visibility static $name: $crate::TaskLocal<$type> = $crate::TaskLocal::new();
    )+ };
}

/// A key of a task-local value, made by [`task_local!`](crate::task_local).
///
/// # Examples
///
/// ```
/// use readily::{inherit, run, spawn, task_local};
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
pub struct TaskLocal<T: 'static> {
    /// Two keys are two places in memory, so a key must take place.
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

    /// The present values, with this one among them.
    fn added(&'static self, value: T) -> Option<Values> {
        let before = present();
        let others = before.iter().flat_map(|values| values.iter());
        let others = others.filter(|(key, _)| *key != self.key());
        let mut values: Vec<_> = others.cloned().collect();
        values.push((self.key(), Rc::new(value)));
        Some(Rc::new(values))
    }

    /// `future` with this value: whenever it is polled, and when it is dropped. Around it, and in
    /// tasks that it spawns, there is what was there before, or nothing.
    ///
    /// The other values it has from here, where it is made.
    ///
    /// # Cancellation
    ///
    /// Dropping it drops `future`, with the value in place.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scoped<F> {
        Scoped {
            values: self.added(value),
            future: Some(Box::pin(future)),
        }
    }

    /// Runs `f` with this value, in a callback for one.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let values = self.added(value);
        let _within = Within::enter(&values);
        f()
    }

    /// Runs `f` with the present value; `None` where there is none.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        // Owned here, so that `f` does not run under the borrow (L8).
        let values = present()?;
        let (_, value) = values.iter().find(|(key, _)| *key == self.key())?;
        value.downcast_ref().map(f)
    }
}

impl<T: 'static> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLocal")
    }
}

/// `future` with all task-locals that are set here: to be spawned.
///
/// In asyncio a new task copies the context always. Example: [`TaskLocal`].
///
/// # Cancellation
///
/// Dropping it drops `future`, with the values in place.
#[doc(alias = "copy_context")]
pub fn inherit<F: Future>(future: F) -> Scoped<F> {
    Scoped {
        values: present(),
        future: Some(Box::pin(future)),
    }
}

/// A future with task-locals: see [`TaskLocal::scope`] and [`inherit`].
#[must_use = "a future does nothing unless it is awaited or spawned"]
pub struct Scoped<F> {
    values: Option<Values>,
    /// `None` only while it is dropped.
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { values, future } = &mut *self;
        let _within = Within::enter(values);
        let future = future.as_mut().expect("it is dropped only at the end");
        future.as_mut().poll(cx)
    }
}

impl<F> Drop for Scoped<F> {
    fn drop(&mut self) {
        let _within = Within::enter(&self.values);
        self.future = None;
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.as_ref().map_or(0, |values| values.len());
        f.debug_struct("Scoped").field("values", &values).finish()
    }
}
