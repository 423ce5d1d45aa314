//! A program: operations on a loop, from outside and from inside its callbacks, and how to run it.
//!
//! The type is opaque: a strategy generates a program, the program runs, and it prints as text from
//! which `parse` makes an equal program. So a failing case is kept in a test as a few lines of text,
//! which depend neither on a seed nor on how strategies choose.
//!
//! A run tests the loop of N7.

use super::harness::Wrap;
use super::op::{self, Op};
use super::scripted::Scripted;
use super::{generate, runner};
use crate::{SimLoop, Transcript};
use readily::Callbacks;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

/// A list of operations on up to eight descriptors, four timers, four closures and four tasks.
///
/// [`program`](super::program()) generates one, and `parse` reads one from text. Each line of the
/// text is an operation from outside the loop; the operations in braces run in a callback, a closure,
/// a timer or a task. An operation that is impossible when its turn comes (a read from an empty slot)
/// is skipped.
///
/// A semicolon may stand for the end of a line. `#n` is a slot for a descriptor, below 8, or the name
/// of a timer, closure or task, below 4; `n` is a number; `{ … }` is the script of the callback,
/// closure, timer or task that the line creates, and may be left out. The operations are:
///
/// | operation | effect |
/// |---|---|
/// | `pipe #r #w`, `pair #a #b`, `tcp #a #b`, `listen #a`, `datagrams #a #b` | opens descriptors |
/// | `timerfd #a n`, `eventfd #a`, `file #a`, `unconnected #a` | opens a timer of n ms, a counter, a regular file, a socket without a peer |
/// | `register #a read+write+urgent level { … }` | registers #a for these interests or for `nothing`, with trigger `level`, `edge` or `one-shot` |
/// | `source #a { … }` | registers #a as a source, which runs the script for each event |
/// | `serve #a #b { … }` | lets the loop accept at listener #a: a connection goes to #b if that is free, and is closed otherwise |
/// | `ignore #a read` | in a callback of #a: removes an interest |
/// | `modify #a read`, `rearm #a read`, `remove #a` | changes or removes a registration |
/// | `stale #a`, `late #a` | uses the key of the last registration of #a; reports an event for that registration |
/// | `read #a n`, `write #a n`, `urgent #a`, `narrow #a n` | moves n bytes, sends urgent data, limits the buffer to n bytes |
/// | `close #a`, `dup #a #b`, `shut #a`, `shut-read #a`, `shut-both #a`, `reset #a` | closes, duplicates, shuts down writing, reading or both, resets |
/// | `connect #to #as { … }`, `accept #a #b` | connects to a listener, accepts from a listener |
/// | `admit #a #b read { … }` | in a callback of listener #a: accepts #b and registers it |
/// | `arm #t n { … }`, `disarm #t` | arms a timer of n ms, cancels it |
/// | `soon #c { … }`, `take-back #c` | queues a closure, cancels it |
/// | `spawn #k { … }`, `wake #k`, `abort #k` | spawns, wakes, cancels a task |
/// | `nap n`, `park`, `join #k` | in a task: waits for n ms, for a wake, for another task |
/// | `send { … }`, `notify`, `wake-remote #k`, `stop-remote` | from another thread: sends a closure, notifies the loop, wakes a task, stops the loop |
/// | `pass n`, `nearly n` | advances the clock by n ms; by a nanosecond less than n ms |
/// | `stop`, `panic` | stops the loop; in a callback, closure, timer or task: panics |
/// | `turn`, `wait n`, `sleep`, `run n` | from outside: runs one turn that does not block, blocks for up to n ms, or blocks without a limit; runs a future that yields n times |
///
/// # Examples
///
/// ```
/// use readily_testing::SimLoop;
/// use readily_testing::strategies::Program;
///
/// let program: Program = "
///     pipe #0 #1
///     register #0 read level { read #0 8; close #0 }
///     write #1 5
///     turn
/// "
/// .parse()?;
/// let report = program.run(&mut SimLoop::new(7))?;
/// let line = "turn 1 at 0 s: the read callback of pipe#0 reads 5 bytes, closes itself";
/// assert_eq!(report.transcript.lines()[4], line);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    ops: Rc<[Op]>,
}

impl Program {
    pub(super) fn of(ops: Vec<Op>) -> Self {
        Self { ops: ops.into() }
    }

