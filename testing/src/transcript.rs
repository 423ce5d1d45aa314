//! A log of the events in a test, one line for each, in order.
//!
//! The values in a failed assertion show the final state, but not how the test got there. So a test logs
//! its events. Each line begins with the turn of the loop and the time; events of one subject at the
//! same time share a line.

use super::SimLoop;
use readily::WeakHandle;
use readily::clock::{Clock, Manual};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// A log of what a test does on a [`SimLoop`]. Clones share one log.
///
/// [`SimLoop::transcript`] makes a transcript, [`Transcript::line`] adds to it, and `Display` prints it.
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
/// let expected = "turn 1 at 0 s: the client says hello, goes to sleep\n\
///                 turn 2 at 0.002 s: the client wakes up\n";
/// assert_eq!(transcript.to_string(), expected);
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Clone)]
pub struct Transcript {
    log: Rc<RefCell<Log>>,
    clock: Manual,
    handle: WeakHandle,
}

#[derive(Clone, Default)]
struct Log {
    lines: Vec<String>,
    /// How the last line begins; empty if no event may be added to it.
    open: String,
    /// The last known turn, for lines that are added after the loop was closed.
    turns: u64,
}

impl Transcript {
    pub(super) fn of(sim: &SimLoop) -> Self {
        Self {
            log: Rc::default(),
            clock: sim.kernel().clock(),
            handle: sim.weak_handle(),
        }
    }

    /// Logs that `subject` does `what`. If the last line has the same subject, turn and time, `what` is
    /// appended to it after a comma; else it gets a line of its own.
    pub fn line(&self, subject: impl fmt::Display, what: impl fmt::Display) {
        let begins = match self.turns() {
            0 => format!("before turn 1 at {}: {subject}", self.time()),
            turns => format!("turn {turns} at {}: {subject}", self.time()),
        };
        let Log { lines, open, .. } = &mut *self.log.borrow_mut();
        match lines.last_mut() {
            Some(last) if *open == begins => *last += &format!(", {what}"),
            _ => {
                lines.push(format!("{begins} {what}"));
                *open = begins;
            }
        }
    }

    /// Logs an event between two turns, always in a line of its own.
    #[cfg(feature = "proptest")]
    pub(super) fn line_between_turns(&self, what: impl fmt::Display) {
        self.push_line(match self.turns() {
            0 => format!("before turn 1 at {}: {what}", self.time()),
            turns => format!("after turn {turns} at {}: {what}", self.time()),
        });
    }

    /// Logs an event in a turn that the loop has not counted yet.
    #[cfg(feature = "proptest")]
    pub(super) fn line_in_next_turn(&self, what: impl fmt::Display) {
        let turn = self.turns() + 1;
        self.push_line(format!("turn {turn} at {}: {what}", self.time()));
    }

    #[cfg(feature = "proptest")]
    fn push_line(&self, line: String) {
        let mut log = self.log.borrow_mut();
        log.lines.push(line);
        log.open.clear();
    }

    /// Returns a copy of the log, to which later lines are not added.
    #[cfg(feature = "proptest")]
    pub(super) fn snapshot(&self) -> Self {
        let log = self.log.borrow().clone();
        Self {
            log: Rc::new(RefCell::new(log)),
            ..self.clone()
        }
    }

    /// Returns the lines of the log.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.log.borrow().lines.clone()
    }

    fn turns(&self) -> u64 {
        let mut log = self.log.borrow_mut();
        let turns = self.handle.with(|handle| handle.stats().turns);
        log.turns = turns.unwrap_or(log.turns);
        log.turns
    }

    fn time(&self) -> Seconds {
        Seconds(Duration::from_nanos(self.clock.now_ns()))
    }
}

/// A time in seconds, with as many digits as it needs.
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
        let log = self.log.borrow();
        log.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// As `Display`, so that a failed assertion prints the log.
impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
