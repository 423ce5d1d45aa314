//! A child of a loop, from its start until its status has been taken.
//!
//! Taking the status frees the number of the child. It is done on the loop's thread only, and the
//! state changes in the same step, so that no signal is sent to the number afterwards.
//!
//! # Rules
//!
//! - **P12** The status of each child is taken once, by its loop; of other processes none is.
//! - **P13** No signal is sent to the number of a child whose status was taken.
//! - **P14** A child whose handles are dropped, or whose loop is closed, is reaped all the same.
//!
//! In asyncio: `_UnixSubprocessTransport`, and the child watcher.

use super::error::ChildError;
use super::exit_source::{ExitReceiver, ExitSource};
use super::orphans::{self, Orphan};
use crate::event_loop::panics::FirstPanic;
use crate::event_loop::{Error, LoopHandle, Payload, WeakHandle};
use crate::poll::VirtualChild;
use crate::task::waiters::WakerList;
use readily_sys::child;
use readily_sys::errno;
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::Location;
use std::process::ExitStatus;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// What is known of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    /// Ended, with the status of `waitpid(2)`, which was taken.
    Ended(c_int),
    /// Ended, and other code has taken the status.
    Lost,
    /// The loop was closed before.
    LoopClosed,
}

/// How the end of a child is noticed: see [`Command::exit_watch`](super::Command::exit_watch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitWatch {
    /// The first of the others that works.
    #[default]
    Best,
    /// A descriptor of the system: a pidfd, or a kqueue.
    Descriptor,
    /// SIGCHLD.
    Signal,
    /// Checking from time to time, up to every 100 ms.
    Timer,
}

/// How a child was started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ChildOptions {
    pub(super) own_group: bool,
    pub(super) kill_group_at_exit: bool,
    pub(super) kill_on_drop: bool,
}

/// Called with the status.
pub(super) type OnExit = Box<dyn FnOnce(&LoopHandle, Result<ExitStatus, ChildError>)>;

/// The process of a child.
pub(super) enum Process {
    /// Of the system, by its number.
    System(u32),
    /// Of a kernel in memory.
    Simulated(Rc<dyn VirtualChild>),
}

/// A child of a loop.
pub(super) struct Running {
    pub(super) pid: u32,
    /// On a kernel in memory.
    pub(super) simulated: Option<Rc<dyn VirtualChild>>,
    pub(super) options: ChildOptions,
    pub(super) site: &'static Location<'static>,
    pub(super) handle: WeakHandle,
    pub(super) me: Weak<Self>,
    /// Called at its end, to remove it from the children of the loop.
    forget: fn(&LoopHandle, &Self),
    status: Cell<Status>,
    /// If the system has one for the child.
    pub(super) exit: RefCell<Option<Rc<ExitSource>>>,
    /// Whether SIGCHLD leads to a check.
    pub(super) by_signal: Cell<bool>,
    pub(super) next_check: Cell<Option<Duration>>,
    pub(super) waiters: WakerList,
    on_exit: RefCell<Vec<(&'static Location<'static>, OnExit)>>,
}

