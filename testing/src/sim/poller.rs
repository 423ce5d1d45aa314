//! A poller with epoll's rules, over a kernel in memory.
//!
//! A registration watches a file under a number. An event of the file puts it into the ready list. A
//! wait goes through the list, checks the *present* state of each file, and reports that. Then a level
//! goes back to the end of the list, an edge does not, and a one-shot is disabled until it is modified.
//! All peculiarities of epoll follow from these rules, for instance the reports for a duplicate of a
//! closed descriptor.
//!
//! The length of a wait, and the moves of the clock, are in `virtual_wait.rs`.

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

/// The [`Poller`] of a [`Kernel`], with the rules of epoll.
pub struct SimPoller {
    kernel: Kernel,
    /// The index of its watch list in the kernel.
    index: usize,
    notifier: Arc<SimNotifier>,
}

impl SimPoller {
    pub(super) fn new(kernel: &Kernel) -> Self {
        let mut table = kernel.table.borrow_mut();
        table.watch_lists.push(WatchList::default());
        Self {
            kernel: kernel.clone(),
            index: table.watch_lists.len() - 1,
            notifier: Arc::default(),
        }
    }

    /// Sets the interest of a registration, and puts it into the ready list if it is ready already.
    fn set_item(&self, table: &mut Table, name: Name, token: u64, interest: Interest, t: Trigger) {
        let item = Item {
            token,
            events: to_epoll(interest),
            trigger: t,
        };
        table.watch_lists[self.index].items.insert(name, item);
        let bits = table.bits_for(to_epoll(interest), name.1, self.kernel.now_ns());
        let watch_list = &mut table.watch_lists[self.index];
        watch_list.ready.remove(name);
        watch_list.wake(name, bits);
    }

    /// Goes through the ready list once, and appends the events.
    fn collect(&self, table: &mut Table, events: &mut Vec<Event>) {
        let before = events.len();
        let now_ns = self.kernel.now_ns();
        let Table {
            watch_lists,
            faults,
            ..
        } = &mut *table;
        let ready = &mut watch_lists[self.index].ready;
        if faults.shuffle {
            ready.shuffle(faults.rng());
        }
        let mut left = ready.len();
        let max = table.faults.max_events();
        while left > 0 && events.len() - before < max {
            left -= 1;
            let Some(name) = table.watch_lists[self.index].ready.pop_front() else {
                break;
            };
            let interest = table.watch_lists[self.index].items[&name].events;
            let bits = table.bits_for(interest, name.1, now_ns);
            let WatchList { items, ready } = &mut table.watch_lists[self.index];
            let item = items
                .get_mut(&name)
                .expect("the ready list has only registrations");
            let bits = bits & item.events;
            if bits == 0 {
                continue;
            }
            match item.trigger {
                Trigger::Level => ready.push_back(name),
                Trigger::Edge => {}
                Trigger::OneShot => item.events = 0,
            }
            events.push(Event::new(item.token, from_epoll(bits)));
        }
        self.add_spurious(table, events, before);
    }

    /// Adds a spurious event, if the faults have one: of a registration that is not in this batch, and
    /// never of a closed side.
    fn add_spurious(&self, table: &mut Table, events: &mut Vec<Event>, before: usize) {
        let chance = table.faults.spurious;
        let watch_list = &table.watch_lists[self.index];
        if watch_list.items.is_empty() || !table.faults.chance_256(chance) {
            return;
        }
        let nth = table.faults.rng().below(watch_list.items.len());
        let Some(item) = table.watch_lists[self.index].items.values().nth(nth) else {
            return;
        };
        let (token, bits) = (item.token, item.events & (bits::IN | bits::OUT));
        let is_reported = events[before..].iter().any(|event| event.token() == token);
        if bits != 0 && !is_reported && item.trigger != Trigger::OneShot {
            let ready = from_epoll(bits);
            events.push(Event::new(token, ready));
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
        if table.watch_lists[self.index].items.contains_key(&name) {
            return Err(os(EEXIST));
        }
        table.faults.count_call()?;
        let chance = table.faults.enomem;
        if table.faults.chance_256(chance) {
            return Err(os(ENOMEM));
        }
        table.at(name.1).watchers.push((self.index, fd));
        self.set_item(&mut table, name, token, i, t);
        Ok(())
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        check_token(token)?;
        let mut table = self.kernel.table.borrow_mut();
        let name = (fd, table.file(fd)?);
        if !table.watch_lists[self.index].items.contains_key(&name) {
            return Err(os(ENOENT));
        }
        table.faults.count_call()?;
        self.set_item(&mut table, name, token, i, t);
        Ok(())
    }

    fn rearm(&mut self, fd: RawFd, token: u64, _interest: Interest) -> io::Result<()> {
        check_token(token)?;
        let table = self.kernel.table.borrow();
        let name = (fd, table.file(fd)?);
        match table.watch_lists[self.index].items.contains_key(&name) {
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
        let index = self.index;
        let removed = table.watch_lists[index].remove(name);
        removed.ok_or_else(|| os(ENOENT))?;
        let watchers = &mut table.at(name.1).watchers;
        watchers.retain(|&watcher| watcher != (index, fd));
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
            // The wait returns early, and its caller compares its deadline with the clock.
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
        let watch_list = std::mem::take(&mut table.watch_lists[self.index]);
        for (fd, file) in watch_list.items.into_keys() {
            let watchers = &mut table.at(file).watchers;
            watchers.retain(|&watcher| watcher != (self.index, fd));
        }
    }
}

impl fmt::Debug for SimPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.kernel.table.borrow();
        let registered = table.watch_lists[self.index].items.len();
        f.debug_struct("SimPoller")
            .field("registered", &registered)
            .finish_non_exhaustive()
    }
}
