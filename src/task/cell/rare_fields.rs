//! The fields of a task that few tasks use: a name, a reason, callbacks.
//!
//! They are in a box that is allocated when the first of them is needed.

use super::views::Views;
use super::{TaskPtr, TaskWaker};
use crate::event_loop::{LoopHandle, Payload};
use crate::task::done::DoneList;
use crate::task::join_error::Reason;
use crate::task::waiters::WakerList;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// Receives a task's result as soon as there is one.
pub(in crate::task) type ResultSink = Box<dyn FnOnce(&LoopHandle, &TaskPtr)>;

/// The fields that few tasks use.
#[derive(Default)]
pub(super) struct RareFields {
    /// The waker to wake at the end, if it is that of a task: a task has one handle, and so one waiter
    /// with a `Task`.
    pub(super) waiter: Cell<Option<TaskWaker>>,
    pub(super) name: RefCell<Option<Rc<str>>>,
    /// The waker to wake at the end, if it is not that of a task.
    pub(super) foreign_waiter: Cell<Option<Waker>>,
    /// The reason for the cancellation, if one was given.
    pub(super) reason: RefCell<Option<Reason>>,
    /// The panic payload, until it is taken.
    pub(super) payload: Cell<Option<Payload>>,
    /// Receives the result as soon as there is one: see `remote.rs`.
    pub(super) result_sink: Cell<Option<ResultSink>>,
    pub(super) done: DoneList<TaskPtr>,
    /// The waiters without a `Task`: any number of them.
    pub(super) waiters: WakerList,
    /// Done-callbacks that may still inspect the result.
    pub(super) views: Views,
}
