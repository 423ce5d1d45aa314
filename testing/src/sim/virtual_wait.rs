//! Waiting on a kernel in memory: the time moves when nothing else can happen, and the trace shows why.
//!
//! A wait without ready descriptors moves the clock to the next time at which something can happen: a
//! timer of the kernel, or the timeout of the wait. If there is no such time, or a test has stopped the
//! clock, only another thread can end the wait. The wait then lasts up to a limit of real time, and after
//! that it reports that nothing can happen any more.
//!
//! A run of hours adds millions of lines to the trace, and after a failure the last ones matter. So the
//! trace drops old lines for new ones, and counts them.
//!
//! In the notes this is the timeout of a selector (N2).

use super::table::Table;
use super::{Kernel, os};
use readily::clock::{LAST, NEVER, nanos};
use readily::poll::Notify;
use readily::spi::BlockingJobs;
use readily_sys::errno::EINTR;
use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The default of how long a wait lasts that only another thread can end.
pub(super) const REAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How many lines of the trace the error shows when nothing can happen any more.
const SHOWN_LINES: usize = 5;

/// Ends a wait from another thread.
#[derive(Debug, Default)]
pub(crate) struct SimNotifier {
    notified: Mutex<bool>,
    condvar: Condvar,
}

impl SimNotifier {
    /// Returns whether there was a notification, and clears it.
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut *self.notified.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a notification, at most for `limit`. Returns whether there was one, and clears it.
    pub(crate) fn wait_for(&self, limit: Duration) -> bool {
        let notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condvar.wait_timeout_while(notified, limit, |it| !*it);
        let (mut notified, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *notified)
    }
}

impl Notify for SimNotifier {
    fn notify(&self) {
        *self.notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condvar.notify_all();
    }
}

/// Waits until `collect` returns `true`, a notification comes, or `timeout` has passed. Returns whether
/// there was a notification.
pub(super) fn wait(
    kernel: &Kernel,
    notifier: &SimNotifier,
    timeout: Option<Duration>,
    mut collect: impl FnMut(&mut Table) -> bool,
) -> io::Result<bool> {
    let mut table = kernel.table.borrow_mut();
    table.idle = false;
    let chance = table.faults.early_return;
    if table.faults.chance_256(chance) {
        table.trace_line(|| "a signal".to_owned());
        return Err(os(EINTR));
    }
    let now_ns = kernel.now_ns();
    table.notify_of_timers(now_ns);
    let notified = notifier.take();
    table.idle = !collect(&mut table) && !notified;
    if !table.idle || timeout == Some(Duration::ZERO) {
        return Ok(notified);
    }
    if let Some(to) = next_time(&mut table, now_ns, timeout) {
        kernel.clock.set_ns(to);
        table.notify_of_timers(to);
        collect(&mut table);
        return Ok(false);
    }
    let real_timeout = table.real_timeout;
    drop(table);
    if !notifier.wait_for(real_timeout) {
        return Err(stalled_error(kernel, real_timeout));
    }
    collect(&mut kernel.table.borrow_mut());
    Ok(true)
}

