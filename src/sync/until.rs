//! Waits until there is something to see: for those who look for themselves.
//!
//! Of the last value, of a broadcast, of an end there is enough for all: nobody takes anything from
//! anybody, and so there is nothing to be granted. Whoever waits looks, and looks again when he is
//! told that something has changed.
//!
//! Not in the notes. In asyncio it is a loop around `Event.wait`.

use crate::task::budget;
use crate::task::line::{Line, Place};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Looks; where there is nothing to see yet, waits in `line`, at `place`, to be told.
///
/// `look` is the crate's own code: it may not call the user's under a borrow (L8).
pub(super) fn poll_until<R>(
    line: &Line,
    place: &mut Option<Place>,
    cx: &mut Context<'_>,
    mut look: impl FnMut() -> Option<R>,
) -> Poll<R> {
    loop {
        if let Some(seen) = look() {
            leave(line, place);
            return Poll::Ready(seen);
        }
        if place.is_some() {
            ready!(line.poll(place, cx.waker()));
            continue;
        }
        let waker = cx.waker().clone();
        // Cloning it was somebody else's code, and may have changed something.
        if let Some(seen) = look() {
            return Poll::Ready(seen);
        }
        *place = Some(line.join((), waker));
        return Poll::Pending;
    }
}

/// Gives a place up, if there is one. What was told to it was told to all.
pub(super) fn leave(line: &Line, place: &mut Option<Place>) {
    if let Some(place) = place.take() {
        let _left = line.leave(place);
    }
}

/// [`poll_until`] as a future, for a wait that lasts no longer than its call.
pub(super) struct Until<'a, F> {
    line: &'a Line,
    place: Option<Place>,
    look: F,
}

impl<'a, F> Until<'a, F> {
    pub(super) fn new(line: &'a Line, look: F) -> Self {
        Self {
            line,
            place: None,
            look,
        }
    }
}

// It is called, and never pinned.
impl<F> Unpin for Until<'_, F> {}

impl<R, F: FnMut() -> Option<R>> Future for Until<'_, F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        budget::counted(cx, |cx| {
            let Self { line, place, look } = &mut *self;
            poll_until(line, place, cx, look)
        })
    }
}

impl<F> Drop for Until<'_, F> {
    fn drop(&mut self) {
        leave(self.line, &mut self.place);
    }
}
