//! `O_NONBLOCK` on files that others may share: set, set again, and put back.
//!
//! The flag belongs to the open file description, not to the number. Each process with a duplicate of
//! it (a parent on the same terminal, `inetd`, a child) sees the flag change, and may change it. So
//! that a file is left as it was found, each [`Hold`] is counted here, for the whole process, by
//! device, inode and access mode: the last one that is dropped makes the file blocking again, if it
//! was blocking before the first. Restoring the flag while another registration of the same file
//! lives (a socket that was cloned for several threads) would make that one block.
//!
//! Not in the notes; a loop that blocks is (N5).

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cvt;
use crate::fork::ForkGuard;
use crate::unix::file_id::FileId;
use crate::unix::socket;

/// An open file, as far as `fstat(2)` and the access mode tell: the two ends of a pipe are one inode.
type Key = (FileId, c_int);

#[derive(Debug)]
struct Held {
    holds: usize,
    was_blocking: bool,
}

/// What one process holds.
#[derive(Debug)]
struct Table {
    process: ForkGuard,
    held: Mutex<BTreeMap<Key, Held>>,
}

/// The table of this process, or of its parent until the first look after a fork.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());

impl Table {
    /// The table of this process, which is made if there is none. A fork may have happened while another
    /// thread had the parent's lock: that thread is not in the child, and the lock is never released there.
    /// So a child makes a table of its own, and does not lock that of its parent.
    fn of_this_process() -> io::Result<&'static Self> {
        let mut found = TABLE.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a table that was stored below: it is never freed nor borrowed mutably.
            match unsafe { found.as_ref() } {
                Some(table) if !table.process.forked() => return Ok(table),
                _ => {}
            }
            let made = Box::into_raw(Box::new(Self {
                process: ForkGuard::new()?,
                held: Mutex::default(),
            }));
            match TABLE.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => found = made,
                Err(other) => {
                    // SAFETY: made above, and no other thread has seen it.
                    drop(unsafe { Box::from_raw(made) });
                    found = other;
                }
            }
        }
    }

    /// System calls are made under this lock: between one thread's look and its change no other thread's
    /// may fall.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is kept non-blocking, until [`release`](Hold::release). Dropped without that, the
/// file stays non-blocking.
#[derive(Debug)]
pub struct Hold {
    /// `None` where the system gives files of this kind no identity.
    key: Option<Key>,
    was_blocking: bool,
    /// Of the process that holds it: a fork has a copy of this, and the file is still its parent's.
    table: &'static Table,
}

/// Makes `fd` non-blocking, and remembers whether it was blocking.
///
/// # Errors
///
/// Those of `fcntl(2)` and `fstat(2)`; the file is then as it was.
pub fn hold(fd: BorrowedFd<'_>) -> io::Result<Hold> {
    let table = Table::of_this_process()?;
    let mut held = table.lock();
    let key = key(fd)?;
    let was_blocking = set(fd)?;
    if let Some(key) = key {
        let entry = held.entry(key).or_insert(Held {
            holds: 0,
            was_blocking: false,
        });
        entry.holds += 1;
        entry.was_blocking |= was_blocking;
    }
    Ok(Hold {
        key,
        was_blocking,
        table,
    })
}

impl Hold {
    /// Whether the file was blocking.
    #[must_use]
    pub fn was_blocking(&self) -> bool {
        self.was_blocking
    }

    /// Ends the hold of `fd`, which must be the held descriptor. If the file was blocking, and no
    /// other hold of it in this process is left, it is made blocking again.
    ///
    /// Nothing is changed in a fork of the process that held it, nor if the number is another file's by now.
    /// A socket that lingers (`SO_LINGER`) stays non-blocking: on the BSDs `close(2)` of a blocking one waits.
    pub fn release(self, fd: BorrowedFd<'_>) {
        // Before the lock, which another thread of the parent may have had at the fork.
        if self.table.process.forked() {
            return;
        }
        let mut held = self.table.lock();
        let mut was_blocking = self.was_blocking;
        if let Some(key) = self.key {
            let Some(entry) = held.get_mut(&key) else {
                return;
            };
            entry.holds -= 1;
            if entry.holds > 0 {
                return;
            }
            was_blocking = entry.was_blocking;
            held.remove(&key);
        }
        let is_same = || key(fd).is_ok_and(|now| now == self.key);
        if was_blocking && is_same() && !socket::lingers(fd) {
            // An error means that the descriptor is gone, and with it what was to be done.
            let _ = clear(fd);
        }
    }
}

/// Makes `fd` non-blocking again, if that was undone; one system call if it was not. A file that is held
/// is then blocking again after its last release.
///
/// # Errors
///
/// Those of `fcntl(2)`.
#[inline]
pub fn ensure(fd: BorrowedFd<'_>) -> io::Result<()> {
    match flags(fd)? & libc::O_NONBLOCK {
        0 => set_again(fd),
        _ => Ok(()),
    }
}

