//! The numbers of signals, and the errors of listeners.
//!
//! In asyncio: the module `signal`.

use crate::event_loop::Error;
use readily_sys::signal::{self, WhenIgnored};
use std::ffi::c_int;
use std::fmt;
use std::io;

/// A signal of the system, by its number.
///
/// The constants are the signals that all systems have. [`Signal::from_raw`] makes others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(c_int);

macro_rules! signals {
    ($($name:ident = $number:ident, $says:literal;)+) => {
        impl Signal {
            $(
                #[doc = concat!("`", stringify!($number), "`: ", $says, ".")]
                pub const $name: Self = Self(signal::$number);
            )+

            /// Returns the name, such as `SIGTERM`; `None` for signals without a constant.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                $(
                    if self == Self::$name {
                        return Some(stringify!($number));
                    }
                )+
                None
            }
        }
    };
}

signals! {
    HUP = SIGHUP, "the terminal was closed; by custom, a server reads its configuration again";
    INT = SIGINT, "Ctrl-C at the terminal";
    QUIT = SIGQUIT, "Ctrl-\\ at the terminal";
    ILL = SIGILL, "an illegal instruction";
    TRAP = SIGTRAP, "a breakpoint";
    ABRT = SIGABRT, "`abort(3)`";
    BUS = SIGBUS, "an invalid access to memory";
    FPE = SIGFPE, "an error of arithmetic";
    KILL = SIGKILL, "ends the process, and cannot be caught";
    USR1 = SIGUSR1, "free for use";
    SEGV = SIGSEGV, "an invalid access to memory";
    USR2 = SIGUSR2, "free for use";
    PIPE = SIGPIPE, "a write to a pipe or a socket without a reader; the Rust runtime ignores it";
    ALRM = SIGALRM, "a timer of `alarm(2)`";
    TERM = SIGTERM, "a request to end";
    CHLD = SIGCHLD, "a child has ended or stopped";
    CONT = SIGCONT, "the process continues after a stop";
    STOP = SIGSTOP, "stops the process, and cannot be caught";
    TSTP = SIGTSTP, "Ctrl-Z at the terminal";
    TTIN = SIGTTIN, "a read from the terminal in the background";
    TTOU = SIGTTOU, "a write to the terminal in the background";
    URG = SIGURG, "urgent data on a socket";
    XCPU = SIGXCPU, "the limit of processor time";
    XFSZ = SIGXFSZ, "the limit of a file's size";
    VTALRM = SIGVTALRM, "a timer of `setitimer(2)`";
    PROF = SIGPROF, "a profiler's timer";
    WINCH = SIGWINCH, "the size of the terminal has changed";
    IO = SIGIO, "a descriptor is ready";
    SYS = SIGSYS, "an invalid system call";
}

impl Signal {
    /// Returns the signal with this number, for instance that of a realtime signal.
    ///
    /// # Errors
    ///
    /// [`SignalError::Unknown`] if no system has such a number.
    pub const fn from_raw(number: i32) -> Result<Self, SignalError> {
        match number {
            1..=signal::MAX => Ok(Self(number)),
            _ => Err(SignalError::Unknown(number)),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Makes a request for the signal even if the process ignores it, for instance because the process was started by
    /// `nohup` or in the background: see [the module](crate::signal).
    #[must_use]
    pub const fn even_if_ignored(self) -> SignalRequest {
        SignalRequest {
            signal: self,
            ignored: WhenIgnored::Override,
        }
    }

    /// Ends this process by the signal's default action, so that the parent process gets the reason: a shell
    /// stops its script if SIGINT has ended a program, and not if the program has exited.
    /// Destructors do not run. If the default action does not end a process, this exits with 128 plus
    /// the number.
    pub fn end_process(self) -> ! {
        signal::end_process(self.0)
    }

    /// Whether a program can go on after a handler for it.
    pub(super) fn check(self) -> Result<(), SignalError> {
        match self {
            Self::KILL | Self::STOP => Err(SignalError::Uncatchable(self)),
            Self::ILL | Self::FPE | Self::SEGV | Self::BUS => Err(SignalError::Fault(self)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({self})")
    }
}

/// A signal, and whether to listen for it even if the process ignores it: [`Signal::even_if_ignored`]. A
/// [`Signal`] converts into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalRequest {
    pub(super) signal: Signal,
    pub(super) ignored: WhenIgnored,
}

impl From<Signal> for SignalRequest {
    fn from(signal: Signal) -> Self {
        Self {
            signal,
            ignored: WhenIgnored::Keep,
        }
    }
}

/// Why a signal cannot be listened for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// No system has a signal with this number.
    #[error("there is no signal {0}")]
    Unknown(i32),
    /// SIGKILL or SIGSTOP: the system lets no program catch it.
    #[error("{0} cannot be caught")]
    Uncatchable(Signal),
    /// SIGSEGV, SIGBUS, SIGILL or SIGFPE: the instruction that caused it would run again, and cause it
    /// again, for ever.
    #[error("{0} reports a fault of the program, after which it cannot go on")]
    Fault(Signal),
    /// This system does not have the signal, or its C library keeps it for itself.
    #[error("{0} does not exist on this system, or is reserved for the C library")]
    Reserved(Signal),
    /// The calling thread blocks the signal, so that the listener would not be notified. A process inherits
    /// the mask of its parent. If another thread is to receive the signal, make the listener before it
    /// is blocked here.
    #[error("{0} is blocked in this thread")]
    Blocked(Signal),
    /// The loop is closed, or belongs to the parent process; or there is none.
    #[error(transparent)]
    Loop(Error),
    /// The system returned an error, for instance because no descriptor is left for the pipe.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Error> for SignalError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => Self::Io(error),
            error => Self::Loop(error),
        }
    }
}

impl From<SignalError> for Error {
    fn from(error: SignalError) -> Self {
        match error {
            SignalError::Loop(error) => error,
            SignalError::Io(error) => Self::Io(error),
            error => Self::Io(io::Error::new(io::ErrorKind::InvalidInput, error)),
        }
    }
}

impl From<SignalError> for io::Error {
    fn from(error: SignalError) -> Self {
        Error::from(error).into_io()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_its_number_and_its_name() {
        assert_eq!(Signal::from_raw(15).unwrap(), Signal::TERM);
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(Signal::from_raw(120).unwrap().to_string(), "signal 120");
        assert_eq!(format!("{:?}", Signal::HUP), "Signal(SIGHUP)");
        for number in [0, -1, 128, i32::MAX, i32::MIN] {
            let error = Signal::from_raw(number).unwrap_err();
            assert_eq!(error.to_string(), format!("there is no signal {number}"));
        }
    }

    #[test]
    fn what_cannot_be_caught_is_refused_by_kind() {
        for number in 1..=signal::MAX {
            let refused = match Signal(number) {
                Signal::KILL | Signal::STOP => "cannot be caught",
                Signal::ILL | Signal::FPE | Signal::SEGV | Signal::BUS => "reports a fault",
                signal => {
                    assert!(signal.check().is_ok());
                    continue;
                }
            };
            let error = Signal(number).check().unwrap_err();
            assert!(error.to_string().contains(refused), "{error}");
        }
    }
}
