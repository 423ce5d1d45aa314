//! What nobody waits for: panics, and errors that belong to no operation.
//!
//! Such things are told in one place, once each. By default that is standard error; a
//! program with a log of its own puts a closure there.
//!
//! In asyncio this is the loop's exception handler.

use super::futurelock::Futurelock;
use super::handle::Handle;
use super::local::Local;
use super::origin::Origin;
use super::panics::{PanicPolicy, Payload, catch, drop_quietly};
use super::stderr::{panic, print, print_panic};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Duration;

/// Something that went wrong and that no call returned.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unhandled {
    /// A callback, a destructor or a detached task panicked, under a policy that goes on.
    Panic {
        /// Who panicked.
        origin: Origin,
        /// What the panic said, where it said it with a string.
        message: String,
    },
    /// A task that runs by itself has ended in an error: see
    /// [`Task::detach_reporting`](crate::Task::detach_reporting).
    TaskFailed {
        /// Which.
        origin: Origin,
        /// What the error says.
        error: String,
    },
    /// In debug mode: a call that took too long, and kept the loop from everybody else.
    Slow {
        /// Who was called.
        origin: Origin,
        /// How long it took.
        took: Duration,
    },
    /// In debug mode: a turn that took too long, though none of its calls did.
    SlowTurn {
        /// How long its calls took together.
        took: Duration,
        /// How many they were.
        calls: u32,
        /// Which of them took longest.
        longest: Origin,
    },
    /// In debug mode: a [`run`](crate::run()) waits, and nothing on its loop can end that. There is
    /// no timer, no descriptor, no [`Remote`](super::Remote), no task of another loop is awaited, and
    /// nobody is ready: a lock that is taken twice, a promise that is kept and not settled, tasks that
    /// wait for each other. Only a waker can that another thread has, of which the loop does not know:
    /// where one does, this is a false alarm. Told once for each run.
    Stuck {
        /// Who waits, by name.
        tasks: Vec<String>,
    },
    /// In debug mode: what a future was granted keeps others waiting, for it is neither polled nor dropped.
    /// Told once for each grant, when nothing else is ready, or after sixteen turns.
    Futurelock(Futurelock),
    /// A new connection could not be accepted: no descriptor or memory was left, or an error
    /// came again and again. The listener is paused, and tries again when a descriptor of this
    /// loop is closed, or after a while. Told once, until it works again.
    AcceptPaused {
        /// The listener.
        fd: RawFd,
        /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, or what came again and again.
        error: io::Error,
        /// How long until the first retry.
        retry: Duration,
    },
    /// The system goes on reporting a descriptor that is registered no more: somebody closed it
    /// behind the loop's back while a duplicate of it, or a child, kept its file open (epoll(7),
    /// question 6). The loop cannot take it out any more, and spins while it is ready.
    Ghost,
    /// A callback, or a poll of a task, has entered another loop and not left it before it returned: a
    /// guard of [`EventLoop::enter`](super::EventLoop::enter) is held across an await, or was
    /// forgotten. What comes next would spawn, sleep and register on that loop. This one is
    /// current again, and the guard has no effect any more.
    EnterHeld {
        /// Which.
        origin: Origin,
    },
    /// A descriptor of the loop's own was closed with an error: `EIO`, `ENOSPC` or `EDQUOT` for
    /// what was written before and could not be kept, `EBADF` where somebody else had closed it
    /// already. It is not open any more, and is not closed again.
    CloseFailed {
        /// The number that it had.
        fd: RawFd,
        /// Where it was registered.
        site: &'static Location<'static>,
        /// What `close(2)` said.
        error: io::Error,
    },
    /// The system refused something that the loop did by itself.
    Io {
        /// What it was doing.
        what: &'static str,
        /// Why it could not.
        error: io::Error,
    },
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { origin, message } => {
                write!(f, "{origin} panicked, with nobody waiting: {message}")
            }
            Self::TaskFailed { origin, error } => write!(f, "{origin} failed: {error}"),
            Self::Slow { origin, took } => write!(f, "slow, {took:?}: {origin}"),
            Self::SlowTurn {
                took,
                calls,
                longest,
            } => write!(
                f,
                "a slow turn, {took:?} in {calls} calls; the longest: {longest}"
            ),
            Self::Stuck { tasks } => write!(
                f,
                "nothing on this loop can end the wait of: {}; \
                 unless another thread still has a waker of theirs",
                tasks.join(", ")
            ),
            Self::Futurelock(futurelock) => futurelock.fmt(f),
            Self::AcceptPaused { fd, error, retry } => {
                write!(f, "listener {fd} is paused, next try in {retry:?}: {error}")
            }
            Self::Ghost => f.write_str(
                "events without end for a descriptor that was closed behind the loop's back; \
                 a duplicate of it is still open",
            ),
            Self::EnterHeld { origin } => write!(
                f,
                "{origin} keeps another loop entered after it has returned; that has no effect any more"
            ),
            Self::CloseFailed { fd, site, error } => {
                write!(f, "closing descriptor {fd}, registered at {site}: {error}")
            }
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

type Hook = Box<dyn FnMut(&Unhandled)>;

/// The loop's own bookkeeping of such things.
#[derive(Default)]
pub(super) struct Reports {
    pub(super) policy: Cell<PanicPolicy>,
    hook: RefCell<Option<Hook>>,
    /// The panic that will leave this turn.
    panic: Cell<Option<(Payload, Origin)>>,
    has_panic: Cell<bool>,
}

