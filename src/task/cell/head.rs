//! What is known of a task whatever its future and its result: the first part of its cell.
//!
//! Most of it is for the loop's thread, in plain cells; what wakers touch is a part by itself
//! (`waker.rs`). A million tasks have a million of these, so what few tasks ever have — a name, a
//! reason, callbacks — is in a box that is made when it is first needed.
//!
//! In the notes: what a Task answers when it is asked (N16). Rules: T3, T4.

use super::Vtable;
use super::standing::Standing;
use super::waker::Wakeup;
use crate::event_loop::{Inbox, Origin, Payload};
use crate::task::current::TaskRef;
use crate::task::done::DoneList;
use crate::task::join::{Forward, JoinError, Reason, TaskState};
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// What few tasks have.
#[derive(Default)]
struct Extra {
    name: RefCell<Option<Rc<str>>>,
    /// Why it was cancelled, if that was said.
    reason: RefCell<Option<Reason>>,
    /// What it panicked with, until somebody takes it.
    payload: Cell<Option<Payload>>,
    /// Who takes the result away as soon as there is one: see `remote.rs`.
    forward: Cell<Option<Forward>>,
    done: DoneList<TaskRef>,
}

/// The part for the loop's thread.
pub(super) struct Own {
    /// The how-manieth task of its loop this is, from 1.
    number: u64,
    site: &'static Location<'static>,
    /// References to the cell on this thread.
    references: Cell<u32>,
    polls: Cell<u32>,
    /// Who is woken at the end: a task has one handle, and so one who waits.
    waiter: Cell<Option<Waker>>,
    extra: OnceCell<Box<Extra>>,
}

/// What a task is told at its making.
pub(in crate::task) struct Birth {
    pub(in crate::task) home: Arc<Inbox>,
    pub(in crate::task) id: u64,
    pub(in crate::task) number: u64,
    pub(in crate::task) site: &'static Location<'static>,
}

#[repr(C)]
pub(in crate::task) struct Head {
    pub(super) vtable: &'static Vtable,
    /// All that a waker touches, on whichever thread.
    pub(super) wakeup: Wakeup,
    /// The loop's thread only; dropped there, with the last reference.
    pub(super) own: Own,
}

impl Own {
    /// One more on this thread.
    #[inline]
    pub(super) fn refer(&self) {
        match self.references.get().checked_add(1) {
            Some(references) => self.references.set(references),
            None => std::process::abort(), // as `Rc` has it
        }
    }

    /// One less on this thread; `true` if it was the last one.
    #[must_use]
    #[inline]
    pub(super) fn let_go(&self) -> bool {
        self.references.set(self.references.get() - 1);
        self.references.get() == 0
    }
}

impl Head {
    pub(super) fn new(vtable: &'static Vtable, birth: Birth) -> Self {
        Self {
            vtable,
            wakeup: Wakeup::new(birth.id, birth.home),
            own: Own {
                number: birth.number,
                site: birth.site,
                references: Cell::new(1),
                polls: Cell::new(0),
                waiter: Cell::new(None),
                extra: OnceCell::new(),
            },
        }
    }

    pub(in crate::task) fn standing(&self) -> &Standing {
        &self.wakeup.standing
    }

    #[inline]
    pub(in crate::task) fn state(&self) -> TaskState {
        self.standing().state()
    }

    pub(in crate::task) fn id(&self) -> u64 {
        self.wakeup.id
    }

    pub(in crate::task) fn home(&self) -> &Arc<Inbox> {
        &self.wakeup.home
    }

    /// The how-manieth task of its loop it is.
    pub(in crate::task) fn number(&self) -> u64 {
        self.own.number
    }

    pub(in crate::task) fn site(&self) -> &'static Location<'static> {
        self.own.site
    }

