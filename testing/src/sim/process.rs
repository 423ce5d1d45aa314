//! A process of a kernel in memory, which runs a program of the test: a future on the loop of its parent.
//!
//! The rules are those of Unix. A process that has ended keeps its number and its status until the status is
//! taken; from then on the number is free, and the next process gets the lowest one. A signal that the loop sends
//! after it was given the status goes to the number, and hits the process that has it then. A process has
//! closed its pipes before its end is reported.
//!
//! In the notes: other processes (N3, N5, N6).

use super::os;
use readily::signal::Signal;
use readily::spi::VirtualChild;
use readily_sys::errno::{ECHILD, ESRCH};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// A running program: its output is the exit code.
pub(super) type Program = Pin<Box<dyn Future<Output = u8>>>;

/// The processes of a kernel that have a number.
pub(super) type Processes = BTreeMap<u32, Rc<Process>>;

/// What becomes of a process that gets a signal which it does not catch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DefaultAction {
    Ignore,
    Stop,
    Continue,
    End,
}

fn default_action(signal: c_int) -> DefaultAction {
    let is = |signals: &[Signal]| signals.iter().any(|one| one.raw() == signal);
    match signal {
        _ if is(&[Signal::CONT]) => DefaultAction::Continue,
        _ if is(&[Signal::CHLD, Signal::URG, Signal::WINCH]) => DefaultAction::Ignore,
        _ if is(&[Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU]) => DefaultAction::Stop,
        _ => DefaultAction::End,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// It has ended, and its status was not taken.
    Zombie(c_int),
    Reaped,
}

/// A process.
pub(super) struct Process {
    pub(super) id: u32,
    /// Those of its kernel, which it leaves when its status is taken.
    all: Weak<RefCell<Processes>>,
    life: Cell<Life>,
    is_stopped: Cell<bool>,
    /// Out of its cell while it is polled.
    program: RefCell<Option<Program>>,
    /// Of the task that polls it.
    task: RefCell<Option<Waker>>,
    on_exit: RefCell<Option<Box<dyn FnOnce()>>>,
    /// Whether its loop knows that its status was taken.
    is_known_gone: Cell<bool>,
    caught: RefCell<BTreeSet<c_int>>,
    pending: RefCell<VecDeque<c_int>>,
    /// Of the program, while it waits for a signal.
    awaits_signal: RefCell<Option<Waker>>,
}

impl Process {
    /// A process without a program.
    pub(super) fn new(all: &Rc<RefCell<Processes>>, id: u32) -> Self {
        Self {
            id,
            all: Rc::downgrade(all),
            life: Cell::new(Life::Running),
            is_stopped: Cell::new(false),
            program: RefCell::default(),
            task: RefCell::default(),
            on_exit: RefCell::default(),
            is_known_gone: Cell::new(false),
            caught: RefCell::default(),
            pending: RefCell::default(),
            awaits_signal: RefCell::default(),
        }
    }

    /// Runs its program, as a task of the current loop.
    pub(super) fn run(self: &Rc<Self>, program: Program) {
        self.program.replace(Some(program));
        drop(readily::spawn(Polled(Rc::clone(self))));
    }

    pub(super) fn catch(&self, signal: c_int) {
        self.caught.borrow_mut().insert(signal);
    }

    /// Takes a signal that was caught, the oldest one.
    pub(super) fn poll_signal(&self, cx: &Context<'_>) -> Poll<c_int> {
        let pending = self.pending.borrow_mut().pop_front();
        if let Some(signal) = pending {
            return Poll::Ready(signal);
        }
        let before = self.awaits_signal.replace(Some(cx.waker().clone()));
        drop(before);
        Poll::Pending
    }

    pub(super) fn is_running(&self) -> bool {
        self.life.get() == Life::Running
    }

    /// Ends it with a status of `waitpid(2)`, unless it has ended.
    fn end(&self, status: c_int) {
        if !self.is_running() {
            return;
        }
        self.life.set(Life::Zombie(status));
        // Out of its cell: its destructor is the test's. With it go the ends of its pipes.
        let program = self.program.take();
        drop(program);
        wake(&self.task);
        let reported = self.on_exit.take();
        reported.into_iter().for_each(|reported| reported());
    }

    pub(super) fn signal(&self, signal: c_int) -> io::Result<()> {
        match self.life.get() {
            Life::Reaped => return Err(os(ESRCH)),
            Life::Zombie(_) => return Ok(()),
            Life::Running => {}
        }
        if signal == Signal::CONT.raw() {
            self.is_stopped.set(false);
            wake(&self.task);
        }
        let can_be_caught = signal != Signal::KILL.raw() && signal != Signal::STOP.raw();
        if can_be_caught && self.caught.borrow().contains(&signal) {
            let mut pending = self.pending.borrow_mut();
            if !pending.contains(&signal) {
                pending.push_back(signal);
            }
            drop(pending);
            wake(&self.awaits_signal);
            return Ok(());
        }
        match default_action(signal) {
            DefaultAction::End => self.end(signal),
            DefaultAction::Stop => self.is_stopped.set(true),
            DefaultAction::Ignore | DefaultAction::Continue => {}
        }
        Ok(())
    }

    pub(super) fn take_status(&self) -> io::Result<Option<c_int>> {
        match self.life.get() {
            Life::Running => Ok(None),
            Life::Reaped => Err(os(ECHILD)),
            Life::Zombie(status) => {
                self.life.set(Life::Reaped);
                if let Some(all) = self.all.upgrade() {
                    all.borrow_mut().remove(&self.id);
                }
                Ok(Some(status))
            }
        }
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.take();
    waker.into_iter().for_each(Waker::wake);
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.id)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}

impl VirtualChild for Process {
    fn id(&self) -> u32 {
        self.id
    }

    fn take_status(&self) -> io::Result<Option<c_int>> {
        let taken = Self::take_status(self);
        self.is_known_gone.set(!matches!(taken, Ok(None)));
        taken
    }

    fn send_signal(&self, signal: c_int) -> io::Result<()> {
        if !self.is_known_gone.get() {
            return self.signal(signal);
        }
        let all = self.all.upgrade().ok_or_else(|| os(ESRCH))?;
        let has_number = all.borrow().get(&self.id).cloned();
        has_number.ok_or_else(|| os(ESRCH))?.signal(signal)
    }

    fn on_exit(&self, reported: Box<dyn FnOnce()>) {
        match self.is_running() {
            true => drop(self.on_exit.replace(Some(reported))),
            false => reported(),
        }
    }
}

/// The task that polls a program. A program that panics, or whose task is cancelled, ends as one that is killed.
struct Polled(Rc<Process>);

impl Future for Polled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let process = &self.0;
        let before = process.task.replace(Some(cx.waker().clone()));
        drop(before);
        if process.is_stopped.get() && process.is_running() {
            return Poll::Pending;
        }
        let Some(mut program) = process.program.take() else {
            return Poll::Ready(());
        };
        match program.as_mut().poll(cx) {
            Poll::Ready(code) => {
                drop(program);
                process.end(c_int::from(code) << 8);
                Poll::Ready(())
            }
            Poll::Pending if process.is_running() => {
                process.program.replace(Some(program));
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(()), // it was killed meanwhile
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        let signal = match std::thread::panicking() {
            true => Signal::ABRT,
            false => Signal::KILL,
        };
        self.0.end(signal.raw());
    }
}
