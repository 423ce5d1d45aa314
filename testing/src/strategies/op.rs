//! What a program can do: one kind of operation for each word, and the way into text and back.
//!
//! All operations have the same few operands, so that printing, reading and shrinking are one
//! table and a loop each, and not a branch for each of thirty words. The text is the only way in
//! and out: a case that failed is kept as it was printed.
//!
//! In the notes these are the things that an event loop works on, and what goes wrong (N1, N7).

use readily::poll::{Interest, Trigger};

/// How many places there are for descriptors; timers, closures and tasks have four names each.
pub(super) const PLACES: usize = 8;
pub(super) const NAMES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
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
pub(super) const WORDS: &[(Verb, &str, &str, usize)] = &[
    (Verb::Pipe, "pipe", "at", 1), // who reads, who writes
    (Verb::Pair, "pair", "at", 1),
    (Verb::Tcp, "tcp", "at", 1),
    (Verb::Listen, "listen", "a", 1),
    (Verb::Datagrams, "datagrams", "at", 1),
    (Verb::Timerfd, "timerfd", "an", 1),
    (Verb::Eventfd, "eventfd", "a", 1),
    (Verb::File, "file", "a", 1),
    (Verb::Unconnected, "unconnected", "a", 1),
    (Verb::Narrow, "narrow", "an", 1), // so many bytes may lie unread
    (Verb::Register, "register", "aigs", 3),
    (Verb::Source, "source", "as", 1),
    (Verb::Serve, "serve", "ats", 1), // accepts by itself, one connection at a time
    (Verb::Modify, "modify", "ai", 2),
    (Verb::Rearm, "rearm", "ai", 1),
    (Verb::Ignore, "ignore", "ai", 0), // by its own callback
    (Verb::Remove, "remove", "a", 2),
    (Verb::Stale, "stale", "a", 1), // by the key of a registration that has gone
    (Verb::Late, "late", "a", 1),   // an event for it
    (Verb::Close, "close", "a", 2),
    (Verb::Dup, "dup", "at", 2),
    (Verb::Read, "read", "an", 3),
    (Verb::Write, "write", "an", 4),
    (Verb::Shut, "shut", "a", 1), // its writing half
    (Verb::ShutRead, "shut-read", "a", 1),
    (Verb::ShutBoth, "shut-both", "a", 1),
    (Verb::Reset, "reset", "a", 1),
    (Verb::Urgent, "urgent", "a", 1),
    (Verb::Connect, "connect", "ats", 1), // to whom, as whom
    (Verb::Accept, "accept", "at", 1),
    (Verb::Admit, "admit", "atis", 0), // accepts and registers, in a listener's callback
    (Verb::Arm, "arm", "ans", 2),
    (Verb::Disarm, "disarm", "a", 1),
    (Verb::Soon, "soon", "as", 2),
    (Verb::TakeBack, "take-back", "a", 1),
    (Verb::Spawn, "spawn", "as", 2),
    (Verb::Abort, "abort", "a", 1),
    (Verb::Wake, "wake", "a", 1),
    (Verb::Nap, "nap", "n", 0),
    (Verb::Park, "park", "", 0),
    (Verb::Join, "join", "a", 0),
    (Verb::Send, "send", "s", 1), // from another thread, as the next three
    (Verb::Ring, "ring", "", 1),
    (Verb::WakeAfar, "wake-afar", "a", 1),
    (Verb::StopAfar, "stop-afar", "", 1),
    (Verb::Pass, "pass", "n", 1),
    (Verb::Nearly, "nearly", "n", 1), // so many milliseconds, but for a nanosecond
    (Verb::Stop, "stop", "", 1),
    (Verb::Panic, "panic", "", 0),
    (Verb::Turn, "turn", "", 0),
    (Verb::Wait, "wait", "n", 0),
    (Verb::Sleep, "sleep", "", 0),
    (Verb::Run, "run", "n", 0),
];

impl Verb {
    pub(super) fn row(self) -> &'static (Self, &'static str, &'static str, usize) {
        let row = WORDS.iter().find(|(verb, ..)| *verb == self);
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
    pub(super) verb: Verb,
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
    pub(super) fn new(verb: Verb) -> Self {
        Self {
            verb,
            at: 0,
            to: 0,
            number: 0,
            interest: Interest::NONE,
            trigger: Trigger::Level,
            script: Vec::new(),
        }
    }
}
