//! The registrations of a kqueue, and the queue of those that have something to report.
//!
//! A registration is a number and a filter. It is *active* when its filter has found its
//! condition, and *queued* while it is active and enabled. A harvest goes through the queue once, looks
//! at each condition again, and applies `EV_CLEAR`, `EV_DISPATCH` and `EV_ONESHOT` as the three systems
//! do. What the filters find is handed in, so that all of it is tried without a descriptor.
//!
//! In the notes this is what "kqueue on macOS" hides (N2).

use super::filters::Found;
use readily_sys::facts::File;
use readily_sys::kq_abi::{
    EV_ADD, EV_CLEAR, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ONESHOT, EV_RECEIPT, Filter,
    Kevent, Personality,
};
use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;

/// The name of a registration.
pub(super) type Name = (RawFd, Filter);

/// A registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knote {
    pub(super) udata: u64,
    pub(super) file: File,
    /// The socket was listening when the registration was made.
    pub(super) as_listener: bool,
    /// Tells this registration from earlier ones of its name.
    pub(super) generation: u32,
    /// Whether epoll watches it: it refuses devices that are always ready.
    pub(super) is_watched: bool,
    /// `NOTE_LOWAT`, or nothing.
    pub(super) fflags: u32,
    /// With `NOTE_LOWAT`, how much is enough.
    pub(super) least: i64,
    /// What the last look counted: connections to accept, or bytes acknowledged.
    pub(super) counted: u64,
    /// `EV_CLEAR`, `EV_DISPATCH`, `EV_ONESHOT`: as it was added first.
    mode: u32,
    /// The flags that its events have from the beginning.
    kept: u32,
    enabled: bool,
    active: bool,
    queued: bool,
}

impl Knote {
    /// As `change` adds it.
    pub(super) fn new(system: Personality, change: &Kevent, file: File, generation: u32) -> Self {
        let mode = change.flags & (EV_CLEAR | EV_DISPATCH | EV_ONESHOT);
        Self {
            udata: change.udata,
            file,
            as_listener: false,
            generation,
            is_watched: true,
            fflags: change.fflags,
            least: change.data,
            counted: 0,
            mode,
            kept: match system {
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

/// What one kqueue watches.
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

    /// Takes a registration out.
    pub(super) fn forget(&mut self, name: Name) -> Option<Knote> {
        let knote = self.all.remove(&name)?;
        if knote.queued {
            self.queue.retain(|&other| other != name);
        }
        Some(knote)
    }

    /// Those whose condition can change without epoll's notice.
    pub(super) fn counting(&self) -> impl Iterator<Item = Name> + '_ {
        let counts =
            |knote: &Knote| knote.is_clear() && matches!(knote.file, File::Tcp | File::UnixStream);
        let all = self.all.iter();
        all.filter(move |(_, knote)| counts(knote))
            .map(|(&name, _)| name)
    }

    /// Whether a harvest may find something.
    pub(super) fn is_ready(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes note that the condition of a registration has been found.
    pub(super) fn activate(&mut self, name: Name) {
        if let Some(knote) = self.all.get_mut(&name) {
            knote.active = true;
            if knote.enabled && !knote.queued {
                knote.queued = true;
                self.queue.push_back(name);
            }
        }
    }

    /// Applies a change to what is there, or was added a moment ago; whether its filter is to
    /// look anew.
    pub(super) fn update(&mut self, name: Name, change: &Kevent) -> bool {
        // NetBSD changes and looks only where something is added.
        let takes = change.flags & EV_ADD != 0 || self.system != Personality::NetBsd;
        let Some(knote) = self.all.get_mut(&name) else {
            return false;
        };
        if takes {
            (knote.udata, knote.fflags, knote.least) = (change.udata, change.fflags, change.data);
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
        takes
    }

    /// Goes through the queue once and appends at most `most` events: each registration at most
    /// once, the next harvest begins where this one ends. `look` says what a filter finds, or that
    /// the number has been closed; the names of such registrations are returned.
    pub(super) fn harvest(
        &mut self,
        out: &mut Vec<Kevent>,
        most: usize,
        mut look: impl FnMut(Name, &Knote) -> Option<Found>,
    ) -> Gone {
        let (mut gone, full) = (Gone::default(), out.len() + most);
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
            let Some(found) = look(name, knote) else {
                gone.closed.push(name);
                continue;
            };
            // FreeBSD and NetBSD do not look at a one-shot again: its condition may have gone.
            let rechecked = knote.mode & EV_ONESHOT == 0 || self.system == Personality::Apple;
            if rechecked && !found.holds {
                knote.active = false;
                continue;
            }
            out.push(event(name, knote, &found));
            match after(
                self.system,
                knote.mode | if found.once { EV_ONESHOT } else { 0 },
            ) {
                After::Gone => gone.spent.push(name),
                After::Disabled => (knote.active, knote.enabled) = (false, false),
                After::Silent => knote.active = false,
                After::Queued => {
                    knote.queued = true;
                    self.queue.push_back(name);
                }
            }
        }
        gone
    }
}

/// What a harvest ended.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Their number was closed.
    pub(super) closed: Vec<Name>,
    /// They were one-shots.
    pub(super) spent: Vec<Name>,
}

/// What becomes of a registration that has been reported.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Queued,
    Silent,
    Disabled,
    Gone,
}

fn after(system: Personality, mode: u32) -> After {
    let (clear, dispatch) = (mode & EV_CLEAR != 0, mode & EV_DISPATCH != 0);
    match mode & EV_ONESHOT != 0 {
        true => After::Gone,
        // Of the two NetBSD takes the other.
        false if dispatch && !(clear && system == Personality::NetBsd) => After::Disabled,
        false if clear => After::Silent,
        false => After::Queued,
    }
}

fn event(name: Name, knote: &Knote, found: &Found) -> Kevent {
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    Kevent {
        ident: usize::try_from(name.0).unwrap_or(usize::MAX),
        filter: name.1,
        flags: knote.kept | flag(EV_EOF, found.eof) | flag(EV_ONESHOT, found.once),
        fflags: found.error,
        data: found.data,
        udata: knote.udata,
    }
}

#[cfg(test)]
mod tests;
