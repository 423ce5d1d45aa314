//! A poller with epoll's rules, over a kernel in memory.
//!
//! A registration watches a file under a number. What may have come about puts it on a list;
//! a wait goes through the list, asks what holds *now*, and reports that. A level goes back to
//! the end of the list, an edge does not, a one-shot is deaf until it is modified. All of
//! epoll's oddities follow from these three lines, the ghost of a duplicate among them.
//!
//! And it moves the time. A wait that finds nothing ready goes at once to the next moment at
//! which something can happen: a timer of the kernel, or the end of the wait.

use super::files::{Body, bits};
use super::table::Table;
use super::watch::{Item, Name, Watch, asked, reported};
use super::{Kernel, os};
use crate::base::clock::{NEVER, nanos};
use crate::poll::{Event, Interest, Notify, Poller, Trigger};
use readily_sys::errno::{EEXIST, ENOENT, ENOMEM, EPERM};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What ends a wait from another thread.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn take(&self) -> bool {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *rung) {
            rung = self
                .heard
                .wait(rung)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Notify for Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }
}

/// The [`Poller`] of a [`Kernel`].
pub struct SimPoller {
    kernel: Kernel,
    /// Its place among the watches of the kernel.
    place: usize,
    bell: Arc<Bell>,
}

impl SimPoller {
    pub(super) fn new(kernel: &Kernel) -> Self {
        let mut table = kernel.table.borrow_mut();
        table.watches.push(Watch::default());
        Self {
            kernel: kernel.clone(),
            place: table.watches.len() - 1,
            bell: Arc::default(),
        }
    }

    /// Changes what is asked for, and asks what holds already.
    fn ask(&self, table: &mut Table, name: Name, token: u64, interest: Interest, t: Trigger) {
        let item = Item {
            token,
            events: asked(interest),
            trigger: t,
            listed: false,
        };
        let before = table.watches[self.place].items.insert(name, item);
        let listed = before.is_some_and(|before| before.listed);
        let said = table.bits(name.1, self.kernel.now_ns());
        let watch = &mut table.watches[self.place];
        if listed {
            watch.list.retain(|&other| other != name);
        }
        watch.wake(name, said);
    }

    /// Goes through the list once.
    fn collect(&self, table: &mut Table, events: &mut Vec<Event>) {
        let before = events.len();
        let now_ns = self.kernel.now_ns();
        let mut left = table.watches[self.place].list.len();
        if table.faults.shuffle {
            for at in (1..left).rev() {
                let other = table.faults.below(at + 1);
                table.watches[self.place].list.swap(at, other);
            }
        }
        let most = match table.faults.batch {
            0 => usize::MAX,
            most => most,
        };
        while left > 0 && events.len() - before < most {
            left -= 1;
            let Some(name) = table.watches[self.place].list.pop_front() else {
                break;
            };
            let said = table.bits(name.1, now_ns);
            let Watch { items, list } = &mut table.watches[self.place];
            let item = items.get_mut(&name).expect("who is listed is registered");
            item.listed = false;
            let said = said & item.events;
            if said == 0 {
                continue;
            }
            let (token, ready) = (item.token, reported(said));
            match item.trigger {
                Trigger::Level => {
                    item.listed = true;
                    list.push_back(name);
                }
                Trigger::Edge => {}
                Trigger::OneShot => item.events = 0,
            }
            events.push(Event { token, ready });
        }
        self.lie(table, events, before);
    }

    /// A spurious event: for somebody who is not in this batch, and never of a closed side.
    fn lie(&self, table: &mut Table, events: &mut Vec<Event>, before: usize) {
        let chance = table.faults.spurious;
        let watch = &table.watches[self.place];
        if watch.items.is_empty() || !table.faults.strikes(chance) {
            return;
        }
        let nth = table.faults.below(watch.items.len());
        let Some(item) = table.watches[self.place].items.values().nth(nth) else {
            return;
        };
        let (token, hears) = (item.token, item.events & (bits::IN | bits::OUT));
        let told = events[before..].iter().any(|event| event.token == token);
        if hears != 0 && !told && item.trigger != Trigger::OneShot {
            let ready = reported(hears);
            events.push(Event { token, ready });
        }
    }

