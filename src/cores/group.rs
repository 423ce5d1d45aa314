//! What the cores of a group and its handles share: a way to each loop, and the ends.
//!
//! A loop's own data stays on its thread. Shared are only handles for sending, which lock an inbox for
//! the time of a push, a counter, and the ends. A request to stop is a message like any other: it is
//! in the inbox before the loop can sleep (W1), so it is not lost.
//!
//! Rules: M1, M2, M4.

use super::ends::Ends;
use super::error::ShutdownError;
use super::report::{CoreEnd, CoreReport};
use super::seat::Seat;
use crate::event_loop::panics::{catch, drop_quietly};
use crate::event_loop::stderr::print;
use crate::event_loop::{RemoteHandle, Unhandled, current};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A closure that receives the reports of all loops, with the number of the core.
pub(super) type Hook = dyn Fn(usize, &Unhandled) + Send + Sync;

/// What happens to the other cores when one ends by itself: by a panic, an error of its poller, or
/// [`LoopHandle::stop`](crate::LoopHandle::stop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenCoreEnds {
    /// They are shut down, with this limit. The default, with five seconds: a program that has lost a
    /// part of itself ends, and is started again by its supervisor.
    ShutDown(Duration),
    /// They go on. A listener that all cores share is served by those that are left; a listener of the
    /// core itself is closed with its queue.
    Continue,
}

impl Default for WhenCoreEnds {
    fn default() -> Self {
        Self::ShutDown(Duration::from_secs(5))
    }
}

/// The settings that apply while the cores run.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) when_core_ends: WhenCoreEnds,
    /// How long after the limit of a shutdown a core may take to end.
    pub(super) grace: Duration,
    pub(super) hook: Option<Arc<Hook>>,
}

/// The shared state of a group.
pub(super) struct Group {
    pub(super) remotes: Vec<RemoteHandle>,
    pub(super) processors: Vec<Option<usize>>,
    pub(super) ends: Ends,
    pub(super) settings: Settings,
    /// The core that gets the next task of [`CoresHandle::spawn`](super::CoresHandle::spawn).
    pub(super) next: AtomicUsize,
}

/// Joins threads whose last act is done, or nearly. Not in a child of the process that has started them:
/// there the threads do not exist.
pub(super) fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        // Only the destructor of a thread-local can have panicked, and it has printed its message.
        if let Err(payload) = thread.join() {
            drop_quietly(payload);
        }
    }
}

impl Group {
    pub(super) fn new(
        remotes: Vec<RemoteHandle>,
        processors: Vec<Option<usize>>,
        settings: Settings,
    ) -> Self {
        Self {
            ends: Ends::new(remotes.len()),
            remotes,
            processors,
            settings,
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.remotes.len()
    }

    /// Whether this process is a child of the one that made the group. Its threads do not exist here, and
    /// one of them may have had the lock: asked before each use of the ends.
    pub(super) fn forked(&self) -> bool {
        self.remotes[0].inbox().forked()
    }

    /// The number of a core, each in its turn.
    pub(super) fn next_core(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.count()
    }

    /// Whether this is the thread of one of the cores.
    pub(super) fn is_own_thread(&self) -> bool {
        let mut remotes = self.remotes.iter();
        remotes.any(|remote| remote.inbox().is_loop_thread())
    }

    /// M4: fails on a thread that would wait for its own end.
    pub(super) fn check_may_await(&self) -> Result<(), ShutdownError> {
        match self.forked() {
            true => Err(ShutdownError::Forked),
            false if self.is_own_thread() => Err(ShutdownError::OnCore),
            false => Ok(()),
        }
    }

    /// M4: fails also on a thread whose loop would be blocked.
    pub(super) fn check_may_block(&self) -> Result<(), ShutdownError> {
        self.check_may_await()?;
        match current::is_turning() {
            true => Err(ShutdownError::OnLoop),
            false => Ok(()),
        }
    }

    /// M2: asks each core to stop. The earliest of several limits counts.
    pub(super) fn ask_to_stop(&self, limit: Duration) {
        for remote in &self.remotes {
            // A loop that is closed has ended, or is about to.
            let _ended = remote.call_soon(move |handle| Seat::stop(handle, limit));
        }
    }

    /// M1: a core has ended, and its loop is closed. An end that was not asked for is reported before any
    /// waiter hears of it.
    pub(super) fn core_ended(&self, report: CoreReport) {
        if !matches!(report.end, CoreEnd::ShutDown) {
            self.report(&report);
            if let WhenCoreEnds::ShutDown(limit) = self.settings.when_core_ends {
                self.ask_to_stop(limit);
            }
        }
        self.ends.put(report);
    }

    /// Reports an end to the hook of the group, or to standard error.
    fn report(&self, report: &CoreReport) {
        let ended = Unhandled::CoreEnded {
            core: report.core,
            reason: report.end.to_string(),
        };
        let reported = catch(|| match &self.settings.hook {
            Some(hook) => hook(report.core, &ended),
            None => print(&ended),
        });
        // A hook that panics must not hide the end.
        if let Err(payload) = reported {
            print(&ended);
            drop_quietly(payload);
        }
    }
}
