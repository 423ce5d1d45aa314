//! Where a task's result waits, and who waits for it.
//!
//! One cell for each task, shared by the executor, which settles it, and the handles, which
//! read it. The executor sees it without its type; the future's own type leads back to it
//! (`Coroutine::poll_into`), so the result needs no box of its own.
//!
//! In the notes: "a Task is a Future and more" (N15, N16). Rules: T3, T4.

use super::current::TaskRef;
use super::done::DoneList;
use super::waiters::Waiters;
use crate::event_loop::{Local, Origin, Payload, unhandled};
use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

/// Why a task was cancelled, in the words of whoever did it.
pub(crate) type Reason = Cow<'static, str>;

/// Why a task gave no value.
#[derive(thiserror::Error)]
pub enum JoinError {
    /// It was cancelled: its future was dropped at the point where it waited.
    #[error("the task was cancelled")]
    Cancelled,
    /// The same, and whoever cancelled it said why: see [`Task::cancel_with`](crate::Task::cancel_with).
    #[error("the task was cancelled: {0}")]
    CancelledFor(Cow<'static, str>),
    /// It panicked, with this payload.
    #[error("the task panicked: {}", unhandled::message(.0))]
    Panicked(Payload),
}

impl JoinError {
    /// Whether it was cancelled, with a reason or without.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledFor(_))
    }

    /// Why it was cancelled, if whoever did it said so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    pub(super) fn into_reason(self) -> Option<Reason> {
        match self {
            Self::CancelledFor(reason) => Some(reason),
            Self::Cancelled | Self::Panicked(_) => None,
        }
    }

    /// Whether it panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("Cancelled"),
            Self::CancelledFor(reason) => write!(f, "CancelledFor({reason:?})"),
            Self::Panicked(payload) => write!(f, "Panicked({:?})", unhandled::message(payload)),
        }
    }
}

/// Where a task stands (T3: it ends in exactly one of the last three).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Spawned, not polled yet.
    Created,
    /// Gave way, and waits to be woken.
    Suspended,
    /// Being polled just now.
    Running,
    /// Returned a value.
    Done,
    /// Was cancelled.
    Cancelled,
    /// Panicked.
    Panicked,
}

impl TaskState {
    /// Whether it has ended, in whichever way.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Panicked)
    }
}

/// What is known of a task whatever its result's type.
pub(crate) struct Head {
    pub(crate) job: u64,
    /// The how-manieth task of its loop this is, from 1.
    pub(crate) number: u64,
    pub(crate) name: RefCell<Option<Rc<str>>>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) type_name: &'static str,
    pub(crate) polls: Cell<u64>,
    pub(crate) state: Cell<TaskState>,
    pub(crate) waiters: Waiters,
    pub(crate) done: DoneList<TaskRef>,
    /// Whether a `Task` is alive that may read the result.
    pub(crate) held: Cell<bool>,
    /// Why it was cancelled, if that was said.
    pub(crate) reason: RefCell<Option<Reason>>,
    /// Who takes the result away as soon as there is one: see `remote.rs`.
    pub(crate) forward: RefCell<Option<Forward>>,
}

pub(crate) type Forward = Box<dyn FnOnce(&Local, &dyn AnyCell)>;

impl Head {
    /// For reports.
    pub(crate) fn origin(&self) -> Origin {
        Origin::Task {
            name: self.name(),
            site: self.site,
        }
    }

    pub(crate) fn name(&self) -> Rc<str> {
        match &*self.name.borrow() {
            Some(name) => Rc::clone(name),
            None => format!("Task-{}", self.number).into(),
        }
    }

    /// An end, with the reason that was given for it.
    pub(crate) fn explain(&self, error: JoinError) -> JoinError {
        match (error, &*self.reason.borrow()) {
            (JoinError::Cancelled, Some(reason)) => JoinError::CancelledFor(reason.clone()),
            (error, _) => error,
        }
    }
}

pub(crate) enum Outcome<T> {
    Pending,
    /// Returned, but its future still lives.
    Staged(T),
    Settled(Result<T, JoinError>),
    /// T4: delivered once.
    Taken,
}

pub(crate) struct JoinCell<T> {
    pub(crate) head: Head,
    pub(crate) outcome: RefCell<Outcome<T>>,
}

/// The cell as the executor sees it.
pub(crate) trait AnyCell: Any {
    fn head(&self) -> &Head;

    /// Ends the task: `Ok` with the value that was staged. Returns what has come to be
    /// without an owner, to be dropped outside every borrow.
    fn settle(&self, ended: Result<(), JoinError>) -> Option<Box<dyn Any>>;

    /// Nobody will take the result: a panic is told, anything else dropped.
    fn disown(&self, local: &Local);

    fn as_any(&self) -> &dyn Any;
}

impl<T: 'static> AnyCell for JoinCell<T> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn settle(&self, ended: Result<(), JoinError>) -> Option<Box<dyn Any>> {
        let mut outcome = self.outcome.borrow_mut();
        let staged = match std::mem::replace(&mut *outcome, Outcome::Pending) {
            Outcome::Staged(value) => Some(value),
            Outcome::Pending => None,
            settled @ (Outcome::Settled(_) | Outcome::Taken) => {
                // T3: it has ended already.
                *outcome = settled;
                return None;
            }
        };
        let (state, left) = match (ended, staged) {
            (Ok(()), Some(value)) => {
                *outcome = Outcome::Settled(Ok(value));
                (TaskState::Done, None)
            }
            (Ok(()), None) => unreachable!("a task that is done has staged its value"),
            (Err(error), staged) => {
                let state = if error.is_panic() {
                    TaskState::Panicked
                } else {
                    TaskState::Cancelled
                };
                *outcome = Outcome::Settled(Err(error));
                (state, staged)
            }
        };
        self.head.state.set(state);
        left.map(|value| Box::new(value) as Box<dyn Any>)
    }

    fn disown(&self, local: &Local) {
        match self.take() {
            Some(Err(JoinError::Panicked(payload))) => {
                local.note_panic(payload, self.head.origin());
            }
            // G5: a result may be the handle of a task that has ended too.
            Some(Ok(value)) if std::mem::needs_drop::<T>() => {
                local.nest(|local| local.drop_guarded(value));
            }
            _ => {}
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Tells everybody that a task has ended: who awaits it, and its done-callbacks.
pub(crate) fn announce(local: &Local, cell: &Rc<dyn AnyCell>) {
    let head = cell.head();
    let forward = head.forward.take();
    if let Some(forward) = forward {
        local.guard(|| forward(local, &**cell));
    }
    local.guard(|| head.waiters.wake_all());
    let task = || TaskRef::new(Rc::clone(cell), local.handle());
    head.done.schedule(local, task);
}

impl<T> JoinCell<T> {
    /// T4: takes the result out; `None` while there is none, or if it was taken.
    pub(crate) fn take(&self) -> Option<Result<T, JoinError>> {
        let mut outcome = self.outcome.borrow_mut();
        if !matches!(*outcome, Outcome::Settled(_)) {
            return None;
        }
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Settled(result) => Some(result),
            _ => unreachable!("it was settled a moment ago"),
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        matches!(*self.outcome.borrow(), Outcome::Taken)
    }
}