impl Running {
    pub(super) fn new(
        handle: WeakHandle,
        process: Process,
        options: ChildOptions,
        site: &'static Location<'static>,
        forget: fn(&LoopHandle, &Self),
    ) -> Rc<Self> {
        let (pid, simulated) = match process {
            Process::System(pid) => (pid, None),
            Process::Simulated(child) => (child.id(), Some(child)),
        };
        Rc::new_cyclic(|me| Self {
            pid,
            simulated,
            options,
            site,
            handle,
            me: me.clone(),
            forget,
            status: Cell::new(Status::Running),
            exit: RefCell::default(),
            by_signal: Cell::new(false),
            next_check: Cell::new(None),
            waiters: WakerList::default(),
            on_exit: RefCell::default(),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.status.get() == Status::Running
    }

    /// The result for a waiter; `None` while the child runs.
    pub(super) fn result(&self) -> Option<Result<ExitStatus, ChildError>> {
        match self.status.get() {
            Status::Running => None,
            Status::Ended(raw) => Some(Ok(ExitStatus::from_raw(raw))),
            Status::Lost => Some(Err(ChildError::StatusLost)),
            Status::LoopClosed => Some(Err(ChildError::Loop(Error::Closed))),
        }
    }

    /// Fails in a forked child of this process, whose children these are not.
    pub(super) fn check_process(&self) -> Result<(), ChildError> {
        let forked = |handle: &LoopHandle| handle.inbox().forked();
        match self.handle.with(forked) {
            Some(true) => Err(ChildError::Loop(Error::Forked)),
            Some(false) => Ok(()),
            None => Err(ChildError::Loop(Error::Closed)),
        }
    }

    /// P12: takes the status if the child has ended; whether it has. Panics of wakers go to `panic`.
    pub(super) fn reap(&self, panic: &mut FirstPanic) -> bool {
        if !self.is_running() {
            return true;
        }
        if self.check_process().is_err() {
            return false;
        }
        match self.take_status() {
            Ok(None) => return false,
            Ok(Some(raw)) => self.end(Status::Ended(raw), panic),
            Err(_no_child) => self.end(Status::Lost, panic),
        }
        true
    }

    fn take_status(&self) -> io::Result<Option<c_int>> {
        if let Some(child) = &self.simulated {
            return child.take_status();
        }
        if self.options.kill_group_at_exit && child::has_ended(self.pid)? {
            // P13: while the leader is a zombie, its number is that of no other group.
            let _empty = child::send_signal_to_group(self.pid, readily_sys::signal::SIGKILL);
        }
        let by_fd = match &*self.exit.borrow() {
            Some(source) => source.exit_fd.take_status(),
            None => return child::take_status(self.pid),
        };
        match by_fd {
            // The system opens such a descriptor, and does not wait by it.
            Err(error) if error.raw_os_error() == Some(errno::EINVAL) => {
                child::take_status(self.pid)
            }
            taken => taken,
        }
    }

    /// P13: the number is not used from here on.
    fn end(&self, status: Status, panic: &mut FirstPanic) {
        self.status.set(status);
        let source = self.exit.take();
        self.handle.with(|handle| {
            if let Some(source) = source {
                source.deregister(handle);
            }
            (self.forget)(handle, self);
            for (site, f) in self.on_exit.take() {
                let result = self.result().unwrap_or(Err(ChildError::Ended));
                handle.call_soon_from(site, move |handle| f(handle, result));
            }
        });
        panic.run(|| self.waiters.wake_all());
    }

    /// P13: sends a signal to the child, if its status was not taken.
    pub(super) fn send_signal(&self, signal: c_int) -> Result<(), ChildError> {
        self.check_can_be_signalled()?;
        let sent = match (&self.simulated, &*self.exit.borrow()) {
            (Some(child), _) => child.send_signal(signal),
            (None, Some(source)) => source.exit_fd.send_signal(signal),
            (None, None) => child::send_signal(self.pid, signal),
        };
        sent.map_err(|error| match error.raw_os_error() {
            Some(errno::ESRCH) => ChildError::Ended,
            _ => ChildError::Io(error),
        })
    }

    pub(super) fn send_signal_to_group(&self, signal: c_int) -> Result<(), ChildError> {
        if !self.options.own_group {
            return Err(ChildError::NoGroup);
        }
        self.check_can_be_signalled()?;
        let sent = match &self.simulated {
            // It has started no others.
            Some(child) => child.send_signal(signal),
            None => child::send_signal_to_group(self.pid, signal),
        };
        sent.map_err(|error| match error.raw_os_error() {
            Some(errno::ESRCH) => ChildError::Ended,
            _ => ChildError::Io(error),
        })
    }

    fn check_can_be_signalled(&self) -> Result<(), ChildError> {
        self.check_process()?;
        match self.status.get() {
            Status::Running => Ok(()),
            Status::LoopClosed => Err(ChildError::Loop(Error::Closed)),
            Status::Ended(_) | Status::Lost => Err(ChildError::Ended),
        }
    }

    /// Kills it for its owner, which is gone.
    pub(super) fn kill_dropped(&self) {
        if self.options.kill_on_drop {
            let kill = readily_sys::signal::SIGKILL;
            let _ended = match self.options.own_group {
                true => self.send_signal_to_group(kill),
                false => self.send_signal(kill),
            };
        }
    }

    /// Calls `f` on the loop when the child has ended; soon, if it has.
    pub(super) fn on_exit(&self, site: &'static Location<'static>, f: OnExit) {
        match self.result() {
            None => self.on_exit.borrow_mut().push((site, f)),
            Some(result) => {
                let call = move |handle: &LoopHandle| f(handle, result);
                self.handle.with(|handle| handle.call_soon_from(site, call));
            }
        }
    }

    /// P14: the loop is being closed.
    pub(super) fn leave_loop(&self, panic: &mut FirstPanic) {
        if !self.is_running() || self.check_process().is_err() {
            return;
        }
        self.kill_dropped();
        if !matches!(self.take_status(), Ok(None)) || self.simulated.is_some() {
            // It has ended, or ends with the loop, and nothing of this loop is to hear of it.
        } else {
            let source = self.exit.take();
            orphans::add(Orphan {
                pid: self.pid,
                exit_fd: source.and_then(Rc::into_inner).map(|source| source.exit_fd),
                parent: std::process::id(),
            });
        }
        self.status.set(Status::LoopClosed);
        panic.run(|| self.waiters.wake_all());
        let callbacks = self.on_exit.take();
        panic.run(|| drop(callbacks));
    }
}

impl ExitReceiver for Running {
    fn exited(&self) -> Option<Payload> {
        let mut panic = FirstPanic::default();
        if !self.reap(&mut panic) {
            // The end is reported before the status is there: under a debugger, or on a kqueue.
            self.check_later();
        }
        panic.take()
    }
}

/// Resumes a panic of a waker, in a closure of the loop.
pub(super) fn resume(panic: FirstPanic) {
    if let Some(payload) = panic.take() {
        std::panic::resume_unwind(payload);
    }
}
