//! The operations of a program: a table with one row for each kind, and the text of an operation.
//!
//! All operations have the same few operands, so printing, parsing and shrinking are each a loop over
//! one table and not a branch for each of fifty kinds. The table lists the operands of each kind; a
//! failing case is kept as the text that it prints. Text may come from any source, so the parser
//! returns the first word that does not fit.
//!
//! The kinds cover the objects that an event loop works on, and their failures (N1, N7).

use readily::{Interest, Trigger};
use std::fmt;
use std::iter::Peekable;

/// Number of slots for descriptors; timers, closures and tasks have four names each.
pub(super) const SLOTS: usize = 8;
pub(super) const NAMES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpKind {
    Pipe,
    Pair,
    Tcp,
    Listen,
    Datagrams,
    Timerfd,
    Eventfd,
    File,
    Unconnected,
    Narrow,
    Register,
    Source,
    Serve,
    Modify,
    Rearm,
    Ignore,
    Remove,
    Stale,
    Late,
    Close,
    Dup,
    Read,
    Write,
    Shut,
    ShutRead,
    ShutBoth,
    Reset,
    Urgent,
    Connect,
    Accept,
    Admit,
    Arm,
    Disarm,
    Soon,
    TakeBack,
    Spawn,
    Abort,
    Wake,
    Nap,
    Park,
    Join,
    Send,
    Notify,
    WakeRemote,
    StopRemote,
    Pass,
    Nearly,
    Stop,
    Panic,
    Turn,
    Wait,
    Sleep,
    Run,
}

/// Each kind's word; its operands: `a`t and `t`o a slot or name, a `n`umber, an `i`nterest, a
/// tri`g`ger, a `s`cript; and its weight where any kind may be chosen.
pub(super) const WORDS: &[(OpKind, &str, &str, usize)] = &[
    (OpKind::Pipe, "pipe", "at", 1), // the reading end, the writing end
    (OpKind::Pair, "pair", "at", 1),
    (OpKind::Tcp, "tcp", "at", 1),
    (OpKind::Listen, "listen", "a", 1),
    (OpKind::Datagrams, "datagrams", "at", 1),
    (OpKind::Timerfd, "timerfd", "an", 1),
    (OpKind::Eventfd, "eventfd", "a", 1),
    (OpKind::File, "file", "a", 1),
    (OpKind::Unconnected, "unconnected", "a", 1),
    (OpKind::Narrow, "narrow", "an", 1), // limits the unread bytes
    (OpKind::Register, "register", "aigs", 3),
    (OpKind::Source, "source", "as", 1),
    (OpKind::Serve, "serve", "ats", 1), // the loop accepts
    (OpKind::Modify, "modify", "ai", 2),
    (OpKind::Rearm, "rearm", "ai", 1),
    (OpKind::Ignore, "ignore", "ai", 0), // in the registration's own callback
    (OpKind::Remove, "remove", "a", 2),
    (OpKind::Stale, "stale", "a", 1), // uses the key of a removed registration
    (OpKind::Late, "late", "a", 1),   // reports an event for a removed registration
    (OpKind::Close, "close", "a", 2),
    (OpKind::Dup, "dup", "at", 2),
    (OpKind::Read, "read", "an", 3),
    (OpKind::Write, "write", "an", 4),
    (OpKind::Shut, "shut", "a", 1), // the writing direction
    (OpKind::ShutRead, "shut-read", "a", 1),
    (OpKind::ShutBoth, "shut-both", "a", 1),
    (OpKind::Reset, "reset", "a", 1),
    (OpKind::Urgent, "urgent", "a", 1),
    (OpKind::Connect, "connect", "ats", 1), // the listener, the slot for the connection
    (OpKind::Accept, "accept", "at", 1),
    (OpKind::Admit, "admit", "atis", 0), // accepts and registers, in a listener's callback
    (OpKind::Arm, "arm", "ans", 2),
    (OpKind::Disarm, "disarm", "a", 1),
    (OpKind::Soon, "soon", "as", 2),
    (OpKind::TakeBack, "take-back", "a", 1),
    (OpKind::Spawn, "spawn", "as", 2),
    (OpKind::Abort, "abort", "a", 1),
    (OpKind::Wake, "wake", "a", 1),
    (OpKind::Nap, "nap", "n", 0),
    (OpKind::Park, "park", "", 0),
    (OpKind::Join, "join", "a", 0),
    (OpKind::Send, "send", "s", 1), // from another thread, as are the next three
    (OpKind::Notify, "notify", "", 1),
    (OpKind::WakeRemote, "wake-remote", "a", 1),
    (OpKind::StopRemote, "stop-remote", "", 1),
    (OpKind::Pass, "pass", "n", 1),
    (OpKind::Nearly, "nearly", "n", 1), // a nanosecond less than n ms
    (OpKind::Stop, "stop", "", 1),
    (OpKind::Panic, "panic", "", 0),
    (OpKind::Turn, "turn", "", 0),
    (OpKind::Wait, "wait", "n", 0),
    (OpKind::Sleep, "sleep", "", 0),
    (OpKind::Run, "run", "n", 0),
];

