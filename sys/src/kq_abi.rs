//! The structures and numbers of kqueue on each system, in plain Rust.
//!
//! This module has no system call and no C type, so it compiles everywhere, and so does the code
//! that is built on it: the poller's translation is tested, and a kqueue can be simulated, on a
//! machine that has none. On systems that have one, every number is compared with `libc`'s
//! when this crate is compiled.
//!
//! In the notes this is the *selector* of macOS (N2).

use std::time::Duration;

/// The system that a kqueue belongs to: filters have other numbers, and there are differences in behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Personality {
    /// macOS and its relatives.
    Apple,
    /// FreeBSD.
    FreeBsd,
    /// NetBSD.
    NetBsd,
    /// OpenBSD.
    OpenBsd,
    /// DragonFly.
    DragonFly,
}

/// What a registration looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Something to read, or the end.
    Read,
    /// Room to write.
    Write,
    /// Triggered by the program itself.
    User,
    /// A time that has come: `data` milliseconds after it was added.
    Timer,
    /// None that we use.
    Other(i32),
}

impl Filter {
    /// The filter's number. On NetBSD they count upwards from zero, elsewhere downwards
    /// from minus one.
    #[must_use]
    pub const fn number(self, on: Personality) -> i32 {
        match (self, on) {
            (Self::Read, Personality::NetBsd) => 0,
            (Self::Read, _) => -1,
            (Self::Write, Personality::NetBsd) => 1,
            (Self::Write, _) => -2,
            (Self::User, Personality::Apple | Personality::OpenBsd) => -10,
            (Self::User, Personality::FreeBsd) => -11,
            (Self::User, Personality::NetBsd) => 8,
            (Self::User, Personality::DragonFly) => -9,
            (Self::Timer, Personality::NetBsd) => 6,
            (Self::Timer, _) => -7,
            (Self::Other(number), _) => number,
        }
    }

    /// The filter with this number.
    #[must_use]
    pub const fn from_number(number: i32, on: Personality) -> Self {
        if number == Self::Read.number(on) {
            Self::Read
        } else if number == Self::Write.number(on) {
            Self::Write
        } else if number == Self::User.number(on) {
            Self::User
        } else if number == Self::Timer.number(on) {
            Self::Timer
        } else {
            Self::Other(number)
        }
    }
}

/// One entry of a changelist or of an eventlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kevent {
    /// What is looked at: a descriptor's number, for the filters used here.
    pub ident: usize,
    /// How it is looked at. Together with `ident` it names the registration.
    pub filter: Filter,
    /// `EV_` bits.
    pub flags: u32,
    /// Bits of the filter; with [`EV_EOF`], the socket's error.
    pub fflags: u32,
    /// A count of bytes or connections; with [`EV_ERROR`], the error.
    pub data: i64,
    /// The token, returned as it was given with the last change.
    pub udata: u64,
}

/// Adds a registration, or changes its parameters and looks at the state anew.
pub const EV_ADD: u32 = 0x1;
/// Removes a registration.
pub const EV_DELETE: u32 = 0x2;
/// Ends [`EV_DISABLE`], or what [`EV_DISPATCH`] did.
pub const EV_ENABLE: u32 = 0x4;
/// Keeps a registration, but does not report it.
pub const EV_DISABLE: u32 = 0x8;
/// Removes the registration once it is reported.
pub const EV_ONESHOT: u32 = 0x10;
/// Reports a change, not a state.
pub const EV_CLEAR: u32 = 0x20;
/// Answers a change with an [`EV_ERROR`] entry, also where it succeeded.
pub const EV_RECEIPT: u32 = 0x40;
/// Disables the registration once it is reported.
pub const EV_DISPATCH: u32 = 0x80;
/// Reported: the entry is an answer to a change, with the error in `data`.
pub const EV_ERROR: u32 = 0x4000;
/// Reported: this direction is closed.
pub const EV_EOF: u32 = 0x8000;
/// For [`Filter::Read`] and [`Filter::Write`]: `data` is the least amount that counts. An end
/// counts whatever the amount.
pub const NOTE_LOWAT: u32 = 0x1;
/// Triggers an [`Filter::User`] registration.
pub const NOTE_TRIGGER: u32 = 0x0100_0000;

/// The longest that one call of `kevent(2)` is asked to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// A timeout that every system takes: at most a day, for an early return is allowed. macOS up to
/// 10.14 refuses more than 100,000,000 s, and others take seconds beyond 31 bits for no limit.
#[must_use]
pub fn limited(timeout: Duration) -> Duration {
    timeout.min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_longer_than_the_strictest_system_takes() {
        for short in [Duration::ZERO, Duration::from_nanos(1), LONGEST_WAIT] {
            assert_eq!(limited(short), short);
        }
        for long in [LONGEST_WAIT + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(limited(long), LONGEST_WAIT);
        }
        assert!(
            LONGEST_WAIT < Duration::from_secs(100_000_000),
            "macOS 10.14"
        );
    }

    #[test]
    fn a_filter_survives_its_number_on_every_system() {
        use Personality::{Apple, DragonFly, FreeBsd, NetBsd, OpenBsd};
        for on in [Apple, FreeBsd, NetBsd, OpenBsd, DragonFly] {
            for filter in [
                Filter::Read,
                Filter::Write,
                Filter::User,
                Filter::Timer,
                Filter::Other(-5),
            ] {
                assert_eq!(Filter::from_number(filter.number(on), on), filter, "{on:?}");
            }
        }
    }
}
