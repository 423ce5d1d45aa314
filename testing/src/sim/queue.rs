//! A kqueue over a kernel in memory, as FreeBSD, macOS or NetBSD have it.
//!
//! The project's own kqueue poller runs on it, with its changelists and receipts, where no BSD is
//! at hand. The rules are those of the systems' manuals and sources: a registration is a number and a filter; it is activated when its filter finds its condition,
//! looked at once more when it is delivered, and dropped when its number is closed.
//!
//! An emulation is no oracle. What it proves is that the poller keeps its promises if the systems
//! keep theirs.

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

/// A kqueue in memory.
#[derive(Debug)]
pub struct SimQueue {
    kernel: Kernel,
    place: usize,
    personality: Personality,
    notifier: Arc<SimNotifier>,
}

impl Kernel {
    /// Returns the crate's kqueue poller, over a kqueue of this kernel that behaves as on
    /// `personality`'s system. From now on the kernel's sockets behave so, too.
    #[must_use]
    pub fn kqueue(&self, personality: Personality) -> KqueuePoller<SimQueue> {
        let mut table = self.table.borrow_mut();
        table.queues.push(Knotes::new(personality));
        table.system = Some(personality);
        let place = table.queues.len() - 1;
        drop(table);
        KqueuePoller::with(SimQueue {
            kernel: self.clone(),
            place,
            personality,
            notifier: Arc::default(),
        })
    }
}

impl SimQueue {
    /// One entry of a changelist; its receipt.
    fn apply(&self, table: &mut Table, change: &Kevent) -> Result<(), i32> {
        if change.filter == Filter::Timer {
            return self.apply_timer(table, change);
        }
        let number = i32::try_from(change.ident).map_err(|_| EBADF)?;
        let writes = change.filter == Filter::Write;
        let name = (number, writes);
        // Taking out never fails for want of anything, so only additions count as calls that may.
        if change.flags & EV_ADD != 0 {
            let called = table.faults.call();
            called.map_err(|failed| failed.raw_os_error().unwrap_or(ENOMEM))?;
            let chance = table.faults.enomem;
            if table.faults.strikes(chance) {
                return Err(ENOMEM);
            }
        }
        let known = table.queues[self.place].knotes.contains_key(&name);
        let file = match (table.file(number), self.personality) {
            (Ok(file), _) => file,
            // macOS looks for the registration first.
            (Err(_), Personality::Apple) if change.flags & EV_ADD == 0 => return Err(ENOENT),
            (Err(_), _) => return Err(EBADF),
        };
        if change.flags & EV_DELETE != 0 {
            return table.queues[self.place].forget(name).ok_or(ENOENT);
        }
        if !known {
            if change.flags & EV_ADD == 0 {
                return Err(ENOENT);
            }
            self.add(table, name, file, change)?;
        }
        let found = table.filter(file, writes, self.kernel.now_ns(), self.personality);
        let notes = &mut table.queues[self.place];
        let note = notes.knotes.get_mut(&name).expect("it was added or known");
        if change.flags & EV_ADD != 0 || self.personality != Personality::NetBsd {
            note.udata = change.udata;
            note.least = least(change);
        }
        if change.flags & EV_ENABLE != 0 {
            note.enabled = true;
        }
        if change.flags & EV_DISABLE != 0 {
            note.enabled = false;
        }
        // Any change looks again; NetBSD does only where something is added.
        let looks = change.flags & EV_ADD != 0 || self.personality != Personality::NetBsd;
        if looks {
            notes.evaluate(name, &found);
        }
        Ok(())
    }

    fn apply_timer(&self, table: &mut Table, change: &Kevent) -> Result<(), i32> {
        let timer = &mut table.queues[self.place].timer;
        if change.flags & EV_DELETE != 0 {
            return timer.take().map(drop).ok_or(ENOENT);
        }
        let after = u64::try_from(change.data).unwrap_or(0);
        let due_ns = self
            .kernel
            .now_ns()
            .saturating_add(after.saturating_mul(1_000_000));
        // NetBSD before 10 goes on counting from where it was added first.
        let counts_on = self.personality == Personality::NetBsd;
        let due_ns = timer
            .filter(|_| counts_on)
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
        let note = Knote {
            file,
            udata: change.udata,
            mode: change.flags & (EV_CLEAR | EV_DISPATCH | EV_ONESHOT),
            enabled: change.flags & EV_DISABLE == 0,
            deaf: false,
            least: least(change),
            listed: false,
        };
        table.queues[self.place].knotes.insert(name, note);
        let noted = &mut table.at(file).noted;
        if !noted.contains(&(self.place, name.0)) {
            noted.push((self.place, name.0));
        }
        Ok(())
    }

