//! The registrations of a kqueue, and the queue of those that have something to report.
//!
//! A registration is a number and a filter. It is *active* when the condition of its filter has come
//! about, and *queued* while it is active and enabled. [`Knotes::collect`] goes through the queue once,
//! evaluates each filter again, and applies `EV_CLEAR`, `EV_DISPATCH` and `EV_ONESHOT` as the three
//! systems do. The caller passes the outputs of the filters in, so the tests need no descriptor.
//!
//! In the notes this is what "kqueue on macOS" hides (N2).

use super::filters::FilterOutput;
use readily_sys::facts::File;
use readily_sys::kq_abi::{
    EV_ADD, EV_CLEAR, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ONESHOT, EV_RECEIPT, Filter,
    Kevent, Personality,
};
use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;

/// The name of a registration: its number and its filter.
pub(super) type Name = (RawFd, Filter);

/// A registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knote {
    pub(super) udata: u64,
    pub(super) file: File,
    /// Whether the socket was listening when the registration was made.
    pub(super) as_listener: bool,
    /// Distinguishes this registration from earlier ones of the same name.
    pub(super) generation: u32,
    /// Whether epoll watches the file: it refuses devices that are always ready.
    pub(super) is_watched: bool,
    /// `NOTE_LOWAT`, or zero.
    pub(super) fflags: u32,
    /// With `NOTE_LOWAT`, the least amount that is reported.
    pub(super) low_water: i64,
    /// The count at the last wait: connections to accept, or bytes acknowledged.
    pub(super) last_count: u64,
    /// `EV_CLEAR`, `EV_DISPATCH` and `EV_ONESHOT`, as in its first addition.
    mode: u32,
    /// The flags of the first addition that each event repeats.
    event_flags: u32,
    enabled: bool,
    active: bool,
    queued: bool,
}

impl Knote {
    /// The registration that `change` adds.
    pub(super) fn new(system: Personality, change: &Kevent, file: File, generation: u32) -> Self {
        let mode = change.flags & (EV_CLEAR | EV_DISPATCH | EV_ONESHOT);
        Self {
            udata: change.udata,
            file,
            as_listener: false,
            generation,
            is_watched: true,
            fflags: change.fflags,
            low_water: change.data,
            last_count: 0,
            mode,
            event_flags: match system {
                Personality::FreeBsd => mode | change.flags & EV_RECEIPT,
                _ => mode | change.flags & (EV_RECEIPT | EV_ADD),
            },
            enabled: change.flags & EV_DISABLE == 0,
            active: false,
            queued: false,
        }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.mode & EV_CLEAR != 0
    }
}

/// The registrations of one kqueue.
#[derive(Debug)]
pub(super) struct Knotes {
    system: Personality,
    all: HashMap<Name, Knote>,
    queue: VecDeque<Name>,
}