impl Reports {
    #[inline]
    pub(super) fn has_panic(&self) -> bool {
        self.has_panic.get()
    }

    pub(super) fn take_panic(&self) -> Option<(Payload, Origin)> {
        self.has_panic.set(false);
        self.panic.take()
    }
}

impl Local {
    /// Sends what nobody waits for to `hook` instead of standard error.
    #[doc(alias = "set_exception_handler")]
    pub fn on_unhandled(&self, hook: impl FnMut(&Unhandled) + 'static) {
        let hook: Hook = Box::new(hook);
        let before = self.reports.hook.replace(Some(hook));
        self.drop_guarded(before);
    }

    /// The hook is user's code too, and may panic when it goes: there is nobody left to tell.
    pub(super) fn drop_hook(&self) {
        let _here = self.be_current();
        let hook = self.reports.hook.take();
        if let Err(payload) = catch(|| drop(hook)) {
            print(&"the hook for unhandled errors panicked when it was dropped");
            drop_quietly(payload);
        }
    }

    /// Tells it.
    #[doc(alias = "call_exception_handler")]
    pub fn report(&self, unhandled: &Unhandled) {
        // Taken out while it runs (L8): it may call back, or put another one in its place.
        let hook = self.reports.hook.take();
        let Some(mut hook) = hook else {
            return print(unhandled);
        };
        let told = catch(|| hook(unhandled));
        let mut place = self.reports.hook.borrow_mut();
        let replaced = if place.is_none() {
            *place = Some(hook);
            None
        } else {
            Some(hook)
        };
        drop(place);
        // It has put another one in its place. Its destructor may call back: not under the
        // borrow (L8).
        self.drop_guarded(replaced);
        if let Err(payload) = told {
            // A panic about a panic: not to be told to the same hook (R045).
            let (what, report) = (
                "the hook for unhandled errors panicked; it was told:",
                unhandled,
            );
            print(&format_args!("{what} {report}"));
            drop_quietly(payload);
        }
    }

    /// Runs user code up to its end or its panic, which then follows the policy.
    #[inline]
    pub(crate) fn guard(&self, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            self.note_panic(payload, Origin::Other);
        }
    }

    /// The same for a callback, closure or task, of which it is said who it was, and in debug mode
    /// how long it took.
    #[inline]
    pub(super) fn call_out(&self, origin: impl FnOnce() -> Origin, f: impl FnOnce()) {
        let begun = self.begin_call();
        match catch(f) {
            Ok(()) => self.end_call(begun, origin),
            Err(payload) => {
                let origin = origin();
                self.end_call(begun, || origin.clone());
                self.note_panic(payload, origin);
            }
        }
    }

    /// Drops what may have a destructor of the user's: with this as the current loop, its panic caught,
    /// and not too deep in other destructors (G5).
    #[inline]
    pub(crate) fn drop_guarded<T: 'static>(&self, value: T) {
        if std::mem::needs_drop::<T>() {
            self.nest(move |local| local.drop_now(value));
        }
    }

    /// The same where that has been seen to.
    pub(super) fn drop_now<T>(&self, value: T) {
        let _here = self.be_current();
        self.guard(|| drop(value));
    }

    /// A panic that nobody waits for.
    #[cold]
    pub(crate) fn note_panic(&self, payload: Payload, origin: Origin) {
        match self.reports.policy.get() {
            PanicPolicy::Abort => std::process::abort(),
            // The first one leaves the turn. Of those behind it, it is told that they were.
            PanicPolicy::Propagate if !self.reports.has_panic() => {
                self.reports.has_panic.set(true);
                self.reports.panic.set(Some((payload, origin)));
            }
            PanicPolicy::Propagate | PanicPolicy::Isolate => self.tell_panic(payload, origin),
        }
    }

    /// A panic that another one goes before: it is told, and does not go out.
    #[cold]
    pub(crate) fn tell_panic(&self, payload: Payload, origin: Origin) {
        if self.reports.policy.get() == PanicPolicy::Abort {
            std::process::abort();
        }
        self.report(&panic(&payload, origin));
        drop_quietly(payload);
    }

    /// The panic of the main future: it is the caller's own, and leaves this turn whatever the policy
    /// says of those that nobody waits for. One that was before it is told.
    #[cold]
    pub(crate) fn note_main_panic(&self, payload: Payload) {
        self.reports.has_panic.set(true);
        let goes_out = Some((payload, self.main_origin()));
        if let Some((payload, origin)) = self.reports.panic.replace(goes_out) {
            self.tell_panic(payload, origin);
        }
    }

    /// What would have gone out of a turn, where nothing can: the loop is being dropped.
    pub(super) fn tell_what_is_left(&self) {
        if let Some((payload, origin)) = self.reports.take_panic() {
            self.tell_panic(payload, origin);
        }
    }
}

impl Handle {
    /// A panic that nobody waits for. Where the loop has gone, and its hook with it, standard error is
    /// told.
    #[cold]
    pub(crate) fn note_panic(&self, payload: Payload, origin: Origin) {
        match self.upgrade() {
            Some(local) => local.note_panic(payload, origin),
            None => print_panic(payload, origin),
        }
    }
}