/// Returns the error of a wait that nothing can end.
fn stalled_error(kernel: &Kernel, real_timeout: Duration) -> io::Error {
    let table = kernel.table.borrow();
    let mut text = format!(
        "nothing can happen any more, and no other thread has sent a notification within {real_timeout:?}: \
         the tasks that wait now would wait for ever"
    );
    for line in table.trace.iter().flat_map(|trace| trace.last(SHOWN_LINES)) {
        text = format!("{text}\n  {line}");
    }
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl Kernel {
    /// Sets how long, in real time, a wait lasts that only another thread can end. Then it fails with
    /// `TimedOut`, and a message that nothing can happen any more. The default is ten seconds.
    ///
    /// Another thread with a [`RemoteHandle`](readily::RemoteHandle) or a waker may send a notification at
    /// any time, so a kernel cannot distinguish a slow thread from two tasks that wait for each other.
    pub fn set_real_timeout(&self, real_timeout: Duration) {
        self.table.borrow_mut().real_timeout = real_timeout;
    }
}

impl Kernel {
    /// Sets where the jobs of thread pools run. The default is [`BlockingJobs::AtOnce`]: in the loop itself, in an
    /// order of the seed. With [`BlockingJobs::HoldTime`] they run on threads, and the time stands still until
    /// they have returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::spi::BlockingJobs;
    /// use readily::run_blocking;
    /// use readily_testing::SimLoop;
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// let mut sim = SimLoop::new(7);
    /// let home = thread::current().id();
    /// let here = || thread::current().id();
    /// assert_eq!(sim.run(async move { run_blocking(here).await })?.unwrap(), home);
    ///
    /// sim.kernel().set_blocking_jobs(BlockingJobs::HoldTime);
    /// let there = sim.run(async move { run_blocking(here).await })?.unwrap();
    /// assert_ne!(there, home);
    /// assert_eq!(sim.elapsed(), Duration::ZERO);
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn set_blocking_jobs(&self, jobs: BlockingJobs) {
        self.table.borrow_mut().blocking_jobs = jobs;
    }
}

/// Returns the time to which a wait without events moves the clock: its timeout, or the next timer of the
/// kernel. `None` if only a notification can end the wait.
fn next_time(table: &mut Table, now_ns: u64, timeout: Option<Duration>) -> Option<u64> {
    if table.pauses > 0 {
        table.trace_line(|| format!("{} time stays: it is paused", seconds(now_ns)));
        return None;
    }
    // A timeout beyond the last time ends there, so that it differs from no timeout.
    let limited = |limit| now_ns.saturating_add(nanos(limit)).min(LAST);
    let end = timeout.map_or(NEVER, limited);
    let due = table.next_due().unwrap_or(NEVER);
    let to = end.min(due).max(now_ns);
    if to == NEVER {
        table.trace_line(|| format!("{} time stays: nothing will happen", seconds(now_ns)));
        return None;
    }
    let why = if due < end { "a timer" } else { "the limit" };
    table.trace_line(|| {
        let (from, to) = (seconds(now_ns), seconds(to));
        format!("{from} nothing is ready; on to {why}, {to}")
    });
    Some(to)
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// The default size of the trace in bytes.
const TRACE_BYTES: usize = 1 << 20;

/// The last lines of a log, up to a size.
pub(super) struct Trace {
    lines: VecDeque<String>,
    /// The size of all lines, with their line breaks.
    bytes: usize,
    room: usize,
    /// How many lines were dropped.
    dropped: u64,
}

impl Trace {
    pub(super) fn new(room: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            room,
            dropped: 0,
        }
    }

    /// Sets the size of the trace in bytes; zero turns it off.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.drop_oldest();
    }

    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        if self.room > 0 {
            let line = line();
            self.bytes += line.len() + 1;
            self.lines.push_back(line);
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        while self.bytes > self.room {
            let Some(line) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= line.len() + 1;
            self.dropped += 1;
        }
    }

    /// Returns the last `count` lines.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(String::as_str)
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.dropped {
            0 => String::new(),
            dropped => format!("({dropped} lines before this are not kept)\n"),
        };
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

impl Kernel {
    /// Starts the trace, of which [`Kernel::trace`] returns the last MiB. A second call changes
    /// nothing.
    pub fn record(&self) {
        let trace = &mut self.table.borrow_mut().trace;
        trace.get_or_insert_with(|| Trace::new(TRACE_BYTES));
    }

    /// Starts the trace, or limits it, to its last `bytes`; with 0 nothing is recorded. Lines beyond
    /// `bytes` are dropped.
    pub fn record_last(&self, bytes: usize) {
        let trace = &mut self.table.borrow_mut().trace;
        let trace = trace.get_or_insert_with(|| Trace::new(bytes));
        trace.set_room(bytes);
    }

    /// Returns the trace since [`Kernel::record`]: the events that each wait reported, and why the time
    /// moved or did not. If lines were dropped, the first line is their number, in parentheses. See
    /// [`Kernel::record_last`].
    #[must_use]
    pub fn trace(&self) -> String {
        let table = self.table.borrow();
        table.trace.as_ref().map(Trace::text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_those_before_them_counted() {
        let mut trace = Trace::new(12);
        for n in 0..3 {
            trace.add(|| format!("{n}{n}{n}"));
        }
        assert_eq!(trace.text(), "000\n111\n222\n");
        trace.add(|| "3".to_owned());
        assert_eq!(
            trace.text(),
            "(1 lines before this are not kept)\n111\n222\n3\n"
        );
        assert_eq!(trace.last(2).collect::<Vec<_>>(), ["222", "3"]);
        trace.set_room(4);
        assert_eq!(trace.text(), "(3 lines before this are not kept)\n3\n");
        trace.add(|| "too long".to_owned());
        assert_eq!(trace.text(), "(5 lines before this are not kept)\n");
        trace.set_room(0);
        trace.add(|| unreachable!("the line is not recorded"));
    }
}