    /// When the wait ends, if nothing happens before: the limit, or a timer of the kernel.
    /// `None` means that nothing can happen, but for a ring.
    fn moves_to(&self, table: &mut Table, timeout: Option<Duration>) -> Option<u64> {
        let now_ns = self.kernel.now_ns();
        if table.holds > 0 {
            table.note(|| format!("{} time stays: it is held", seconds(now_ns)));
            return None;
        }
        let end = timeout.map_or(NEVER, |limit| now_ns.saturating_add(nanos(limit)));
        let due = table.next_due().unwrap_or(NEVER);
        let to = end.min(due).max(now_ns);
        if to == NEVER {
            table.note(|| format!("{} time stays: nothing will happen", seconds(now_ns)));
            return None;
        }
        let why = if due < end { "a timer" } else { "the limit" };
        table.note(|| {
            format!(
                "{} nothing is ready; on to {why}, {}",
                seconds(now_ns),
                seconds(to)
            )
        });
        Some(to)
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

impl Poller for SimPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        let name = (fd, table.file(fd)?);
        if matches!(table.at(name.1).body, Body::Regular { .. }) {
            return Err(os(EPERM));
        }
        if table.watches[self.place].items.contains_key(&name) {
            return Err(os(EEXIST));
        }
        let chance = table.faults.enomem;
        if table.faults.strikes(chance) {
            return Err(os(ENOMEM));
        }
        table.at(name.1).watchers.push((self.place, fd));
        self.ask(&mut table, name, token, i, t);
        Ok(())
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        let name = (fd, table.file(fd)?);
        if !table.watches[self.place].items.contains_key(&name) {
            return Err(os(ENOENT));
        }
        self.ask(&mut table, name, token, i, t);
        Ok(())
    }

    fn rearm(&mut self, fd: RawFd, _token: u64, _interest: Interest) -> io::Result<()> {
        let table = self.kernel.table.borrow();
        let name = (fd, table.file(fd)?);
        match table.watches[self.place].items.contains_key(&name) {
            true => Ok(()),
            false => Err(os(ENOENT)),
        }
    }

    fn rearms(&self) -> Interest {
        Interest::NONE
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        let name = (fd, table.file(fd)?);
        let place = self.place;
        let gone = table.watches[place].forget(name);
        gone.ok_or_else(|| os(ENOENT))?;
        let watchers = &mut table.at(name.1).watchers;
        watchers.retain(|&watcher| watcher != (place, fd));
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        let mut table = self.kernel.table.borrow_mut();
        let chance = table.faults.early_return;
        if table.faults.strikes(chance) {
            table.note(|| "an early return".to_owned());
            return Ok(());
        }
        let now_ns = self.kernel.now_ns();
        table.tell_of_timers(now_ns);
        let rung = self.bell.take();
        self.collect(&mut table, events);
        table.note(|| format!("{} {:?}", seconds(now_ns), &events[before..]));
        if rung || events.len() > before || timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        if let Some(to) = self.moves_to(&mut table, timeout) {
            self.kernel.clock.set_ns(to);
            table.tell_of_timers(to);
        } else {
            drop(table);
            self.bell.wait();
            table = self.kernel.table.borrow_mut();
        }
        self.collect(&mut table, events);
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.bell) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn kernel(&self) -> Option<Kernel> {
        Some(self.kernel.clone())
    }
}

impl Drop for SimPoller {
    fn drop(&mut self) {
        let mut table = self.kernel.table.borrow_mut();
        let watch = std::mem::take(&mut table.watches[self.place]);
        for (fd, file) in watch.items.into_keys() {
            let watchers = &mut table.at(file).watchers;
            watchers.retain(|&watcher| watcher != (self.place, fd));
        }
    }
}

impl fmt::Debug for SimPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.kernel.table.borrow();
        let registered = table.watches[self.place].items.len();
        f.debug_struct("SimPoller")
            .field("registered", &registered)
            .finish_non_exhaustive()
    }
}
