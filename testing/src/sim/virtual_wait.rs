//! Waiting on a kernel in memory: time moves when nothing else can happen, and the trace says why.
//!
//! A wait that finds nothing ready goes at once to the next moment at which something can happen:
//! a timer of the kernel, or the end of the wait. If there is no such moment, or a test holds
//! the time, it waits for a notification, in real time: another thread may still send something. As that
//! cannot be known, it waits for a limited time, and then reports that nothing can happen any more.
//!
//! A run of hours writes millions of lines to the trace, and a reader after a failure wants the end.
//! So old lines go when there is no room for new ones, and the trace counts them.
//!
//! In the notes it is the timeout of a selector (N2), and its log.

use super::table::Table;
use super::{Kernel, os};
use readily::clock::{LAST, NEVER, nanos};
use readily::poll::Notify;
use readily_sys::errno::EINTR;
use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a wait lasts where only another thread can end it, unless told otherwise.
pub(super) const REAL_TIMEOUT: Duration = Duration::from_secs(10);

/// As many lines of the trace are shown where nothing can happen any more.
const LINES: usize = 5;

/// What ends a wait from another thread.
#[derive(Debug, Default)]
pub(crate) struct SimNotifier {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl SimNotifier {
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until it rings, or `limit` is over; whether it has rung.
    pub(crate) fn wait_for(&self, limit: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, limit, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

impl Notify for SimNotifier {
    fn notify(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }
}

/// Waits until `collect` has found something, a ring has come, or `timeout` has passed. Whether
/// it was a ring.
pub(super) fn wait(
    kernel: &Kernel,
    notifier: &SimNotifier,
    timeout: Option<Duration>,
    mut collect: impl FnMut(&mut Table) -> bool,
) -> io::Result<bool> {
    let mut table = kernel.table.borrow_mut();
    table.idle = false;
    let chance = table.faults.early_return;
    if table.faults.strikes(chance) {
        table.trace_line(|| "a signal".to_owned());
        return Err(os(EINTR));
    }
    let now_ns = kernel.now_ns();
    table.notify_of_timers(now_ns);
    let rung = notifier.take();
    table.idle = !collect(&mut table) && !rung;
    if !table.idle || timeout == Some(Duration::ZERO) {
        return Ok(rung);
    }
    if let Some(to) = moves_to(&mut table, now_ns, timeout) {
        kernel.clock.set_ns(to);
        table.notify_of_timers(to);
        collect(&mut table);
        return Ok(false);
    }
    let real_timeout = table.real_timeout;
    drop(table);
    if !notifier.wait_for(real_timeout) {
        return Err(nothing_comes(kernel, real_timeout));
    }
    collect(&mut kernel.table.borrow_mut());
    Ok(true)
}

/// Why a wait is given up that nothing ends.
fn nothing_comes(kernel: &Kernel, real_timeout: Duration) -> io::Error {
    let table = kernel.table.borrow();
    let mut text = format!(
        "nothing can happen any more, and no other thread has rung within {real_timeout:?}: who waits \
         here waits for ever"
    );
    for line in table.trace.iter().flat_map(|trace| trace.last(LINES)) {
        text = format!("{text}\n  {line}");
    }
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl Kernel {
    /// A wait that only another thread can end is given up after so long, in real time: with
    /// `TimedOut`, and a text that says that nothing can happen any more. Ten seconds unless told
    /// otherwise.
    ///
    /// Who holds a [`RemoteHandle`](readily::RemoteHandle) or a waker may ring at any time, so a kernel can not
    /// tell a thread that takes long from two tasks that wait for each other.
    pub fn set_real_timeout(&self, real_timeout: Duration) {
        self.table.borrow_mut().real_timeout = real_timeout;
    }
}

/// When the wait ends, if nothing happens before: at the limit, or when a timer of the kernel is
/// due. `None` means that nothing can happen, but for a ring.
fn moves_to(table: &mut Table, now_ns: u64, timeout: Option<Duration>) -> Option<u64> {
    if table.pauses > 0 {
        table.trace_line(|| format!("{} time stays: it is held", seconds(now_ns)));
        return None;
    }
    // A limit beyond the end of time ends the wait there: only where there is none it is no end.
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

/// How many bytes of lines are kept by default.
const ROOM: usize = 1 << 20;

pub(super) struct Trace {
    lines: VecDeque<String>,
    /// Of all lines, with a line break for each.
    bytes: usize,
    room: usize,
    /// How many lines there was no room for.
    gone: u64,
}

impl Trace {
    pub(super) fn new(room: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            room,
            gone: 0,
        }
    }

    /// Keeps no more than `room` bytes from here on; none at all is no trace.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.cut();
    }

    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        if self.room > 0 {
            let line = line();
            self.bytes += line.len() + 1;
            self.lines.push_back(line);
            self.cut();
        }
    }

    fn cut(&mut self) {
        while self.bytes > self.room {
            let Some(line) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= line.len() + 1;
            self.gone += 1;
        }
    }

    /// The last `count` lines.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(String::as_str)
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.gone {
            0 => String::new(),
            gone => format!("({gone} lines before this are not kept)\n"),
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
        trace.get_or_insert_with(|| Trace::new(ROOM));
    }

    /// Starts the trace, and keeps its last `bytes`; with 0 nothing is recorded. May be changed at
    /// any time: lines beyond `bytes` are dropped.
    pub fn record_last(&self, bytes: usize) {
        let trace = &mut self.table.borrow_mut().trace;
        let trace = trace.get_or_insert_with(|| Trace::new(bytes));
        trace.set_room(bytes);
    }

    /// Returns the trace since [`Kernel::record`], a line for each wait: what it reported, and why
    /// the time moved, or did not. It has the last lines, all of them whole; if earlier lines were
    /// dropped, a first line in parentheses has their number. See [`Kernel::record_last`].
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
        trace.add(|| unreachable!("nobody reads it"));
    }
}
