//! Waiting on a kernel in memory: time moves when nothing else can happen, and says why.
//!
//! A wait that finds nothing ready goes at once to the next moment at which something can happen:
//! a timer of the kernel, or the end of the wait. Where there is no such moment, or somebody holds
//! the time, it waits for a ring, in real time: another thread may have something to say. As that
//! cannot be known, it waits with patience, and then says that nothing can happen any more.

use super::table::Table;
use super::{Kernel, os};
use readily::clock::{LAST, NEVER, nanos};
use readily::poll::Notify;
use readily_sys::errno::EINTR;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a wait lasts where only another thread can end it, unless told otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// As many lines of the trace are shown where nothing can happen any more.
const LINES: usize = 5;

/// What ends a wait from another thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
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

impl Notify for Bell {
    fn notify(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }
}

/// Waits until `collect` has found something, a ring has come, or `timeout` has passed. Whether
/// it was a ring.
pub(super) fn wait(
    kernel: &Kernel,
    bell: &Bell,
    timeout: Option<Duration>,
    mut collect: impl FnMut(&mut Table) -> bool,
) -> io::Result<bool> {
    let mut table = kernel.table.borrow_mut();
    table.idle = false;
    let chance = table.faults.early_return;
    if table.faults.strikes(chance) {
        table.note(|| "a signal".to_owned());
        return Err(os(EINTR));
    }
    let now_ns = kernel.now_ns();
    table.tell_of_timers(now_ns);
    let rung = bell.take();
    table.idle = !collect(&mut table) && !rung;
    if !table.idle || timeout == Some(Duration::ZERO) {
        return Ok(rung);
    }
    if let Some(to) = moves_to(&mut table, now_ns, timeout) {
        kernel.clock.set_ns(to);
        table.tell_of_timers(to);
        collect(&mut table);
        return Ok(false);
    }
    let patience = table.patience;
    drop(table);
    if !bell.wait_for(patience) {
        return Err(nothing_comes(kernel, patience));
    }
    collect(&mut kernel.table.borrow_mut());
    Ok(true)
}

/// Why a wait is given up that nothing ends.
fn nothing_comes(kernel: &Kernel, patience: Duration) -> io::Error {
    let table = kernel.table.borrow();
    let mut text = format!(
        "nothing can happen any more, and no other thread has rung within {patience:?}: who waits \
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
    pub fn set_patience(&self, patience: Duration) {
        self.table.borrow_mut().patience = patience;
    }
}

/// When the wait ends, if nothing happens before: at the limit, or when a timer of the kernel is
/// due. `None` means that nothing can happen, but for a ring.
fn moves_to(table: &mut Table, now_ns: u64, timeout: Option<Duration>) -> Option<u64> {
    if table.holds > 0 {
        table.note(|| format!("{} time stays: it is held", seconds(now_ns)));
        return None;
    }
    // A limit beyond the end of time ends the wait there: only where there is none it is no end.
    let limited = |limit| now_ns.saturating_add(nanos(limit)).min(LAST);
    let end = timeout.map_or(NEVER, limited);
    let due = table.next_due().unwrap_or(NEVER);
    let to = end.min(due).max(now_ns);
    if to == NEVER {
        table.note(|| format!("{} time stays: nothing will happen", seconds(now_ns)));
        return None;
    }
    let why = if due < end { "a timer" } else { "the limit" };
    table.note(|| {
        let (from, to) = (seconds(now_ns), seconds(to));
        format!("{from} nothing is ready; on to {why}, {to}")
    });
    Some(to)
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}
