//! How deep the ends of things may stand in one another: not as deep as a chain is long.
//!
//! A task that goes may take another with it, whose destructor ends a third: a chain of them would
//! be as deep on the stack as it is long (R093). So from a certain depth on an end waits in a line
//! until those around it are through, and the outermost sees the line to its end.
//!
//! In the notes this is nothing; Python's interpreter does the same for its own objects.

use super::local::Local;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// A level takes a few hundred bytes of stack, in a debug build some kilobytes.
const DEEPEST: u32 = 16;

type End = Box<dyn FnOnce(&Local)>;

#[derive(Default)]
pub(super) struct Depth {
    level: Cell<u32>,
    waiting: RefCell<VecDeque<End>>,
}

impl Local {
    /// Runs `end`, which may come back here, now; or, if that has happened too often already, when
    /// the outermost of those around it is through (G5). `end` does not panic.
    pub(crate) fn nest(&self, end: impl FnOnce(&Self) + 'static) {
        let level = self.depth.level.get();
        if level == DEEPEST {
            self.depth.waiting.borrow_mut().push_back(Box::new(end));
            return;
        }
        self.depth.level.set(level + 1);
        end(self);
        if level == 0 {
            // Not `while let`: that would hold the borrow while the next one runs (L8).
            let next = || self.depth.waiting.borrow_mut().pop_front();
            std::iter::from_fn(next).for_each(|end| end(self));
        }
        self.depth.level.set(level);
    }
}
