//! `O_NONBLOCK` on files that other processes may share: set, set again, and restored.
//!
//! The flag belongs to the open file description, not to the number. Each process with a duplicate of
//! it (a parent on the same terminal, `inetd`, a child) sees the flag change, and may change it. So
//! that a file is left as it was found, a [`Hold`] that has set the flag owes it: its release makes the file
//! blocking again. A file that was non-blocking when it was held is never made blocking.
//!
//! Restoring the flag while another registration of the same file lives (a socket that was cloned for several
//! threads) would make that one block. So the holds of the whole process are listed here, and a hold of the
//! same file takes the debt over. Device, inode and access mode only limit the choice: all eventfds, timerfds
//! and epolls of Linux share one inode, and two opens of a FIFO share theirs.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cvt;
use crate::fork::ForkGuard;
use crate::same_file;
use crate::sorted::SortedMap;
use crate::unix::file_id::FileId;
use crate::unix::held::{File, Held, Kind};
use crate::unix::socket;

/// Where a hold is listed: its group, and its number with the upper half first.
type Place = [u16; 3];

/// In groups, so that the holds of one file are beside each other, and by their numbers.
type Holds = SortedMap<Place, Held>;

/// What one process holds.
#[derive(Debug)]
struct Table {
    process: ForkGuard,
    held: Mutex<Holds>,
}

/// The table of this process, or of its parent until the first look after a fork.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());

/// The number of the latest hold. A child goes on from there, so no hold of its own has the number of one of its
/// parent's.
static LATEST: AtomicU32 = AtomicU32::new(0);

