//! `poll(2)`: what every Unix has.
//!
//! The kernel keeps nothing: the whole list goes down with each wait and is walked there
//! and back, so a wait costs as much as there are descriptors. The list is the kernel's own
//! structure, kept between waits, so that at least nothing is copied on our side.
//!
//! In the notes this is the "and so on for others" of N2.

use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::cvt;

/// Something to read, or the end.
pub const IN: i16 = libc::POLLIN;
/// Urgent data.
pub const PRI: i16 = libc::POLLPRI;
/// Room to write.
pub const OUT: i16 = libc::POLLOUT;
/// An error waits; reported unasked.
pub const ERR: i16 = libc::POLLERR;
/// Both halves are closed; reported unasked.
pub const HUP: i16 = libc::POLLHUP;
/// The peer has shut down its writing half; zero where the system does not tell.
pub const RDHUP: i16 = crate::poll_bits::RDHUP;
/// The number is no open descriptor; reported unasked.
pub const NVAL: i16 = libc::POLLNVAL;

/// The list of descriptors that a wait looks at.
///
/// # Panics
///
/// All methods that take an index panic where it is not below the length.
#[derive(Default)]
pub struct PollSet {
    list: Vec<libc::pollfd>,
}

impl PollSet {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds an entry at the end. The kernel skips an entry whose `fd` is negative.
    pub fn push(&mut self, fd: RawFd, events: i16) {
        self.list.push(libc::pollfd {
            fd,
            events,
            revents: 0,
        });
    }

    /// Changes an entry.
    pub fn set(&mut self, index: usize, fd: RawFd, events: i16) {
        self.list[index] = libc::pollfd {
            fd,
            events,
            revents: 0,
        };
    }

    /// Removes an entry; the last one takes its place.
    pub fn swap_remove(&mut self, index: usize) {
        self.list.swap_remove(index);
    }

    /// What the last wait reported for an entry; an entry that has been changed since
    /// reports nothing.
    #[must_use]
    pub fn reported(&self, index: usize) -> i16 {
        self.list[index].revents
    }

    /// Waits until an entry has something to report, and says how many do.
    ///
    /// `None` waits without a limit, zero only looks; milliseconds are rounded up.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal, `EINVAL` for more entries than the limit of descriptors.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let (list, len) = (self.list.as_mut_ptr(), self.list.len() as libc::nfds_t);
        // SAFETY: `list` has `len` entries, and `&mut self` keeps every other reader and
        // writer out while the kernel fills them in; dead numbers are reported, not used.
        let n = cvt(unsafe { libc::poll(list, len, millis(timeout)) })?;
        Ok(n as usize)
    }
}

impl std::fmt::Debug for PollSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.list.iter().map(|entry| entry.fd))
            .finish()
    }
}

/// What a descriptor leads to, as far as pollers distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A socket of any kind.
    Socket,
    /// A pipe or a FIFO.
    Pipe,
    /// A character device: a terminal, `/dev/null`.
    Device,
    /// Anything else that may be polled.
    Other,
}

/// Says what `fd` leads to. Refuses what is always ready and therefore makes no sense in a poller:
/// regular files and directories. epoll does that by itself; `poll(2)` and kqueue have to be told.
///
/// # Errors
///
/// `EPERM` for those, `EBADF` for a number that is not open.
pub fn file_kind(fd: RawFd) -> io::Result<FileKind> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has space for the structure that is written; a number that is not open
    // gives `EBADF`.
    cvt(unsafe { libc::fstat(fd, stat.as_mut_ptr()) })?;
    // SAFETY: the call above has succeeded, so all of it is written.
    let stat = unsafe { stat.assume_init() };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR => Err(io::Error::from_raw_os_error(libc::EPERM)),
        libc::S_IFSOCK => Ok(FileKind::Socket),
        libc::S_IFIFO => Ok(FileKind::Pipe),
        libc::S_IFCHR => Ok(FileKind::Device),
        _ => Ok(FileKind::Other),
    }
}

/// Whether `fd` may be polled: see [`file_kind`].
///
/// # Errors
///
/// As [`file_kind`].
pub fn is_pollable(fd: RawFd) -> io::Result<()> {
    file_kind(fd).map(drop)
}

/// Milliseconds for `epoll_wait(2)` and `poll(2)`, rounded **up**.
///
/// Rounding down would turn the last 999 µs before a deadline into a zero timeout, and the
/// loop would spin through them. What does not fit is clamped, for the kernel takes a
/// negative number for "for ever".
pub(crate) fn millis(timeout: Option<Duration>) -> c_int {
    let Some(timeout) = timeout else { return -1 };
    c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn milliseconds_are_rounded_up_and_zero_stays_zero() {
        let of = |d| millis(Some(d));
        assert_eq!(of(Duration::ZERO), 0);
        assert_eq!(of(Duration::from_nanos(1)), 1);
        assert_eq!(of(Duration::from_micros(1001)), 2);
        assert_eq!(of(Duration::from_millis(7)), 7);
        assert_eq!(of(Duration::MAX), c_int::MAX);
        assert_eq!(millis(None), -1);
    }

    #[test]
    fn a_regular_file_and_a_directory_are_refused_and_others_have_their_kind() {
        let exe = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let dir = std::fs::File::open("/").unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (reader, _writer) = crate::fresh::pipe().unwrap();
        let code = |fd| is_pollable(fd).unwrap_err().raw_os_error();
        assert_eq!(code(exe.as_raw_fd()), Some(libc::EPERM));
        assert_eq!(code(dir.as_raw_fd()), Some(libc::EPERM));
        assert_eq!(code(-1), Some(libc::EBADF));
        let kinds = [reader.as_raw_fd(), null.as_raw_fd(), socket.as_raw_fd()]
            .map(|fd| file_kind(fd).unwrap());
        assert_eq!(kinds, [FileKind::Pipe, FileKind::Device, FileKind::Socket]);
    }

    #[test]
    fn a_negative_entry_is_skipped_and_a_dead_one_is_told() {
        let mut set = PollSet::new();
        set.push(-1, IN);
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
        set.set(0, RawFd::MAX, IN);
        assert_eq!(set.wait(None).unwrap(), 1);
        assert_eq!(set.reported(0), NVAL);
    }
}
