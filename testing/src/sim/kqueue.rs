//! A kqueue of a kernel in memory, with the rules of FreeBSD, macOS or NetBSD.
//!
//! The kqueue poller of the crate runs on it, with its changelists and receipts, on any system. The rules
//! are those of the systems' manuals and sources: a registration is a number and a filter; it is activated
//! when the condition of its filter comes about, evaluated again when it is reported, and removed when its
//! number is closed.
//!
//! An emulation is no oracle. It shows that the poller keeps its promises if the systems keep theirs.

use super::knotes::{Knote, KnoteName, Knotes};
use super::open_files::Body;
use super::table::Table;
use super::virtual_wait::{self, SimNotifier};
use super::{Kernel, os};
use readily::poll::kqueue::{KqueuePoller, KqueueSys};
use readily::poll::{NOTIFIER, Notify};
use readily::spi::VirtualKernel;
use readily_sys::errno::{EBADF, ENOENT, ENOMEM, EPERM, EPIPE};
use readily_sys::kq_abi::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ONESHOT,
    EV_RECEIPT, Filter, Kevent, NOTE_LOWAT, Personality,
};
use readily_sys::poll::FileKind;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A kqueue of a kernel in memory. See [`Kernel::kqueue`].
#[derive(Debug)]
pub struct SimKqueue {
    kernel: Kernel,
    index: usize,
    personality: Personality,
    notifier: Arc<SimNotifier>,
}

impl Kernel {
    /// Makes the kqueue poller of the crate, over a kqueue of this kernel with the rules of a system. From
    /// now on the sockets of the kernel follow the rules of that system, too.
    #[must_use]
    pub fn kqueue(&self, personality: Personality) -> KqueuePoller<SimKqueue> {
        let mut table = self.table.borrow_mut();
        table.kqueues.push(Knotes::new(personality));
        table.system = Some(personality);
        let index = table.kqueues.len() - 1;
        drop(table);
        KqueuePoller::with(SimKqueue {
            kernel: self.clone(),
            index,
            personality,
            notifier: Arc::default(),
        })
    }
}

impl SimKqueue {
    /// Applies one entry of a changelist, and returns its receipt.
    fn apply(&self, table: &mut Table, change: &Kevent) -> Result<(), i32> {
        if change.filter == Filter::Timer {
            return self.apply_timer(table, change);
        }
        let number = i32::try_from(change.ident).map_err(|_| EBADF)?;
        let writes = change.filter == Filter::Write;
        let name = (number, writes);
        // Only an addition can fail for lack of a resource.
        if change.flags & EV_ADD != 0 {
            let counted = table.faults.count_call();
            counted.map_err(|failed| failed.raw_os_error().unwrap_or(ENOMEM))?;
            let chance = table.faults.enomem;
            if table.faults.chance_256(chance) {
                return Err(ENOMEM);
            }
        }
        let known = table.kqueues[self.index].knotes.contains_key(&name);
        let file = match (table.file(number), self.personality) {
            (Ok(file), _) => file,
            // macOS searches for the registration before it checks the number.
            (Err(_), Personality::Apple) if change.flags & EV_ADD == 0 => return Err(ENOENT),
            (Err(_), _) => return Err(EBADF),
        };
        if change.flags & EV_DELETE != 0 {
            return table.kqueues[self.index].remove(name).ok_or(ENOENT);
        }
        if !known {
            if change.flags & EV_ADD == 0 {
                return Err(ENOENT);
            }
            self.add(table, name, file, change)?;
        }
        let output = table.filter(file, writes, self.kernel.now_ns(), self.personality);
        let queue = &mut table.kqueues[self.index];
        let knote = queue
            .knotes
            .get_mut(&name)
            .expect("the registration exists");
        if change.flags & EV_ADD != 0 || self.personality != Personality::NetBsd {
            knote.udata = change.udata;
            knote.low_water = low_water_of(change);
        }
        if change.flags & EV_ENABLE != 0 {
            knote.enabled = true;
        }
        if change.flags & EV_DISABLE != 0 {
            knote.enabled = false;
        }
        // Each change evaluates the filter; on NetBSD only an addition does.
        let evaluates = change.flags & EV_ADD != 0 || self.personality != Personality::NetBsd;
        if evaluates {
            queue.evaluate(name, &output);
        }
        Ok(())
    }