#[cold]
fn set_again(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut held = Table::of_this_process()?.lock();
    let undone = set(fd)?;
    if let Some(entry) = key(fd)?.and_then(|key| held.get_mut(&key)) {
        entry.was_blocking |= undone;
    }
    Ok(())
}

/// Makes `fd` non-blocking; `true` if it was not yet.
pub(crate) fn set(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = flags(fd)?;
    if flags & libc::O_NONBLOCK != 0 {
        return Ok(false);
    }
    set_flags(fd, flags | libc::O_NONBLOCK)?;
    Ok(true)
}

/// Makes `fd` blocking.
pub(crate) fn clear(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = flags(fd)?;
    set_flags(fd, flags & !libc::O_NONBLOCK)
}

fn key(fd: BorrowedFd<'_>) -> io::Result<Option<Key>> {
    match FileId::of(fd.as_raw_fd())?.0 {
        FileId::NONE => Ok(None),
        id => Ok(Some((id, flags(fd)? & libc::O_ACCMODE))),
    }
}

pub(crate) fn flags(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: takes numbers, touches no memory; the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

fn set_flags(fd: BorrowedFd<'_>, flags: c_int) -> io::Result<()> {
    // SAFETY: as above.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// R131, R197. The lock is taken by another thread when the process forks, and no thread of the child releases it.
    #[test]
    fn a_fork_while_another_thread_has_the_lock_leaves_its_child_one_of_its_own() {
        let (ours, undone) = (stream(), stream());
        let holding = hold(ours.as_fd()).unwrap();
        undone.set_nonblocking(false).unwrap();
        let locked = holding.table.lock();
        let says = || {
            // Each of these would wait for ever: the thread ends the child before.
            let copy = Hold {
                key: holding.key,
                was_blocking: true,
                table: holding.table,
            };
            copy.release(ours.as_fd());
            let is_held = is_nonblocking(&ours);
            ensure(undone.as_fd()).unwrap();
            let own = hold(undone.as_fd()).unwrap();
            let apart = !ptr::eq(own.table, holding.table);
            own.release(undone.as_fd());
            is_held && apart
        };
        assert!(crate::for_tests::told_in_a_child(says).unwrap());
        drop(locked);
        holding.release(ours.as_fd());
        assert!(
            !is_nonblocking(&ours),
            "the parent's is released in the parent"
        );
    }

    fn is_nonblocking(fd: &impl AsFd) -> bool {
        flags(fd.as_fd()).unwrap() & libc::O_NONBLOCK != 0
    }

    fn stream() -> UnixStream {
        UnixStream::pair().unwrap().0
    }

    #[test]
    fn a_file_is_blocking_again_after_its_last_hold() {
        let one = stream();
        let other = one.try_clone().unwrap();
        let first = hold(one.as_fd()).unwrap();
        let second = hold(other.as_fd()).unwrap();
        first.release(one.as_fd());
        assert!(is_nonblocking(&other), "another hold has not ended");
        second.release(other.as_fd());
        assert!(!is_nonblocking(&one));
    }

    #[test]
    fn a_file_that_was_nonblocking_stays_so_and_one_that_was_cleared_meanwhile_is_cleared_again() {
        let stream = stream();
        stream.set_nonblocking(true).unwrap();
        hold(stream.as_fd()).unwrap().release(stream.as_fd());
        assert!(is_nonblocking(&stream));
        let held = hold(stream.as_fd()).unwrap();
        stream.set_nonblocking(false).unwrap();
        ensure(stream.as_fd()).unwrap();
        assert!(is_nonblocking(&stream));
        held.release(stream.as_fd());
        assert!(!is_nonblocking(&stream));
    }

    #[test]
    fn the_two_ends_of_a_pipe_are_two_files() {
        let (reader, writer) = crate::fresh::pipe().unwrap();
        clear(reader.as_fd()).unwrap();
        clear(writer.as_fd()).unwrap();
        let (held, other) = (hold(reader.as_fd()).unwrap(), hold(writer.as_fd()).unwrap());
        held.release(reader.as_fd());
        assert!(!is_nonblocking(&reader));
        assert!(is_nonblocking(&writer));
        other.release(writer.as_fd());
        assert!(!is_nonblocking(&writer));
    }

    #[test]
    fn a_number_that_is_another_files_by_now_is_left_alone() {
        let (one, other) = (stream(), stream());
        other.set_nonblocking(true).unwrap();
        hold(one.as_fd()).unwrap().release(other.as_fd());
        assert!(is_nonblocking(&other));
    }

    #[test]
    fn a_socket_that_lingers_stays_nonblocking() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = OwnedFd::from(stream);
        crate::for_tests::set_linger(stream.as_fd(), 1).unwrap();
        hold(stream.as_fd()).unwrap().release(stream.as_fd());
        assert!(is_nonblocking(&stream));
    }
}