    /// Goes through the list once: each registration at most once, round robin over the calls.
    fn collect(&self, table: &mut Table, out: &mut Vec<Kevent>) -> bool {
        let before = out.len();
        let now_ns = self.kernel.now_ns();
        let timer = &mut table.queues[self.place].timer;
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
        let Table { queues, faults, .. } = &mut *table;
        if faults.shuffle {
            queues[self.place].list.shuffle(faults.chance());
        }
        let mut left = table.queues[self.place].list.len();
        let most = table.faults.most();
        while left > 0 && out.len() - before < most {
            left -= 1;
            let Some(name) = table.queues[self.place].list.pop_front() else {
                break;
            };
            let note = &table.queues[self.place].knotes[&name];
            let (file, mode) = (note.file, note.mode);
            let found = table.filter(file, name.1, self.kernel.now_ns(), self.personality);
            let Knotes {
                knotes: notes,
                list,
                ..
            } = &mut table.queues[self.place];
            let note = notes.get_mut(&name).expect("who is listed is registered");
            note.listed = false;
            // A one-shot is not looked at again: its condition may have gone.
            if !found.activates(note.least) && mode & EV_ONESHOT == 0 {
                continue;
            }
            let kept = match self.personality {
                Personality::Apple => mode | EV_ADD,
                _ => mode | EV_RECEIPT,
            };
            out.push(Kevent {
                ident: usize::try_from(name.0).expect("it is no negative number"),
                filter: if name.1 { Filter::Write } else { Filter::Read },
                flags: kept | if found.eof { EV_EOF } else { 0 },
                fflags: found.error,
                data: found.data,
                udata: note.udata,
            });
            if mode & EV_DISPATCH != 0 {
                note.enabled = false;
            } else if mode & (EV_CLEAR | EV_ONESHOT) == 0 {
                note.listed = true;
                list.push_back(name);
            }
            if mode & EV_ONESHOT != 0 {
                notes.remove(&name);
            }
        }
        out.len() > before
    }
}

/// The least amount that a change asks for.
fn least(change: &Kevent) -> i64 {
    match change.fflags & NOTE_LOWAT != 0 {
        true => change.data,
        false => 1,
    }
}

impl KqueueSys for SimQueue {
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        for (change, error) in changes.iter().zip(errors) {
            *error = self.apply(&mut table, change).err().unwrap_or(0);
        }
        Ok(())
    }

    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()> {
        let rung = virtual_wait::wait(&self.kernel, &self.notifier, timeout, |table| {
            let found = self.collect(table, out);
            table.trace_line(|| format!("{out:?}"));
            found
        })?;
        if rung {
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

impl Drop for SimQueue {
    fn drop(&mut self) {
        let mut table = self.kernel.table.borrow_mut();
        let empty = Knotes::new(self.personality);
        let notes = std::mem::replace(&mut table.queues[self.place], empty);
        for ((number, _), note) in notes.knotes {
            let noted = &mut table.at(note.file).noted;
            noted.retain(|&other| other != (self.place, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use readily::clock::Clock;
    use readily::poll::Poller;

    #[test]
    fn a_deadline_ends_a_wait_once_and_is_moved_and_taken_back() {
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
                assert!(events.is_empty(), "it is nobody's event");
                Duration::from_nanos(kernel.clock().now_ns() - before)
            };
            let second = Duration::from_secs(1);
            poller.set_deadline(Some(3 * second)).unwrap();
            poller.set_deadline(Some(2 * second)).unwrap();
            assert_eq!(waits(&mut poller, 9), 2 * second, "the last word counts");
            assert_eq!(
                waits(&mut poller, 9),
                9 * second,
                "it has come, and is gone"
            );
            poller.set_deadline(Some(second)).unwrap();
            poller.set_deadline(None).unwrap();
            poller.set_deadline(None).unwrap();
            assert_eq!(waits(&mut poller, 9), 9 * second, "it was taken back");
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