impl OpKind {
    pub(super) fn row(self) -> &'static (Self, &'static str, &'static str, usize) {
        let row = WORDS.iter().find(|(kind, ..)| *kind == self);
        row.expect("each kind has a row")
    }

    /// The n-th kind of the table, where a kind counts as often as its weight.
    pub(super) fn nth(n: usize) -> Self {
        let all: usize = WORDS.iter().map(|row| row.3).sum();
        let mut left = n % all;
        let mut rows = WORDS.iter();
        let chosen = rows.find(|row| match left.checked_sub(row.3) {
            Some(less) => {
                left = less;
                false
            }
            None => true,
        });
        chosen.map_or(Self::Turn, |row| row.0)
    }

    /// Whether this kind has the operand.
    pub(super) fn takes(self, operand: char) -> bool {
        self.row().2.contains(operand)
    }

    /// Whether the first operand names a timer, a closure or a task, and not a descriptor.
    pub(super) fn has_name(self) -> bool {
        let timer = matches!(self, Self::Arm | Self::Disarm);
        let closure = matches!(self, Self::Soon | Self::TakeBack);
        let wakes = matches!(self, Self::Wake | Self::WakeRemote);
        timer || closure || wakes || matches!(self, Self::Spawn | Self::Abort | Self::Join)
    }

    /// Whether the operation turns the loop, which a callback must not do.
    pub(super) fn is_turn(self) -> bool {
        matches!(self, Self::Turn | Self::Wait | Self::Sleep | Self::Run)
    }
}

/// One operation. An operand that its kind does not have keeps its default.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) kind: OpKind,
    pub(super) at: usize,
    pub(super) to: usize,
    /// Bytes, milliseconds or turns.
    pub(super) number: usize,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// The operations that the created callback, closure or task executes each time it runs.
    pub(super) script: Vec<Op>,
}

impl Op {
    pub(super) fn new(kind: OpKind) -> Self {
        Self {
            kind,
            at: 0,
            to: 0,
            number: 0,
            interest: Interest::NONE,
            trigger: Trigger::Level,
            script: Vec::new(),
        }
    }
}

const INTERESTS: [(Interest, &str); 3] = [
    (Interest::READ, "read"),
    (Interest::WRITE, "write"),
    (Interest::PRIORITY, "urgent"),
];

/// An interest as text.
pub(super) fn interest_text(interest: Interest) -> String {
    let contained = INTERESTS.iter().filter(|(one, _)| interest.contains(*one));
    let words: Vec<&str> = contained.map(|(_, word)| *word).collect();
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join("+"),
    }
}

const TRIGGERS: [(Trigger, &str); 3] = [
    (Trigger::Level, "level"),
    (Trigger::Edge, "edge"),
    (Trigger::OneShot, "one-shot"),
];