    fn apply_timer(&self, table: &mut Table, change: &Kevent) -> Result<(), i32> {
        let timer = &mut table.kqueues[self.index].timer;
        if change.flags & EV_DELETE != 0 {
            return timer.take().map(drop).ok_or(ENOENT);
        }
        let after = u64::try_from(change.data).unwrap_or(0);
        let due_ns = self
            .kernel
            .now_ns()
            .saturating_add(after.saturating_mul(1_000_000));
        // NetBSD before 10 keeps the due time of the first addition.
        let keeps_first = self.personality == Personality::NetBsd;
        let due_ns = timer
            .filter(|_| keeps_first)
            .map_or(due_ns, |(first, _)| first);
        *timer = Some((due_ns, change.udata));
        Ok(())
    }

    fn add(
        &self,
        table: &mut Table,
        name: KnoteName,
        file: u64,
        change: &Kevent,
    ) -> Result<(), i32> {
        let broken = matches!(
            &table.at(file).body,
            Body::Endpoint(end) if !end.is_socket() && end.peer.is_none()
        );
        match self.personality {
            Personality::Apple => {}
            Personality::NetBsd if broken && name.1 => return Err(EBADF),
            _ if broken && name.1 => return Err(EPIPE),
            _ => {}
        }
        let knote = Knote {
            file,
            udata: change.udata,
            mode: change.flags & (EV_CLEAR | EV_DISPATCH | EV_ONESHOT),
            enabled: change.flags & EV_DISABLE == 0,
            is_detached: false,
            low_water: low_water_of(change),
            is_ready: false,
        };
        table.kqueues[self.index].knotes.insert(name, knote);
        let knotes = &mut table.at(file).knotes;
        if !knotes.contains(&(self.index, name.0)) {
            knotes.push((self.index, name.0));
        }
        Ok(())
    }

    /// Goes through the ready list once, and appends the events: each registration at most once, round
    /// robin over the calls.
    fn collect(&self, table: &mut Table, out: &mut Vec<Kevent>) -> bool {
        let before = out.len();
        let now_ns = self.kernel.now_ns();
        let timer = &mut table.kqueues[self.index].timer;
        if let Some((_, udata)) = timer.take_if(|(due_ns, _)| *due_ns <= now_ns) {
            out.push(Kevent {
                ident: 0,
                filter: Filter::Timer,
                flags: EV_ONESHOT,
                fflags: 0,
                data: 1,
                udata,
            });
        }
        let Table {
            kqueues, faults, ..
        } = &mut *table;
        if faults.shuffle {
            kqueues[self.index].ready.shuffle(faults.rng());
        }
        let mut left = table.kqueues[self.index].ready.len();
        let max = table.faults.max_events();
        while left > 0 && out.len() - before < max {
            left -= 1;
            let Some(name) = table.kqueues[self.index].ready.pop_front() else {
                break;
            };
            let knote = &table.kqueues[self.index].knotes[&name];
            let (file, mode) = (knote.file, knote.mode);
            let output = table.filter(file, name.1, self.kernel.now_ns(), self.personality);
            let Knotes { knotes, ready, .. } = &mut table.kqueues[self.index];
            let knote = knotes
                .get_mut(&name)
                .expect("the ready list has only registrations");
            knote.is_ready = false;
            // A one-shot is not evaluated again: its condition may not hold any more.
            if !output.activates(knote.low_water) && mode & EV_ONESHOT == 0 {
                continue;
            }
            let flags = match self.personality {
                Personality::Apple => mode | EV_ADD,
                _ => mode | EV_RECEIPT,
            };
            out.push(Kevent {
                ident: usize::try_from(name.0).expect("a number is not negative"),
                filter: if name.1 { Filter::Write } else { Filter::Read },
                flags: flags | if output.eof { EV_EOF } else { 0 },
                fflags: output.error,
                data: output.data,
                udata: knote.udata,
            });
            if mode & EV_DISPATCH != 0 {
                knote.enabled = false;
            } else if mode & (EV_CLEAR | EV_ONESHOT) == 0 {
                knote.is_ready = true;
                ready.push_back(name);
            }
            if mode & EV_ONESHOT != 0 {
                knotes.remove(&name);
            }
        }
        out.len() > before
    }
}

