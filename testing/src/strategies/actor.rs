//! Who does something, what he has at hand, and his line in the story.
//!
//! The same deed is told differently by whoever does it: a callback reads "itself", the test reads
//! "from pipe#0"; and what the test does stands between two turns, each time in a line of its own.
//!
//! In the notes this is nothing.

use super::model::Id;
use super::stage::Stage;
use readily::event_loop::{Cx, LoopHandle};
use std::cell::Cell;
use std::fmt;

/// Who does something: a callback, a closure, a task, or the test itself.
pub(super) struct Actor<'a> {
    pub(super) handle: &'a LoopHandle,
    /// Where it stands, if it is a callback: with its place and its registration.
    pub(super) cx: Option<&'a Cx<'a>>,
    pub(super) own: Option<(usize, Id)>,
    /// `None` for the test.
    who: Option<String>,
    pub(super) said: Cell<bool>,
}

impl<'a> Actor<'a> {
    pub(super) fn test(handle: &'a LoopHandle) -> Self {
        Self {
            handle,
            cx: None,
            own: None,
            who: None,
            said: Cell::new(false),
        }
    }

    pub(super) fn inside(handle: &'a LoopHandle, who: String) -> Self {
        Self {
            who: Some(who),
            ..Self::test(handle)
        }
    }

    pub(super) fn of(cx: &'a Cx<'a>, who: String, own: (usize, Id)) -> Self {
        Self {
            cx: Some(cx),
            own: Some(own),
            ..Self::inside(cx, who)
        }
    }

    pub(super) fn is_inside(&self) -> bool {
        self.who.is_some()
    }

    pub(super) fn says(&self, stage: &Stage, what: impl fmt::Display) {
        self.said.set(true);
        match &self.who {
            Some(who) => stage.story.tell(who, what),
            None => stage.story.tell_between(format!("the test {what}")),
        }
    }
}