/// A trigger as text.
pub(super) fn trigger_text(trigger: Trigger) -> &'static str {
    let row = TRIGGERS.iter().find(|(one, _)| *one == trigger);
    row.map_or("", |(_, word)| word)
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, word, operands, _) = self.kind.row();
        f.write_str(word)?;
        for operand in operands.chars() {
            match operand {
                'a' => write!(f, " #{}", self.at)?,
                't' => write!(f, " #{}", self.to)?,
                'n' => write!(f, " {}", self.number)?,
                'i' => write!(f, " {}", interest_text(self.interest))?,
                'g' => write!(f, " {}", trigger_text(self.trigger))?,
                _ if self.script.is_empty() => {}
                _ => {
                    let script: Vec<String> = self.script.iter().map(Self::to_string).collect();
                    write!(f, " {{ {} }}", script.join("; "))?;
                }
            }
        }
        Ok(())
    }
}

/// Stands for the offending word where the text ends too early.
pub(super) const END_OF_TEXT: &str = "end of the text";

/// The words of a text, with a semicolon for each end of a line, and the line number of each word.
pub(super) fn words(text: &str) -> (Vec<String>, Vec<usize>) {
    let of_line = |(n, line): (usize, &str)| {
        let spaced = line.replace(';', " ; ") + " ;";
        let spaced = spaced.replace('{', " { ").replace('}', " } ");
        let words = spaced.split_whitespace().map(str::to_owned);
        words.map(|word| (word, n + 1)).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(of_line).unzip()
}

/// Braces nest up to this depth. The parser recurses for each brace, and no text may overflow the
/// stack.
const MAX_DEPTH: usize = 32;

/// Reads operations up to the end of the text, or of the script at this `depth`. The error is the
/// first word that does not fit.
pub(super) fn read<'a, W>(words: &mut Peekable<W>, depth: usize) -> Result<Vec<Op>, String>
where
    W: Iterator<Item = &'a String>,
{
    let mut ops = Vec::new();
    loop {
        match words.next().map(String::as_str) {
            None if depth > 0 => return Err(END_OF_TEXT.to_owned()),
            None => return Ok(ops),
            Some("}") if depth > 0 => return Ok(ops),
            Some(";") => {}
            Some(word) => {
                let row = WORDS.iter().find(|row| row.1 == word);
                let (kind, _, operands, _) = row.ok_or_else(|| word.to_owned())?;
                let mut op = Op::new(*kind);
                for operand in operands.chars() {
                    read_operand(&mut op, operand, words, depth)?;
                }
                ops.push(op);
            }
        }
    }
}

fn read_operand<'a, W>(
    op: &mut Op,
    operand: char,
    words: &mut Peekable<W>,
    depth: usize,
) -> Result<(), String>
where
    W: Iterator<Item = &'a String>,
{
    if operand == 's' {
        if let Some(brace) = words.next_if(|word| *word == "{") {
            if depth == MAX_DEPTH {
                return Err(brace.clone());
            }
            op.script = read(words, depth + 1)?;
        }
        return Ok(());
    }
    let word = words.next().ok_or(END_OF_TEXT)?;
    let wrong = || word.clone();
    // Closures, timers and tasks have fewer names than there are slots.
    let limit = if op.kind.has_name() { NAMES } else { SLOTS };
    let slot = || {
        let number = word.strip_prefix('#')?.parse().ok();
        number.filter(|number| *number < limit)
    };
    match operand {
        'a' => op.at = slot().ok_or_else(wrong)?,
        't' => op.to = slot().ok_or_else(wrong)?,
        'n' => op.number = word.parse().map_err(|_| wrong())?,
        'i' if word == "nothing" => {}
        'i' => {
            for part in word.split('+') {
                let row = INTERESTS.iter().find(|(_, name)| *name == part);
                op.interest |= row.ok_or_else(wrong)?.0;
            }
        }
        _ => {
            let row = TRIGGERS.iter().find(|(_, name)| name == word);
            op.trigger = row.ok_or_else(wrong)?.0;
        }
    }
    Ok(())
}