    /// What its future is called.
    pub(in crate::task) fn type_name(&self) -> &'static str {
        (self.vtable.type_name)()
    }

    /// See [`Wakeup::lower`].
    #[inline]
    pub(in crate::task) fn lower(&self) -> bool {
        self.wakeup.lower()
    }

    pub(in crate::task) fn is_taped(&self) -> bool {
        self.wakeup.is_taped()
    }

    fn extra(&self) -> &Extra {
        self.own.extra.get_or_init(Box::default)
    }

    /// A poll begins.
    #[inline]
    pub(in crate::task) fn count_poll(&self) {
        self.standing().set_state(TaskState::Running);
        self.own.polls.set(self.own.polls.get().saturating_add(1));
    }

    pub(in crate::task) fn polls(&self) -> u64 {
        self.own.polls.get().into()
    }

    /// For reports.
    pub(in crate::task) fn origin(&self) -> Origin {
        Origin::Task {
            name: self.name(),
            site: self.own.site,
        }
    }

    pub(in crate::task) fn name(&self) -> Rc<str> {
        let given = self.own.extra.get();
        match given.and_then(|extra| extra.name.borrow().clone()) {
            Some(name) => name,
            None => format!("Task-{}", self.own.number).into(),
        }
    }

    pub(in crate::task) fn set_name(&self, name: &str) {
        *self.extra().name.borrow_mut() = Some(name.into());
    }

    pub(in crate::task) fn reason(&self) -> Option<Reason> {
        self.own.extra.get()?.reason.borrow().clone()
    }

    pub(in crate::task) fn set_reason(&self, reason: Option<Reason>) {
        if reason.is_some() {
            *self.extra().reason.borrow_mut() = reason;
        }
    }

    pub(in crate::task) fn forward(&self, forward: Forward) {
        self.extra().forward.set(Some(forward));
    }

    pub(in crate::task) fn take_forward(&self) -> Option<Forward> {
        self.own.extra.get()?.forward.take()
    }

    /// The done-callbacks, if there ever were any.
    pub(in crate::task) fn done(&self) -> Option<&DoneList<TaskRef>> {
        Some(&self.own.extra.get()?.done)
    }

    pub(in crate::task) fn done_or_new(&self) -> &DoneList<TaskRef> {
        &self.extra().done
    }

    /// Has `waker` woken at the end. What it replaces is dropped here: not under a borrow (L8).
    pub(in crate::task) fn wait(&self, waker: &Waker) {
        let kept = self.own.waiter.take();
        if kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.own.waiter.set(kept);
            return;
        }
        drop(kept);
        let waker = waker.clone();
        drop(self.own.waiter.replace(Some(waker)));
    }

    pub(in crate::task) fn take_waiter(&self) -> Option<Waker> {
        self.own.waiter.take()
    }

    /// T3: ends the task, once.
    pub(in crate::task) fn settle(&self, end: Result<(), JoinError>) {
        self.standing().set_state(match end {
            Ok(()) => TaskState::Done,
            Err(JoinError::Panicked(payload)) => {
                self.extra().payload.set(Some(payload));
                TaskState::Panicked
            }
            Err(JoinError::Cancelled | JoinError::CancelledFor(_)) => TaskState::Cancelled,
        });
    }

    /// T4: how it has ended, once; `None` while it has not, and from then on.
    #[inline]
    pub(in crate::task) fn deliver(&self) -> Option<Result<(), JoinError>> {
        let standing = self.standing();
        if !standing.is_owed() {
            return None;
        }
        standing.set_taken(true);
        match standing.state() {
            TaskState::Done => Some(Ok(())),
            state => Some(Err(self.error(state))),
        }
    }

    /// What is delivered of a task that gave no value.
    #[cold]
    fn error(&self, state: TaskState) -> JoinError {
        if state == TaskState::Panicked {
            let payload = self.extra().payload.take();
            return JoinError::Panicked(payload.expect("it is there until it is delivered"));
        }
        match self.reason() {
            Some(reason) => JoinError::CancelledFor(reason),
            None => JoinError::Cancelled,
        }
    }

    /// Undoes a [`deliver`](Self::deliver).
    pub(super) fn put_back(&self, end: Result<(), JoinError>) {
        if let Err(JoinError::Panicked(payload)) = end {
            self.extra().payload.set(Some(payload));
        }
        self.standing().set_taken(false);
    }
}
