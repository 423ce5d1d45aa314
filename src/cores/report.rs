//! The report of a shutdown: how each core has ended, and what was left on it.

use crate::event_loop::CloseReport;
use std::fmt;

/// How the loop of a core has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreEnd {
    /// By a shutdown of the group.
    ShutDown,
    /// By [`LoopHandle::stop`](crate::LoopHandle::stop), on the core itself or from another thread.
    Stopped,
    /// By a panic, with this message, on a loop whose policy is
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate).
    Panicked(String),
    /// By an error of its poller.
    Failed(String),
    /// It has not ended: a callback, a task or a job of its thread pool still blocks its thread.
    Running,
}

impl fmt::Display for CoreEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShutDown => f.write_str("was shut down"),
            Self::Stopped => f.write_str("was stopped"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Running => f.write_str("has not ended"),
        }
    }
}

/// The end of one core.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreReport {
    /// The number of the core.
    pub core: usize,
    /// How its loop has ended.
    pub end: CoreEnd,
    /// The work that was left on the core, and was dropped. Empty after a panic: it is not counted then.
    pub left: CloseReport,
}

impl CoreReport {
    pub(super) fn new(core: usize, end: CoreEnd) -> Self {
        Self {
            core,
            end,
            left: CloseReport::default(),
        }
    }

    /// Whether the core was shut down with nothing left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.end == CoreEnd::ShutDown && self.left == CloseReport::default()
    }
}

impl fmt::Display for CoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, end, left } = self;
        write!(f, "core {core} {end}; left: tasks {}", left.tasks.len())?;
        let CloseReport {
            registrations,
            timers,
            closures,
            ..
        } = left;
        write!(
            f,
            ", registrations {registrations}, timers {timers}, closures {closures}"
        )
    }
}

/// The ends of all cores of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoresReport {
    /// One for each core, in their order.
    pub cores: Vec<CoreReport>,
}

impl CoresReport {
    /// Whether each core was shut down with nothing left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cores.iter().all(CoreReport::is_clean)
    }

    /// The names of the tasks that were left on all cores.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        let tasks = self.cores.iter().flat_map(|core| &core.left.tasks);
        tasks.map(String::as_str)
    }
}

impl fmt::Display for CoresReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, core) in self.cores.iter().enumerate() {
            write!(f, "{}{core}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}
