//! A program: things done to a loop, from outside and from inside its callbacks, and its running.
//!
//! It is opaque on purpose: a strategy makes it, it runs, and it is printed as the text from which
//! it can be made again. What failed is then kept as a few lines in a test, and does not depend on
//! seeds or on how strategies choose.
//!
//! In the notes this is nothing; what it tries is the loop of N7.

use super::harness::Wrap;
use super::op::{self, Op};
use super::scripted::Scripted;
use super::{generate, runner};
use crate::{SimLoop, Transcript};
use readily::Callbacks;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

/// Things to be done on a small world: up to eight descriptors, four timers, closures and tasks.
///
/// Made by [`program`](super::program()), or from text: a line for each thing that is done from
/// outside, and in braces what a callback, a closure, a timer or a task does when it runs. What
/// does not fit (a read where nothing is open) is left out when it comes up.
///
/// A line ends like a semicolon does. `#n` is a place for a descriptor, below 8, or the name of a
/// timer, closure or task, below 4; `n` is a number; `{ … }`, which may be left out, is what is done
/// by what the line makes. These are the words:
///
/// | words | what they do |
/// |---|---|
/// | `pipe #r #w`, `pair #a #b`, `tcp #a #b`, `listen #a`, `datagrams #a #b` | open descriptors |
/// | `timerfd #a n`, `eventfd #a`, `file #a`, `unconnected #a` | open a timer of n ms, a counter, a regular file, a socket without a peer |
/// | `register #a read+write+urgent level { … }` | registers one: for these or `nothing`; by `level`, `edge` or `one-shot` |
/// | `source #a { … }` | registers one as a source, whose default branch runs for each event |
/// | `serve #a #b { … }` | lets the loop accept at a listener: a connection is at #b, if that is free, and is closed otherwise |
/// | `ignore #a read` | in a callback of #a: takes an interest back |
/// | `modify #a read`, `rearm #a read`, `remove #a` | change a registration |
/// | `stale #a`, `late #a` | use the key of the last registration that #a had; report an event for it |
/// | `read #a n`, `write #a n`, `urgent #a`, `narrow #a n` | move n bytes, send urgent data, let no more than n lie unread |
/// | `close #a`, `dup #a #b`, `shut #a`, `shut-read #a`, `shut-both #a`, `reset #a` | close, duplicate, shut the writing half, the reading half or both, reset |
/// | `connect #to #as { … }`, `accept #a #b` | connect to a listener, accept from it |
/// | `admit #a #b read { … }` | in a callback of listener #a: accepts #b and registers it |
/// | `arm #t n { … }`, `disarm #t` | a timer of n ms; take it back |
/// | `soon #c { … }`, `take-back #c` | a closure for the next turn |
/// | `spawn #k { … }`, `wake #k`, `abort #k` | a task, its waker, its end |
/// | `nap n`, `park`, `join #k` | in a task: wait for n ms, for a wake, for another task |
/// | `send { … }`, `ring`, `wake-afar #k`, `stop-afar` | from another thread |
/// | `pass n`, `nearly n` | n ms go by; the same, but for a nanosecond |
/// | `stop`, `panic` | stop the loop; in a callback, closure, timer or task: panic |
/// | `turn`, `wait n`, `sleep`, `run n` | from outside: turn the loop: at once, for up to n ms, without a limit; run a future that gives way n times |
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
/// let told = "turn 1 at 0 s: the read callback of pipe#0 reads 5 bytes, closes itself";
/// assert_eq!(report.transcript.lines()[4], told);
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

    /// The program that `bytes` stand for: what [`program`](super::program()) chooses by chance is
    /// decided by one byte after the other. For a fuzzer, which looks for bytes that lead
    /// somewhere new. Any bytes are a program, and the program ends where they do.
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
        generate::choose(generate::Dice::Bytes(bytes))
    }

    pub(super) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Runs it on `sim`, and checks [the invariants] meanwhile: those of the loop (`L`), timers (`C`),
    /// wakes (`W`), tasks (`T`) and sources (`S`). At the end everything that it made is taken back.
    ///
    /// The loop may have things of the caller's own on it, with which the program then runs side
    /// by side. Meanwhile panics are isolated, and [`LoopHandle::on_unhandled`] is the program's; after
    /// it both are as on a new loop.
    ///
    /// # Errors
    ///
    /// What does not hold, and the story of how it came to that.
    ///
    /// [`LoopHandle::on_unhandled`]: readily::LoopHandle::on_unhandled
    /// [the invariants]: https://docs.rs/readily/latest/readily/book/invariants/index.html
    pub fn run(&self, sim: &mut SimLoop) -> Result<Report, Violation> {
        runner::run(self, sim, None)
    }

    /// The same with `wrap` around each registration's callbacks: a layer of the caller's, that
    /// must let each call through, `on_open` included. It may do more of its own.
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
    /// # Ok::<(), readily_testing::strategies::NoProgram>(())
    /// ```
    pub fn run_with<C: Callbacks + 'static>(
        &self,
        sim: &mut SimLoop,
        mut wrap: impl FnMut(Scripted) -> C + 'static,
    ) -> Result<Report, Violation> {
        let wrap: Wrap = Box::new(move |scripted| Box::new(wrap(scripted)));
        runner::run(self, sim, Some(wrap))
    }

    /// The same, and at the end the loop is closed with everything that is still there: it says
    /// what that was, lets go of it, and may be woken afterwards ([W3]).
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

/// As `Display`: the text from which it can be made again.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// Braces may stand inside each other 32 deep.
impl FromStr for Program {
    type Err = NoProgram;

    fn from_str(program: &str) -> Result<Self, NoProgram> {
        let (words, lines) = op::words(program);
        let mut left = words.iter().peekable();
        let ops = op::read(&mut left, 0);
        ops.map(Self::of).map_err(|word| {
            // It was the last one that was taken.
            let at = words.len().saturating_sub(left.len() + 1);
            let line = lines.get(at).copied().unwrap_or(1);
            let word = match word.as_str() {
                op::END => word,
                _ => format!("`{word}`"),
            };
            NoProgram { line, word }
        })
    }
}

/// A text that is no [`Program`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: a program does not go on with {word} here")]
pub struct NoProgram {
    line: usize,
    word: String,
}

/// What came of a program that ran.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How many turns the loop took.
    pub turns: u64,
    /// How often callbacks, timers and closures were called, and tasks polled.
    pub calls: u64,
    /// What happened.
    pub transcript: Transcript,
}

/// What did not hold, and how it came to that. Printed, it is the transcript.
#[derive(Clone)]
pub struct Violation {
    pub(super) rule: &'static str,
    pub(super) what: String,
    pub(super) transcript: Transcript,
}

impl Violation {
    /// The number of what does not hold: an invariant of `docs/invariants.md`, or a fault of
    /// `docs/faults.md`.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// What happened, and last what should not have.
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

/// As `Display`: a violation is for reading.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}
