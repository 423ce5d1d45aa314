//! What happened in a test, told so that it can be read: one line for each thing, in order.
//!
//! A failure that prints its values says what was wrong at the end; what one wants to know is how
//! it came to that. So a test tells what it does, and each line says by itself in which turn of
//! the loop that was, and at what time. What one does in one go stands in one line.
//!
//! In the notes this is nothing.

use super::SimLoop;
use readily::WeakHandle;
use readily::clock::{Clock, Manual};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// What has happened on a [`SimLoop`], a line for each thing. Clones are the same transcript.
///
/// Begun by [`SimLoop::transcript`], written by [`Transcript::line`], read by `Display`.
///
/// # Examples
///
/// ```
/// use readily::sleep;
/// use readily_testing::SimLoop;
/// use std::time::Duration;
///
/// let mut sim = SimLoop::new(1);
/// let transcript = sim.transcript();
/// sim.run(async {
///     transcript.line("the client", "says hello");
///     transcript.line("the client", "goes to sleep");
///     sleep(Duration::from_millis(2)).await;
///     transcript.line("the client", "wakes up");
/// })?;
/// let told = "turn 1 at 0 s: the client says hello, goes to sleep\n\
///             turn 2 at 0.002 s: the client wakes up\n";
/// assert_eq!(transcript.to_string(), told);
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone)]
pub struct Transcript {
    told: Rc<RefCell<Told>>,
    clock: Manual,
    handle: WeakHandle,
}

#[derive(Clone, Default)]
struct Told {
    lines: Vec<String>,
    /// How the last line begins, if it can be gone on with.
    open: String,
    /// Kept for when the loop has gone: a story may be told to its end.
    turns: u64,
}

impl Transcript {
    pub(super) fn of(sim: &SimLoop) -> Self {
        Self {
            told: Rc::default(),
            clock: sim.kernel().clock(),
            handle: sim.weak_handle(),
        }
    }

    /// Tells that `who` does `what`: in a line of its own, unless the last one is about the same
    /// `who` at the same moment of the same turn; then after a comma.
    pub fn line(&self, who: impl fmt::Display, what: impl fmt::Display) {
        let begins = match self.turns() {
            0 => format!("before turn 1 at {}: {who}", self.time()),
            turns => format!("turn {turns} at {}: {who}", self.time()),
        };
        let Told { lines, open, .. } = &mut *self.told.borrow_mut();
        match lines.last_mut() {
            Some(last) if *open == begins => *last += &format!(", {what}"),
            _ => {
                lines.push(format!("{begins} {what}"));
                *open = begins;
            }
        }
    }

    /// Tells of something that happens between two turns; always in a line of its own.
    #[cfg(feature = "proptest")]
    pub(super) fn tell_between(&self, what: impl fmt::Display) {
        self.tell_line(match self.turns() {
            0 => format!("before turn 1 at {}: {what}", self.time()),
            turns => format!("after turn {turns} at {}: {what}", self.time()),
        });
    }

    /// Tells of something in a turn that the loop has not counted yet.
    #[cfg(feature = "proptest")]
    pub(super) fn tell_coming(&self, what: impl fmt::Display) {
        let turn = self.turns() + 1;
        self.tell_line(format!("turn {turn} at {}: {what}", self.time()));
    }

    #[cfg(feature = "proptest")]
    fn tell_line(&self, line: String) {
        let mut told = self.told.borrow_mut();
        told.lines.push(line);
        told.open.clear();
    }

    /// The story as it is now; what is told from here on is not in it.
    #[cfg(feature = "proptest")]
    pub(super) fn so_far(&self) -> Self {
        let told = self.told.borrow().clone();
        Self {
            told: Rc::new(RefCell::new(told)),
            ..self.clone()
        }
    }

    /// What was told, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.told.borrow().lines.clone()
    }

    fn turns(&self) -> u64 {
        let mut told = self.told.borrow_mut();
        let turns = self.handle.with(|handle| handle.stats().turns);
        told.turns = turns.unwrap_or(told.turns);
        told.turns
    }

    fn time(&self) -> Seconds {
        Seconds(Duration::from_nanos(self.clock.now_ns()))
    }
}

/// A time in seconds, with as many digits as it takes.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:09}", self.0.subsec_nanos());
        match digits.trim_end_matches('0') {
            "" => write!(f, "{} s", self.0.as_secs()),
            digits => write!(f, "{}.{digits} s", self.0.as_secs()),
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.told.borrow();
        told.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// As `Display`: a story is for reading.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