/// Returns the low-water mark of a change; one without `NOTE_LOWAT`.
fn low_water_of(change: &Kevent) -> i64 {
    match change.fflags & NOTE_LOWAT != 0 {
        true => change.data,
        false => 1,
    }
}

impl KqueueSys for SimKqueue {
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        for (change, error) in changes.iter().zip(errors) {
            *error = self.apply(&mut table, change).err().unwrap_or(0);
        }
        Ok(())
    }

    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()> {
        let notified = virtual_wait::wait(&self.kernel, &self.notifier, timeout, |table| {
            let any = self.collect(table, out);
            table.trace_line(|| format!("{out:?}"));
            any
        })?;
        if notified {
            out.push(Kevent {
                ident: 0,
                filter: Filter::User,
                flags: EV_CLEAR,
                fflags: 0,
                data: 0,
                udata: NOTIFIER,
            });
        }
        Ok(())
    }

    fn clear_notification(&mut self) {}

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn file_kind(&self, fd: RawFd) -> io::Result<FileKind> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(fd)?;
        match &table.at(file).body {
            Body::Regular { .. } => Err(os(EPERM)),
            Body::Endpoint(end) if !end.is_socket() => Ok(FileKind::Pipe),
            Body::Endpoint(_) | Body::Listener(_) | Body::Datagrams(_) => Ok(FileKind::Socket),
            Body::Timer { .. } | Body::Notifier { .. } => Ok(FileKind::Other),
        }
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        Some(Rc::new(self.kernel.clone()))
    }
}

impl Drop for SimKqueue {
    fn drop(&mut self) {
        let mut table = self.kernel.table.borrow_mut();
        let empty = Knotes::new(self.personality);
        let queue = std::mem::replace(&mut table.kqueues[self.index], empty);
        for ((number, _), knote) in queue.knotes {
            let knotes = &mut table.at(knote.file).knotes;
            knotes.retain(|&other| other != (self.index, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use readily::clock::Clock;
    use readily::poll::Poller;

    #[test]
    fn a_deadline_ends_a_wait_once_and_can_be_moved_and_cleared() {
        for system in [
            Personality::Apple,
            Personality::FreeBsd,
            Personality::NetBsd,
        ] {
            let kernel = Kernel::new();
            let mut poller = kernel.kqueue(system);
            let mut events = Vec::new();
            let mut waits = |poller: &mut dyn Poller, limit: u64| {
                let before = kernel.clock().now_ns();
                poller
                    .wait(&mut events, Some(Duration::from_secs(limit)))
                    .unwrap();
                assert!(events.is_empty(), "a deadline is no event");
                Duration::from_nanos(kernel.clock().now_ns() - before)
            };
            let second = Duration::from_secs(1);
            poller.set_deadline(Some(3 * second)).unwrap();
            poller.set_deadline(Some(2 * second)).unwrap();
            assert_eq!(
                waits(&mut poller, 9),
                2 * second,
                "the last deadline counts"
            );
            assert_eq!(
                waits(&mut poller, 9),
                9 * second,
                "the deadline has passed, and is cleared"
            );
            poller.set_deadline(Some(second)).unwrap();
            poller.set_deadline(None).unwrap();
            poller.set_deadline(None).unwrap();
            assert_eq!(
                waits(&mut poller, 9),
                9 * second,
                "the deadline was cleared"
            );
            poller.set_deadline(Some(Duration::from_nanos(1))).unwrap();
            assert_eq!(
                waits(&mut poller, 9),
                Duration::from_millis(1),
                "rounded up"
            );
            poller.set_deadline(Some(Duration::ZERO)).unwrap();
            assert_eq!(waits(&mut poller, 9), Duration::ZERO);
        }
    }
}
