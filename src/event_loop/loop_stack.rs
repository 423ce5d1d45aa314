//! The loops that a thread has entered, and not left yet.
//!
//! A loop is entered under a number, and left under it: in any order, as the guards of
//! [`EventLoop::enter`](super::EventLoop::enter) may be dropped in any order. The one with the
//! largest number is the current loop. Generic over the handle of the loop, `H`.
//!
//! In asyncio a thread has one running loop at most, so there is no stack.

use std::rc::Rc;

/// The loops that were entered, each under a number of its own: later ones have larger ones.
pub(super) struct LoopStack<H> {
    /// The last one, which is current. Apart from the list, because only a loop that is entered
    /// inside another one needs the list.
    current: Option<(u64, Rc<H>)>,
    below: Vec<(u64, Rc<H>)>,
}

impl<H> LoopStack<H> {
    pub(super) const fn new() -> Self {
        Self {
            current: None,
            below: Vec::new(),
        }
    }

    /// The loop that was entered last.
    #[inline]
    pub(super) fn current(&self) -> Option<&Rc<H>> {
        self.current.as_ref().map(|(_, handle)| handle)
    }

    /// Whether the loop that was entered last, if there is one, is that of `number`.
    #[inline]
    pub(super) fn is_last(&self, number: u64) -> bool {
        let current = self.current.as_ref();
        current.is_none_or(|current| current.0 == number)
    }

    /// Enters a loop under a number that is larger than all before.
    #[inline]
    pub(super) fn enter(&mut self, number: u64, handle: Rc<H>) {
        if let Some(before) = self.current.replace((number, handle)) {
            self.below.push(before);
        }
    }

    /// Takes out the loop that was entered under `number`, wherever it is.
    #[inline]
    pub(super) fn leave(&mut self, number: u64) -> Option<Rc<H>> {
        let is_current = |entered: &mut (u64, _)| entered.0 == number;
        let left = match self.current.take_if(is_current) {
            Some(left) => left,
            None => self.take_below(number)?,
        };
        if self.current.is_none() {
            self.current = self.below.pop();
        }
        Some(left.1)
    }

    #[cold]
    fn take_below(&mut self, number: u64) -> Option<(u64, Rc<H>)> {
        for place in (0..self.below.len()).rev() {
            if self.below[place].0 == number {
                return Some(self.below.remove(place));
            }
        }
        None
    }

    /// Takes out the loops that were entered after `number`, which is current then.
    pub(super) fn leave_above(&mut self, number: u64) -> Vec<(u64, Rc<H>)> {
        let mut above = Vec::new();
        if let Some(current) = self.current.take_if(|current| current.0 > number) {
            above.push(current);
        }
        // Later ones have larger numbers.
        while self.below.last().is_some_and(|last| last.0 > number) {
            above.extend(self.below.pop());
        }
        above.reverse();
        if self.current.is_none() {
            self.current = self.below.pop();
        }
        above
    }
}
