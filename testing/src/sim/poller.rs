//! A poller with epoll's rules, over a kernel in memory.
//!
//! A registration watches a file under a number. What may have come about puts it on a list;
//! a wait goes through the list, asks what holds *now*, and reports that. A level goes back to
//! the end of the list, an edge does not, a one-shot is deaf until it is modified. All of
//! epoll's oddities follow from these three lines, the ghost of a duplicate among them.
//!
//! How long it waits, and where the time goes meanwhile, is in `virtual_wait.rs`.

use super::open_files::{Body, bits};
use super::table::Table;
use super::virtual_wait::{self, SimNotifier};
use super::watch_list::{Item, Name, WatchList, from_epoll, to_epoll};
use super::{Kernel, os};
use readily::poll::{Event, Notify, Poller, WaitResult, check_token};
use readily::spi::VirtualKernel;
use readily::{Interest, Trigger};
use readily_sys::errno::{EEXIST, ENOENT, ENOMEM, EPERM};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The [`Poller`] of a [`Kernel`].
pub struct SimPoller {
    kernel: Kernel,
    /// Its place among the watches of the kernel.
    place: usize,
    notifier: Arc<SimNotifier>,
}

impl SimPoller {
    pub(super) fn new(kernel: &Kernel) -> Self {
        let mut table = kernel.table.borrow_mut();
        table.watches.push(WatchList::default());
        Self {
            kernel: kernel.clone(),
            place: table.watches.len() - 1,
            notifier: Arc::default(),
        }
    }

    /// Changes what is asked for, and asks what holds already.
    fn ask(&self, table: &mut Table, name: Name, token: u64, interest: Interest, t: Trigger) {
        let item = Item {
            token,
            events: to_epoll(interest),
            trigger: t,
        };
        table.watches[self.place].items.insert(name, item);
        let said = table.bits_for(to_epoll(interest), name.1, self.kernel.now_ns());
        let watch = &mut table.watches[self.place];
        watch.list.remove(name);
        watch.wake(name, said);
    }

    /// Goes through the list once.
    fn collect(&self, table: &mut Table, events: &mut Vec<Event>) {
        let before = events.len();
        let now_ns = self.kernel.now_ns();
        let Table {
            watches, faults, ..
        } = &mut *table;
        let list = &mut watches[self.place].list;
        if faults.shuffle {
            list.shuffle(faults.chance());
        }
        let mut left = list.len();
        let most = table.faults.most();
        while left > 0 && events.len() - before < most {
            left -= 1;
            let Some(name) = table.watches[self.place].list.pop_front() else {
                break;
            };
            let asked = table.watches[self.place].items[&name].events;
            let said = table.bits_for(asked, name.1, now_ns);
            let WatchList { items, list } = &mut table.watches[self.place];
            let item = items.get_mut(&name).expect("who is listed is registered");
            let said = said & item.events;
            if said == 0 {
                continue;
            }
            let (token, ready) = (item.token, from_epoll(said));
            match item.trigger {
                Trigger::Level => list.push_back(name),
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
        let nth = table.faults.chance().below(watch.items.len());
        let Some(item) = table.watches[self.place].items.values().nth(nth) else {
            return;
        };
        let (token, hears) = (item.token, item.events & (bits::IN | bits::OUT));
        let told = events[before..].iter().any(|event| event.token == token);
        if hears != 0 && !told && item.trigger != Trigger::OneShot {
            let ready = from_epoll(hears);
            events.push(Event { token, ready });
        }
    }
}

impl Poller for SimPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        check_token(token)?;
        let mut table = self.kernel.table.borrow_mut();
        let name = (fd, table.file(fd)?);
        if matches!(table.at(name.1).body, Body::Regular { .. }) {
            return Err(os(EPERM));
        }
        if table.watches[self.place].items.contains_key(&name) {
            return Err(os(EEXIST));
        }
        table.faults.call()?;
        let chance = table.faults.enomem;
        if table.faults.strikes(chance) {
            return Err(os(ENOMEM));
        }
        table.at(name.1).watchers.push((self.place, fd));
        self.ask(&mut table, name, token, i, t);
        Ok(())
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        check_token(token)?;
        let mut table = self.kernel.table.borrow_mut();
        let name = (fd, table.file(fd)?);
        if !table.watches[self.place].items.contains_key(&name) {
            return Err(os(ENOENT));
        }
        table.faults.call()?;
        self.ask(&mut table, name, token, i, t);
        Ok(())
    }

    fn rearm(&mut self, fd: RawFd, token: u64, _interest: Interest) -> io::Result<()> {
        check_token(token)?;
        let table = self.kernel.table.borrow();
        let name = (fd, table.file(fd)?);
        match table.watches[self.place].items.contains_key(&name) {
            true => Ok(()),
            false => Err(os(ENOENT)),
        }
    }

    fn rearm_interest(&self) -> Interest {
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

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let before = events.len();
        let waited = virtual_wait::wait(&self.kernel, &self.notifier, timeout, |table| {
            self.collect(table, events);
            table.trace_line(|| format!("{:?}", &events[before..]));
            events.len() > before
        });
        match waited {
            // The wait returns early, and its caller looks at the clock.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(WaitResult::new(false)),
            waited => waited.map(WaitResult::new),
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        Some(Rc::new(self.kernel.clone()))
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
