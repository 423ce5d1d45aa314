//! The children of one loop, and the ways to notice their ends.
//!
//! In asyncio: the child watchers.

use super::exit_source::ExitSource;
use super::orphans;
use super::running::{ChildOptions, ExitWatch, Process, Running, resume};
use crate::event_loop::panics::FirstPanic;
use crate::event_loop::{Attachment, LoopHandle};
use crate::poll::VirtualChild;
use crate::signal::{Signal, SignalCallback};
use readily_sys::errno;
use readily_sys::exit_fd::ExitFd;
use std::any::Any;
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;

/// The children that have not ended.
#[derive(Default)]
struct LoopChildren {
    running: RefCell<Vec<Rc<Running>>>,
    /// While a child is watched by SIGCHLD.
    sigchld: RefCell<Option<SignalCallback>>,
}

impl Attachment for LoopChildren {
    /// P14.
    fn close(&self) {
        let mut panic = FirstPanic::default();
        for child in self.running.take() {
            child.leave_loop(&mut panic);
        }
        resume(panic);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn with<R>(handle: &LoopHandle, f: impl FnOnce(&LoopChildren) -> R) -> R {
    handle.attached(LoopChildren::default, f)
}

/// Watches a child that has just been started. There is always a way: checking from time to time needs nothing.
pub(super) fn watch(
    handle: &LoopHandle,
    process: Process,
    options: ChildOptions,
    by: ExitWatch,
    site: &'static Location<'static>,
) -> Rc<Running> {
    orphans::reap();
    let child = Running::new(handle.weak_handle(), process, options, site, forget);
    with(handle, |children| {
        children.running.borrow_mut().push(Rc::clone(&child));
    });
    let is_watched = match (&child.simulated, by) {
        (Some(simulated), _) => by_report(&child, &**simulated),
        (None, ExitWatch::Best) => by_descriptor(handle, &child) || by_signal(handle, &child),
        (None, ExitWatch::Descriptor) => by_descriptor(handle, &child),
        (None, ExitWatch::Signal) => by_signal(handle, &child),
        (None, ExitWatch::Timer) => false,
    };
    if !is_watched {
        child.check_later();
    }
    child
}

fn by_report(child: &Rc<Running>, simulated: &dyn VirtualChild) -> bool {
    let me = Rc::downgrade(child);
    simulated.on_exit(Box::new(move || {
        if let Some(me) = me.upgrade() {
            me.check_soon();
        }
    }));
    true
}

fn by_descriptor(handle: &LoopHandle, child: &Rc<Running>) -> bool {
    let exit_fd = match ExitFd::open(child.pid) {
        Ok(exit_fd) => exit_fd,
        Err(error) if error.raw_os_error() == Some(errno::ESRCH) => {
            child.check_later(); // it has ended
            return true;
        }
        Err(_no_descriptor) => return false,
    };
    let child_of = Rc::downgrade(child);
    match ExitSource::register(handle, exit_fd, child_of, child.site) {
        Ok(source) => {
            child.exit.replace(Some(source));
            true
        }
        Err(_refused) => false,
    }
}

fn by_signal(handle: &LoopHandle, child: &Rc<Running>) -> bool {
    let has_listener = with(handle, |children| children.sigchld.borrow().is_some());
    if !has_listener {
        let Ok(listener) = handle.on_signal(Signal::CHLD, check_all) else {
            return false;
        };
        if listener.is_ignored() {
            listener.cancel();
            return false;
        }
        with(handle, |children| children.sigchld.replace(Some(listener)));
    }
    child.by_signal.set(true);
    // It may have ended before the handler was there. In a turn of its own: the caller has no child yet.
    handle.call_soon_from(child.site, check_all);
    true
}

/// Checks each child without a descriptor: several that end at once may be one signal.
fn check_all(handle: &LoopHandle) {
    let mut panic = FirstPanic::default();
    let all = with(handle, |children| children.running.borrow().clone());
    for child in all.iter().filter(|child| child.by_signal.get()) {
        child.reap(&mut panic);
    }
    resume(panic);
}

/// Removes a child that has ended.
fn forget(handle: &LoopHandle, child: &Running) {
    let unused = with(handle, |children| {
        let mut running = children.running.borrow_mut();
        running.retain(|other| !std::ptr::eq(&**other, child));
        let needs_signal = running.iter().any(|other| other.by_signal.get());
        match needs_signal {
            true => None,
            false => children.sigchld.take(),
        }
    });
    if let Some(listener) = unused {
        listener.cancel();
    }
    orphans::reap();
}
