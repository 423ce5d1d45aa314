//! What a program can do: one kind of operation for each word, and its text.
//!
//! All operations have the same few operands, so that printing, reading and shrinking are one
//! table and a loop each, and not a branch for each of thirty words. The table says which operands a word
//! has; each kind of operand is written and read here. A case that failed is kept as it was printed. A text
//! comes from anywhere, so a wrong one is refused with the word that does not fit.
//!
//! In the notes these are the things that an event loop works on, and what goes wrong (N1, N7).

use readily::{Interest, Trigger};
use std::fmt;
use std::iter::Peekable;

/// How many places there are for descriptors; timers, closures and tasks have four names each.
pub(super) const PLACES: usize = 8;
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
    Ring,
    WakeAfar,
    StopAfar,
    Pass,
    Nearly,
    Stop,
    Panic,
    Turn,
    Wait,
    Sleep,
    Run,
}

/// Each verb's word; which operands follow it: `a`t and `t`o a place or name, a `n`umber, an
/// `i`nterest, a tri`g`ger, a `s`cript; and how often it is chosen where anything may be.
pub(super) const WORDS: &[(OpKind, &str, &str, usize)] = &[
    (OpKind::Pipe, "pipe", "at", 1), // who reads, who writes
    (OpKind::Pair, "pair", "at", 1),
    (OpKind::Tcp, "tcp", "at", 1),
    (OpKind::Listen, "listen", "a", 1),
    (OpKind::Datagrams, "datagrams", "at", 1),
    (OpKind::Timerfd, "timerfd", "an", 1),
    (OpKind::Eventfd, "eventfd", "a", 1),
    (OpKind::File, "file", "a", 1),
    (OpKind::Unconnected, "unconnected", "a", 1),
    (OpKind::Narrow, "narrow", "an", 1), // so many bytes may lie unread
    (OpKind::Register, "register", "aigs", 3),
    (OpKind::Source, "source", "as", 1),
    (OpKind::Serve, "serve", "ats", 1), // accepts by itself, one connection at a time
    (OpKind::Modify, "modify", "ai", 2),
    (OpKind::Rearm, "rearm", "ai", 1),
    (OpKind::Ignore, "ignore", "ai", 0), // by its own callback
    (OpKind::Remove, "remove", "a", 2),
    (OpKind::Stale, "stale", "a", 1), // by the key of a registration that has gone
    (OpKind::Late, "late", "a", 1),   // an event for it
    (OpKind::Close, "close", "a", 2),
    (OpKind::Dup, "dup", "at", 2),
    (OpKind::Read, "read", "an", 3),
    (OpKind::Write, "write", "an", 4),
    (OpKind::Shut, "shut", "a", 1), // its writing half
    (OpKind::ShutRead, "shut-read", "a", 1),
    (OpKind::ShutBoth, "shut-both", "a", 1),
    (OpKind::Reset, "reset", "a", 1),
    (OpKind::Urgent, "urgent", "a", 1),
    (OpKind::Connect, "connect", "ats", 1), // to whom, as whom
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
    (OpKind::Send, "send", "s", 1), // from another thread, as the next three
    (OpKind::Ring, "ring", "", 1),
    (OpKind::WakeAfar, "wake-afar", "a", 1),
    (OpKind::StopAfar, "stop-afar", "", 1),
    (OpKind::Pass, "pass", "n", 1),
    (OpKind::Nearly, "nearly", "n", 1), // so many milliseconds, but for a nanosecond
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
        row.expect("each verb has its row")
    }

    /// The n-th of all that anybody may do, each counted as often as it is to be chosen.
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

    /// Whether an operand belongs to it.
    pub(super) fn takes(self, operand: char) -> bool {
        self.row().2.contains(operand)
    }

    /// Whether it is about a timer, a closure or a task, and not about a descriptor.
    pub(super) fn names(self) -> bool {
        let timer = matches!(self, Self::Arm | Self::Disarm);
        let closure = matches!(self, Self::Soon | Self::TakeBack);
        let wakes = matches!(self, Self::Wake | Self::WakeAfar);
        timer || closure || wakes || matches!(self, Self::Spawn | Self::Abort | Self::Join)
    }

    /// Whether it turns the loop: nothing for a callback.
    pub(super) fn turns(self) -> bool {
        matches!(self, Self::Turn | Self::Wait | Self::Sleep | Self::Run)
    }
}

/// One thing to do. An operand that its verb does not take has its default.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) kind: OpKind,
    pub(super) at: usize,
    pub(super) to: usize,
    /// Bytes, milliseconds or turns.
    pub(super) number: usize,
    pub(super) interest: Interest,
    pub(super) trigger: Trigger,
    /// What is done by the callback, closure or task that this makes, each time it runs.
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

/// An interest in words.
pub(super) fn wanted(interest: Interest) -> String {
    let asked = INTERESTS.iter().filter(|(one, _)| interest.contains(*one));
    let words: Vec<&str> = asked.map(|(_, word)| *word).collect();
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

/// A trigger in words.
pub(super) fn trigger(trigger: Trigger) -> &'static str {
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
                'i' => write!(f, " {}", wanted(self.interest))?,
                'g' => write!(f, " {}", trigger(self.trigger))?,
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

/// What is stumbled over where there are no words any more.
pub(super) const END: &str = "the end of the text";

/// The words of a text, with a semicolon for each end of a line, and the line of each.
pub(super) fn words(text: &str) -> (Vec<String>, Vec<usize>) {
    let of_line = |(n, line): (usize, &str)| {
        let spaced = line.replace(';', " ; ") + " ;";
        let spaced = spaced.replace('{', " { ").replace('}', " } ");
        let words = spaced.split_whitespace().map(str::to_owned);
        words.map(|word| (word, n + 1)).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(of_line).unzip()
}

/// As many braces may stand inside each other: each is read by a call inside of another, and a text
/// must not be able to end the process.
const DEEPEST: usize = 32;

/// Reads operations up to the end of the text, or of the script, which is so `deep` inside of
/// others. An error is the word that it stumbled over.
pub(super) fn read<'a, W>(words: &mut Peekable<W>, deep: usize) -> Result<Vec<Op>, String>
where
    W: Iterator<Item = &'a String>,
{
    let mut ops = Vec::new();
    loop {
        match words.next().map(String::as_str) {
            None if deep > 0 => return Err(END.to_owned()),
            None => return Ok(ops),
            Some("}") if deep > 0 => return Ok(ops),
            Some(";") => {}
            Some(word) => {
                let row = WORDS.iter().find(|row| row.1 == word);
                let (kind, _, operands, _) = row.ok_or_else(|| word.to_owned())?;
                let mut op = Op::new(*kind);
                for operand in operands.chars() {
                    read_operand(&mut op, operand, words, deep)?;
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
    deep: usize,
) -> Result<(), String>
where
    W: Iterator<Item = &'a String>,
{
    if operand == 's' {
        if let Some(brace) = words.next_if(|word| *word == "{") {
            if deep == DEEPEST {
                return Err(brace.clone());
            }
            op.script = read(words, deep + 1)?;
        }
        return Ok(());
    }
    let word = words.next().ok_or(END)?;
    let wrong = || word.clone();
    // Closures, timers and tasks have fewer names than there are places.
    let most = if op.kind.names() { NAMES } else { PLACES };
    let place = || {
        let number = word.strip_prefix('#')?.parse().ok();
        number.filter(|number| *number < most)
    };
    match operand {
        'a' => op.at = place().ok_or_else(wrong)?,
        't' => op.to = place().ok_or_else(wrong)?,
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
