//! `Event`: something has happened; all who wait for it go on.
//!
//! A flag, and a line of those who wait for it. Whoever waited when it was set goes on, also if it
//! is cleared before he runs: he was told. So none is missed by a `set` and a `clear` in one turn.
//!
//! In asyncio: `Event`. Not in the notes.

use crate::task::budget;
use crate::task::line::{Line, Place};
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Default)]
struct Shared {
    set: Cell<bool>,
    line: Line,
}

/// A flag that can be waited for. Its clones are the same event.
///
/// # Examples
///
/// ```
/// use readily::sync::Event;
/// use readily::{gather, run};
///
/// let open = Event::new();
/// let enter = async || open.wait().await;
/// run(async { gather((enter(), enter(), async { open.set() })).await })?;
/// assert!(open.is_set());
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Event {
    shared: Rc<Shared>,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it: all who wait go on, and whoever comes does not wait, until it is cleared.
    pub fn set(&self) {
        self.shared.set.set(true);
        // Q4: those who wait now. A waker may clear this, and wait again: for the next time.
        self.shared.line.grant_all(|| ());
    }

    /// Clears it: whoever comes waits for the next [`set`](Event::set).
    pub fn clear(&self) {
        self.shared.set.set(false);
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.shared.set.get()
    }

    /// Waits until it is set; not at all if it is.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: an event is for all.
    pub async fn wait(&self) {
        Wait {
            shared: &self.shared,
            place: None,
        }
        .await;
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiting", &self.shared.line.len())
            .finish()
    }
}

struct Wait<'a> {
    shared: &'a Shared,
    place: Option<Place>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        budget::counted(cx, |cx| {
            let Self { shared, place } = &mut *self;
            if place.is_some() {
                return shared.line.poll(place, cx.waker());
            }
            if shared.set.get() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            // Cloning it was somebody else's code, and may have set this.
            if shared.set.get() {
                return Poll::Ready(());
            }
            *place = Some(shared.line.join((), waker));
            Poll::Pending
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // What it was granted, everybody was.
            let _left = self.shared.line.leave(place);
        }
    }
}