    /// Decodes a program from bytes, for a fuzzer. Each byte decides one of the choices that
    /// [`program`](super::program()) leaves to a random number generator. Any bytes are valid; the
    /// program ends where the bytes do.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily_testing::SimLoop;
    /// use readily_testing::strategies::Program;
    ///
    /// let program = Program::from_bytes(b"\x00................\x01\x02\x03\x04\x05\x06\x07");
    /// assert!(!program.to_string().is_empty());
    /// program.run(&mut SimLoop::new(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        generate::generate(generate::Entropy::Bytes(bytes))
    }

    pub(super) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Runs the program on `sim` and checks [the invariants] of the loop (`L`), timers (`C`), wakes
    /// (`W`), tasks (`T`) and sources (`S`) after each turn. At the end everything that the program
    /// created is removed, closed or cancelled.
    ///
    /// The loop may already have registrations, timers and tasks of the caller; they run beside the
    /// program. During the run panics are isolated and the program replaces the hook of
    /// [`LoopHandle::on_unhandled`]; afterwards the policy and the hook are those of a new loop.
    ///
    /// # Errors
    ///
    /// The first invariant that does not hold, with a transcript of the events before it.
    ///
    /// [`LoopHandle::on_unhandled`]: readily::LoopHandle::on_unhandled
    /// [the invariants]: https://docs.rs/readily/latest/readily/book/invariants/index.html
    pub fn run(&self, sim: &mut SimLoop) -> Result<Report, Violation> {
        runner::run(self, sim, None)
    }

    /// Runs the program as [`Program::run`] does, with a layer of the caller's around the callbacks
    /// of each registration. The layer made by `wrap` must forward each call, `on_open` included, and
    /// may do more.
    ///
    /// # Errors
    ///
    /// As [`Program::run`].
    ///
    /// # Examples
    ///
    /// A layer that counts hangups, and loses the first of them:
    ///
    /// ```
    /// use readily_testing::SimLoop;
    /// use readily_testing::strategies::{Program, Scripted};
    /// use readily::{Callbacks, Cx};
    /// use std::io;
    ///
    /// struct Counting(Scripted, u32);
    ///
    /// impl Callbacks for Counting {
    ///     fn on_open(&mut self, cx: &Cx<'_>) {
    ///         self.0.on_open(cx);
    ///     }
    ///     fn on_read(&mut self, cx: &Cx<'_>) {
    ///         self.0.on_read(cx);
    ///     }
    ///     fn on_write(&mut self, cx: &Cx<'_>) {
    ///         self.0.on_write(cx);
    ///     }
    ///     fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
    ///         if self.1 > 0 {
    ///             self.0.on_hangup(cx, error);
    ///         }
    ///         self.1 += 1;
    ///     }
    /// }
    ///
    /// let program: Program = "pair #0 #1; register #0 read level; close #1; turn".parse()?;
    /// let ran = program.run_with(&mut SimLoop::new(7), |scripted| Counting(scripted, 0));
    /// assert_eq!(ran.unwrap_err().rule(), "L7");
    /// # Ok::<(), readily_testing::strategies::ParseProgramError>(())
    /// ```
    pub fn run_with<C: Callbacks + 'static>(
        &self,
        sim: &mut SimLoop,
        mut wrap: impl FnMut(Scripted) -> C + 'static,
    ) -> Result<Report, Violation> {
        let wrap: Wrap = Box::new(move |scripted| Box::new(wrap(scripted)));
        runner::run(self, sim, Some(wrap))
    }

    /// Runs the program and then closes the loop with everything that is still on it. `close` must
    /// report what was left and drop it, and a wake of the closed loop must do no harm ([W3]).
    ///
    /// # Errors
    ///
    /// As [`Program::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use readily_testing::SimLoop;
    /// use readily_testing::strategies::Program;
    ///
    /// let program: Program = "spawn #0 { nap 4 }; arm #0 3; send; turn".parse()?;
    /// program.run_to_close(SimLoop::new(7))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [W3]: https://docs.rs/readily/latest/readily/book/invariants/index.html#w3
    pub fn run_to_close(&self, sim: SimLoop) -> Result<Report, Violation> {
        runner::run_to_close(self, sim)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ops.iter().try_for_each(|op| writeln!(f, "{op}"))
    }
}

/// As `Display`: text that parses to an equal program.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// Reads a program from text, with braces nested up to 32 deep.
impl FromStr for Program {
    type Err = ParseProgramError;

    fn from_str(program: &str) -> Result<Self, ParseProgramError> {
        let (words, lines) = op::words(program);
        let mut left = words.iter().peekable();
        let ops = op::read(&mut left, 0);
        ops.map(Self::of).map_err(|word| {
            // The offending word is the last one that the reader has taken.
            let at = words.len().saturating_sub(left.len() + 1);
            let line = lines.get(at).copied().unwrap_or(1);
            let word = match word.as_str() {
                op::END_OF_TEXT => word,
                _ => format!("`{word}`"),
            };
            ParseProgramError { line, word }
        })
    }
}

/// An error of parsing: the text is no [`Program`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: unexpected {word}")]
pub struct ParseProgramError {
    line: usize,
    word: String,
}

/// Statistics and the transcript of a program that broke no invariant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Number of turns that the loop ran.
    pub turns: u64,
    /// Number of calls of callbacks, timers and closures, and of polls of tasks.
    pub calls: u64,
    /// The list of events.
    pub transcript: Transcript,
}

/// An invariant that does not hold, with the events before it. Prints as the transcript.
#[derive(Clone)]
pub struct Violation {
    pub(super) rule: &'static str,
    pub(super) what: String,
    pub(super) transcript: Transcript,
}

impl Violation {
    /// Returns the number of the broken rule: an invariant of `docs/invariants.md`, or a fault of
    /// `docs/faults.md`.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// Returns the list of events, the wrong one last.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} does not hold: {}", self.rule, self.what)?;
        write!(f, "{}", self.transcript)
    }
}

/// As `Display`, so that a failed assertion prints the transcript.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}