impl Knotes {
    pub(super) fn new(system: Personality) -> Self {
        Self {
            system,
            all: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<&Knote> {
        self.all.get(&name)
    }

    pub(super) fn get_mut(&mut self, name: Name) -> Option<&mut Knote> {
        self.all.get_mut(&name)
    }

    pub(super) fn insert(&mut self, name: Name, knote: Knote) {
        self.all.insert(name, knote);
    }

    /// Removes a registration.
    pub(super) fn remove(&mut self, name: Name) -> Option<Knote> {
        let knote = self.all.remove(&name)?;
        if knote.queued {
            self.queue.retain(|&other| other != name);
        }
        Some(knote)
    }

    /// The registrations whose conditions can change without a report by epoll.
    pub(super) fn counted(&self) -> impl Iterator<Item = Name> + '_ {
        let counts =
            |knote: &Knote| knote.is_clear() && matches!(knote.file, File::Tcp | File::UnixStream);
        let all = self.all.iter();
        all.filter(move |(_, knote)| counts(knote))
            .map(|(&name, _)| name)
    }

    /// Whether a call of [`collect`](Self::collect) may return events.
    pub(super) fn is_ready(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Marks a registration as active, because the condition of its filter has come about.
    pub(super) fn activate(&mut self, name: Name) {
        if let Some(knote) = self.all.get_mut(&name) {
            knote.active = true;
            if knote.enabled && !knote.queued {
                knote.queued = true;
                self.queue.push_back(name);
            }
        }
    }

    /// Applies a change to an existing registration, or to the one that the change has added. Returns
    /// whether its filter must be evaluated.
    pub(super) fn update(&mut self, name: Name, change: &Kevent) -> bool {
        // NetBSD updates and evaluates only for an addition.
        let updates = change.flags & EV_ADD != 0 || self.system != Personality::NetBsd;
        let Some(knote) = self.all.get_mut(&name) else {
            return false;
        };
        if updates {
            (knote.udata, knote.fflags, knote.low_water) =
                (change.udata, change.fflags, change.data);
        }
        if change.flags & EV_ENABLE != 0 {
            knote.enabled = true;
        }
        if change.flags & EV_DISABLE != 0 {
            (knote.enabled, knote.queued) = (false, false);
            self.queue.retain(|&other| other != name);
        }
        if knote.active {
            self.activate(name);
        }
        updates
    }

    /// Goes through the queue once and appends at most `max` events, each registration at most once.
    /// The next call begins where this one ends. `evaluate` returns the output of a filter, or `None`
    /// if its number has been closed. Returns the registrations that the caller has to remove.
    pub(super) fn collect(
        &mut self,
        out: &mut Vec<Kevent>,
        max: usize,
        mut evaluate: impl FnMut(Name, &Knote) -> Option<FilterOutput>,
    ) -> Removals {
        let (mut removals, full) = (Removals::default(), out.len() + max);
        for _ in 0..self.queue.len() {
            if out.len() == full {
                break;
            }
            let Some(name) = self.queue.pop_front() else {
                break;
            };
            let Some(knote) = self.all.get_mut(&name) else {
                continue;
            };
            knote.queued = false;
            let Some(output) = evaluate(name, knote) else {
                removals.closed.push(name);
                continue;
            };
            // FreeBSD and NetBSD do not evaluate a one-shot again: its condition may not hold any more.
            let rechecked = knote.mode & EV_ONESHOT == 0 || self.system == Personality::Apple;
            if rechecked && !output.holds {
                knote.active = false;
                continue;
            }
            out.push(event(name, knote, &output));
            match next_state(
                self.system,
                knote.mode | if output.once { EV_ONESHOT } else { 0 },
            ) {
                NextState::Removed => removals.one_shots.push(name),
                NextState::Disabled => (knote.active, knote.enabled) = (false, false),
                NextState::Idle => knote.active = false,
                NextState::Queued => {
                    knote.queued = true;
                    self.queue.push_back(name);
                }
            }
        }
        removals
    }
}

/// The registrations that a call of [`Knotes::collect`] has ended.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Registrations whose number was closed.
    pub(super) closed: Vec<Name>,
    /// One-shots that were reported.
    pub(super) one_shots: Vec<Name>,
}

/// The state of a registration after it has been reported.
#[derive(Debug, PartialEq, Eq)]
enum NextState {
    Queued,
    Idle,
    Disabled,
    Removed,
}

fn next_state(system: Personality, mode: u32) -> NextState {
    let (clear, dispatch) = (mode & EV_CLEAR != 0, mode & EV_DISPATCH != 0);
    match mode & EV_ONESHOT != 0 {
        true => NextState::Removed,
        // With both flags NetBSD applies `EV_CLEAR`, and the other systems `EV_DISPATCH`.
        false if dispatch && !(clear && system == Personality::NetBsd) => NextState::Disabled,
        false if clear => NextState::Idle,
        false => NextState::Queued,
    }
}

fn event(name: Name, knote: &Knote, output: &FilterOutput) -> Kevent {
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    Kevent {
        ident: usize::try_from(name.0).unwrap_or(usize::MAX),
        filter: name.1,
        flags: knote.event_flags | flag(EV_EOF, output.eof) | flag(EV_ONESHOT, output.once),
        fflags: output.error,
        data: output.data,
        udata: knote.udata,
    }
}

#[cfg(test)]
mod tests;