impl Table {
    /// The latest table, whether it is of this process or of its parent.
    fn latest() -> Option<&'static Self> {
        Self::at(TABLE.load(Ordering::Acquire))
    }

    fn at(table: *mut Self) -> Option<&'static Self> {
        // SAFETY: null, or a table that `of_this_process` has stored: it is never freed nor borrowed mutably.
        unsafe { table.as_ref() }
    }

    /// The table of this process, which is made if there is none. A fork may have happened while another
    /// thread had the parent's lock: that thread is not in the child, and the lock is never released there.
    /// So a child makes a table of its own, and does not lock that of its parent.
    fn of_this_process() -> io::Result<&'static Self> {
        let mut found = TABLE.load(Ordering::Acquire);
        loop {
            match Self::at(found) {
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
    fn lock(&self) -> MutexGuard<'_, Holds> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is kept non-blocking, until [`release`](Hold::release). Dropped without that, the
/// file stays non-blocking.
///
/// It has its place in the list, its group and its number, in six bytes; what else is known of it is there.
#[derive(Debug)]
pub struct Hold([u8; 6]);

impl Hold {
    /// The bit of the number that says whether the file was blocking.
    const WAS_BLOCKING: u32 = 1;

    fn new(id: FileId, was_blocking: bool) -> Self {
        let number = LATEST.fetch_add(2, Ordering::Relaxed) | u32::from(was_blocking);
        let [g0, g1] = id.group().to_ne_bytes();
        let [n0, n1, n2, n3] = number.to_be_bytes();
        Self([g0, g1, n0, n1, n2, n3])
    }

    fn place(&self) -> Place {
        let [g0, g1, n0, n1, n2, n3] = self.0;
        let halves = [[n0, n1], [n2, n3]].map(u16::from_be_bytes);
        [u16::from_ne_bytes([g0, g1]), halves[0], halves[1]]
    }

    /// Whether the file was blocking.
    #[must_use]
    pub fn was_blocking(&self) -> bool {
        u32::from(self.0[5]) & Self::WAS_BLOCKING != 0
    }

    /// Ends the hold of `fd`, which must be the held descriptor. If this hold has set the flag, the file is
    /// made blocking again, unless another hold of the same file in this process is left, which takes that over.
    ///
    /// Nothing is changed in a fork of the process that held it, nor if the number is another file's by now.
    /// A socket that lingers (`SO_LINGER`) stays non-blocking: on the BSDs `close(2)` of a blocking one waits.
    pub fn release(self, fd: BorrowedFd<'_>) {
        let Some(table) = Table::latest() else {
            return;
        };
        // Before the lock, which another thread of the parent may have had at the fork.
        if table.process.forked() {
            return;
        }
        let mut held = table.lock();
        // It is not in the list if it is the parent's.
        let Some(this) = held.remove(self.place()).filter(|this| this.owes()) else {
            return;
        };
        let [group, ..] = self.place();
        let now = file(fd).ok();
        let now = now.filter(|now| (now.id.group(), now.check()) == (group, this.check));
        let is_one_file = |other| same_file_as(fd, now?.id, other);
        let passed = this.has_identity() && pass_on(&mut held, group, this, is_one_file);
        let is_same = now.is_some();
        if is_same && !passed && !socket::lingers(fd) {
            // An error means that the descriptor is gone, and with it what was to be done.
            let _ = clear(fd);
        }
    }
}

/// Makes `fd` non-blocking, and remembers whether it was blocking.
///
/// # Errors
///
/// Those of `fcntl(2)` and `fstat(2)`; the file is then as it was.
pub fn hold(fd: BorrowedFd<'_>) -> io::Result<Hold> {
    let table = Table::of_this_process()?;
    let mut held = table.lock();
    let file = file(fd)?;
    let owes = set(fd)?;
    // After two thousand million holds the numbers begin again, and an early one may still be held.
    let hold = loop {
        let hold = Hold::new(file.id, owes);
        if held.get_mut(hold.place()).is_none() {
            break hold;
        }
    };
    held.insert(hold.place(), Held::new(file, fd.as_raw_fd(), owes));
    Ok(hold)
}

/// Whether the number `other` is the file of `fd`, which is `id`; `None` where the system does not say and the inode
/// is the same.
fn same_file_as(fd: BorrowedFd<'_>, id: FileId, other: RawFd) -> Option<bool> {
    same_file::is_same(fd, other).or_else(|| match FileId::of(other) {
        Ok((of_other, _)) if of_other == id => None,
        _ => Some(false),
    })
}

/// Looks for a hold that takes over the debt of `ended`, which is off the list; `false` if the flag is to be
/// cleared now. A hold of another descriptor that owes by itself found its file blocking, so it has another one.
/// `is_one_file` is `None` where the system does not say: then one inode is taken for one file, and an anonymous
/// one stays as it is, because clearing its flag now or later may make a file block that was non-blocking.
fn pass_on(
    held: &mut Holds,
    group: u16,
    ended: Held,
    is_one_file: impl Fn(RawFd) -> Option<bool>,
) -> bool {
    let mut is_passed = false;
    held.visit_from([group, 0, 0], &mut |[of, ..], entry| {
        let is_one_fd = entry.fd() == ended.fd();
        let is_alike = of == group && entry.check == ended.check;
        if is_alike && (is_one_fd || !entry.owes()) {
            let answer = match is_one_fd {
                true => Some(true),
                false => is_one_file(entry.fd()),
            };
            is_passed = answer != Some(false);
            if is_passed && (answer.is_some() || !ended.is_anonymous()) {
                entry.fd = !entry.fd();
            }
        }
        of == group && !is_passed
    });
    is_passed
}

/// Makes `fd` non-blocking again, if that was undone; one system call if it was not. Whether the flag is
/// cleared in the end is not changed: that depends on how the file was when it was held.
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
    set(fd).map(drop)
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

/// Makes `fd` blocking: its operations wait.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn clear(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = flags(fd)?;
    set_flags(fd, flags & !libc::O_NONBLOCK)
}

fn file(fd: BorrowedFd<'_>) -> io::Result<File> {
    let (id, mode) = FileId::of(fd.as_raw_fd())?;
    let access = flags(fd)? & libc::O_ACCMODE;
    Ok(File {
        id,
        kind: Kind {
            access: access as u8, // two bits
            is_anonymous: mode & libc::S_IFMT == 0,
        },
    })
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

    /// R131.
    #[test]
    fn a_number_that_is_held_is_not_given_out_again() {
        let file = stream();
        file.set_nonblocking(false).unwrap();
        let duplicates = [file.try_clone().unwrap(), file.try_clone().unwrap()];
        let first = hold(file.as_fd()).unwrap();
        let second = hold(duplicates[0].as_fd()).unwrap();
        // As after two thousand million others.
        let [_, high, low] = second.place();
        let number = u32::from(high) << 16 | u32::from(low);
        LATEST.store(number, Ordering::Relaxed);
        let third = hold(duplicates[1].as_fd()).unwrap();
        assert_ne!(second.place(), third.place());
        first.release(file.as_fd());
        second.release(duplicates[0].as_fd());
        assert!(is_nonblocking(&file), "the third one holds it");
        third.release(duplicates[1].as_fd());
        assert!(!is_nonblocking(&file));
    }

    /// R131, R197. The lock is taken by another thread when the process forks, and no thread of the child releases it.
    #[test]
    fn a_fork_while_another_thread_has_the_lock_leaves_its_child_one_of_its_own() {
        let (ours, undone) = (stream(), stream());
        let holding = hold(ours.as_fd()).unwrap();
        undone.set_nonblocking(false).unwrap();
        let locked = Table::latest().unwrap().lock();
        let says = || {
            // Each of these would wait for ever: the thread ends the child before.
            Hold(holding.0).release(ours.as_fd());
            ensure(undone.as_fd()).unwrap();
            let own = hold(undone.as_fd()).unwrap();
            // The child has a list of its own by now, in which its parent's hold is not.
            Hold(holding.0).release(ours.as_fd());
            own.release(undone.as_fd());
            is_nonblocking(&ours)
        };
        assert!(crate::unix::for_tests::printed_in_a_child(says).unwrap());
        drop(locked);
        holding.release(ours.as_fd());
        assert!(
            !is_nonblocking(&ours),
            "the parent's is released in the parent"
        );
    }

    #[test]
    fn what_is_listed_of_a_hold_takes_twelve_bytes() {
        const { assert!(size_of::<(Place, Held)>() == 12) };
        let stream = stream();
        let found = file(stream.as_fd()).unwrap();
        for (fd, owes) in [(0, true), (0, false), (RawFd::MAX, true), (7, false)] {
            let held = Held::new(found, fd, owes);
            assert_eq!((held.fd(), held.owes()), (fd, owes));
            assert_eq!(held.is_anonymous(), found.kind.is_anonymous);
            assert_eq!(held.has_identity(), found.id != FileId::NONE);
        }
        let (access, is_anonymous) = ([libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR], false);
        let [reads, writes, both] = access.map(|access| {
            let access = access as u8; // two bits
            let kind = Kind {
                access,
                is_anonymous,
            };
            File { kind, ..found }.check()
        });
        assert!(reads != writes && writes != both && both != reads || found.id == FileId::NONE);
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

    /// R131. A flag that is set again is not owed if the file came with it.
    #[test]
    fn a_file_whose_flag_was_cleared_and_set_again_is_left_as_it_came() {
        for came_nonblocking in [true, false] {
            let stream = stream();
            stream.set_nonblocking(came_nonblocking).unwrap();
            let held = hold(stream.as_fd()).unwrap();
            stream.set_nonblocking(false).unwrap();
            ensure(stream.as_fd()).unwrap();
            assert!(is_nonblocking(&stream));
            held.release(stream.as_fd());
            assert_eq!(is_nonblocking(&stream), came_nonblocking);
        }
    }

    /// R131. A number that two loops share: the first release leaves the flag.
    #[test]
    fn a_descriptor_that_is_held_twice_is_blocking_after_its_second_release() {
        let stream = stream();
        let (one, other) = (hold(stream.as_fd()), hold(stream.as_fd()));
        one.unwrap().release(stream.as_fd());
        assert!(is_nonblocking(&stream));
        other.unwrap().release(stream.as_fd());
        assert!(!is_nonblocking(&stream));
    }

    /// Which registration takes a debt over, for each answer of the system (R131).
    #[test]
    fn a_debt_goes_to_the_same_file_and_where_the_system_does_not_say_to_the_same_inode() {
        let owing_after = |is_anonymous, answer| {
            let (id, access) = (FileId::NONE, 0);
            let kind = Kind {
                access,
                is_anonymous,
            };
            let entry = |fd, owes| Held {
                check: 2 | u16::from(is_anonymous),
                ..Held::new(File { id, kind }, fd, owes)
            };
            let mut held = Holds::new();
            held.insert([0, 0, 3], entry(3, true));
            held.insert([0, 0, 4], entry(4, false));
            let ask = |other| {
                assert_eq!(other, 4, "the other has a debt of its own");
                answer
            };
            (
                pass_on(&mut held, 0, entry(5, true), ask),
                held.get_mut([0, 0, 4]).unwrap().owes(),
            )
        };
        for is_anonymous in [false, true] {
            assert_eq!(owing_after(is_anonymous, Some(true)), (true, true));
            assert_eq!(owing_after(is_anonymous, Some(false)), (false, false));
            assert_eq!(owing_after(is_anonymous, None), (true, !is_anonymous));
        }
    }

    #[test]
    fn the_two_ends_of_a_pipe_are_two_files() {
        let (reader, writer) = crate::new_fd::pipe().unwrap();
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
        let duplicate = one.try_clone().unwrap();
        let (first, second) = (hold(one.as_fd()), hold(duplicate.as_fd()));
        first.unwrap().release(other.as_fd());
        assert!(is_nonblocking(&other));
        assert!(is_nonblocking(&one));
        second.unwrap().release(duplicate.as_fd());
        assert!(!is_nonblocking(&one), "the debt was found and passed on");
    }

    #[test]
    fn a_socket_that_lingers_stays_nonblocking() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = OwnedFd::from(stream);
        crate::unix::for_tests::set_linger(stream.as_fd(), 1).unwrap();
        hold(stream.as_fd()).unwrap().release(stream.as_fd());
        assert!(is_nonblocking(&stream));
    }
}
