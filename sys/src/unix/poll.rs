//! `poll(2)`: what every Unix has.
//!
//! The kernel keeps nothing: the whole list goes down with each wait and is walked there
//! and back, so a wait costs as much as there are descriptors. The list is the kernel's own
//! structure, kept between waits, so that at least nothing is copied on our side.
//!
//! In the notes this is the "and so on for others" of N2.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::unix::file_id::{FileId, stat};
use crate::unix::nonblocking;
use crate::{cvt, ppoll, uninterrupted};

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
/// The peer has shut down its writing half; zero where the system does not report it.
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
    /// The system counts no nanoseconds here.
    coarse: bool,
}

impl PollSet {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: Vec::new(),
            coarse: false,
        }
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

    /// Waits until an entry has something to report, and returns how many have.
    ///
    /// `None` waits without a limit, zero only looks. A limit below [`FINE_BELOW`] is kept to the nanosecond
    /// where the system can (`ppoll(2)`); others are rounded up to milliseconds.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal, `EINVAL` for more entries than the limit of descriptors.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if let Some(limit) = timeout.filter(|&limit| !self.coarse && wants_nanoseconds(limit)) {
            match ppoll::wait(&mut self.list, limit) {
                Some(answer) => return Ok(answer? as usize),
                None => self.coarse = true,
            }
        }
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

/// What holds of one descriptor just now: of the bits that are asked for, and those that are reported
/// unasked.
///
/// # Errors
///
/// `ENOMEM`. A number that is not open is no error but [`NVAL`].
pub fn look(fd: BorrowedFd<'_>, events: i16) -> io::Result<i16> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    uninterrupted(|| {
        // SAFETY: `entry` is one live local, which is ours alone until the call returns.
        cvt(unsafe { libc::poll(&raw mut entry, 1, 0) })
    })?;
    Ok(entry.revents)
}

/// Whether a read, or whatever readable stands for, would find something now.
///
/// # Errors
///
/// As [`look`].
pub fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(look(fd, IN)? != 0)
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

/// Returns what kind of file `fd` is. Refuses files that are always ready and make no sense in a
/// poller: regular files and directories. epoll refuses them by itself; `poll(2)` and kqueue do not.
///
/// # Errors
///
/// `EPERM` for those, `EBADF` for a number that is not open.
pub fn file_kind(fd: RawFd) -> io::Result<FileKind> {
    kind_of(FileId::of(fd)?.1)
}

fn kind_of(mode: libc::mode_t) -> io::Result<FileKind> {
    match mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR => Err(io::Error::from_raw_os_error(libc::EPERM)),
        libc::S_IFSOCK => Ok(FileKind::Socket),
        libc::S_IFIFO => Ok(FileKind::Pipe),
        libc::S_IFCHR => Ok(FileKind::Device),
        _ => Ok(FileKind::Other),
    }
}

/// Devices that answer at once, whatever is read or written. Some pollers refuse them, others report them for ever.
const ENDLESS: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"];

/// Whether `fd` is always ready: a regular file, a directory, a disk, or a device such as `/dev/null`.
///
/// # Errors
///
/// `EBADF`.
pub fn is_always_ready(fd: RawFd) -> io::Result<bool> {
    let stat = stat(fd)?;
    Ok(match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => true,
        // The widths differ from system to system; no bit is lost in 64.
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
        libc::S_IFCHR => ENDLESS.iter().any(|path| {
            let device = fs::metadata(path).ok();
            device.is_some_and(|device| device.rdev() == stat.st_rdev as u64)
        }),
        _ => false,
    })
}

/// Whether `fd` only names a file (`O_PATH`): it can be neither read nor polled. Systems without the flag have no such
/// descriptor.
#[must_use]
pub fn is_path_only(fd: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    let flag = libc::O_PATH;
    #[cfg(not(target_os = "linux"))]
    let flag = 0;
    nonblocking::flags(fd).is_ok_and(|flags| flags & flag != 0)
}

/// Whether `fd` may be polled: see [`file_kind`].
///
/// # Errors
///
/// As [`file_kind`].
pub fn is_pollable(fd: RawFd) -> io::Result<()> {
    file_kind(fd).map(drop)
}

/// Which file `fd` leads to, if that may be polled.
///
/// # Errors
///
/// As [`file_kind`].
pub fn pollable_id(fd: RawFd) -> io::Result<FileId> {
    let (id, mode) = FileId::of(fd)?;
    kind_of(mode).map(|_| id)
}

/// How many events one wait of epoll or kqueue reports at most; the next wait begins with the rest. What an
/// event of so many touches is still in the first-level cache when its task runs; of a thousand it has left it.
pub(crate) const WAIT_EVENTS: usize = 64;

/// Above this a thousandth of a limit is more than what rounding up adds to it.
pub const FINE_BELOW: Duration = Duration::from_millis(100);

/// Whether milliseconds would make too much of a limit.
pub(crate) fn wants_nanoseconds(limit: Duration) -> bool {
    limit < FINE_BELOW && limit.subsec_nanos() % 1_000_000 != 0
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
    use std::os::fd::AsFd;

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
    fn only_short_limits_with_a_fraction_ask_for_nanoseconds() {
        assert!(wants_nanoseconds(Duration::from_nanos(1)));
        assert!(!wants_nanoseconds(Duration::ZERO));
        assert!(!wants_nanoseconds(Duration::from_millis(3)));
        assert!(!wants_nanoseconds(FINE_BELOW + Duration::from_nanos(1)));
    }

    /// By which call it was is seen in the limit that the kernel was given: below a millisecond there is
    /// only one that can report it.
    #[test]
    fn a_limit_below_a_millisecond_is_waited_for_and_events_end_it() {
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        for coarse in [false, true] {
            let mut set = PollSet::new();
            set.coarse = coarse;
            set.push(reader.as_raw_fd(), IN);
            let begun = crate::clock::monotonic_ns();
            assert_eq!(set.wait(Some(Duration::from_micros(900))).unwrap(), 0);
            assert!(crate::clock::monotonic_ns() - begun >= 900_000);
            assert_eq!(set.coarse, coarse);
            set.push(writer.as_raw_fd(), OUT);
            assert_eq!(set.wait(Some(Duration::from_micros(900))).unwrap(), 1);
            assert_eq!((set.reported(0), set.reported(1)), (0, OUT));
        }
    }

    #[test]
    fn a_regular_file_and_a_directory_are_refused_and_others_have_their_kind() {
        let exe = fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let dir = fs::File::open("/").unwrap();
        let null = fs::File::open("/dev/null").unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (reader, _writer) = crate::new_fd::pipe().unwrap();
        for always_ready in [&exe, &dir, &null] {
            assert!(is_always_ready(always_ready.as_raw_fd()).unwrap());
        }
        assert!(!is_always_ready(reader.as_raw_fd()).unwrap());
        assert!(!is_always_ready(socket.as_raw_fd()).unwrap());
        let code = |fd| is_pollable(fd).unwrap_err().raw_os_error();
        assert_eq!(code(exe.as_raw_fd()), Some(libc::EPERM));
        assert_eq!(code(dir.as_raw_fd()), Some(libc::EPERM));
        assert_eq!(code(-1), Some(libc::EBADF));
        let kinds = [reader.as_raw_fd(), null.as_raw_fd(), socket.as_raw_fd()]
            .map(|fd| file_kind(fd).unwrap());
        assert_eq!(kinds, [FileKind::Pipe, FileKind::Device, FileKind::Socket]);
    }

    #[test]
    fn a_poll_without_a_timeout_reports_what_holds_and_does_not_wait() {
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        assert_eq!(look(reader.as_fd(), IN | OUT).unwrap(), 0);
        assert_eq!(look(writer.as_fd(), IN | OUT).unwrap(), OUT);
        drop(writer);
        assert_eq!(look(reader.as_fd(), IN).unwrap(), HUP);
    }

    #[test]
    fn a_negative_entry_is_skipped_and_a_dead_one_is_reported() {
        let mut set = PollSet::new();
        set.push(-1, IN);
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
        set.set(0, RawFd::MAX, IN);
        assert_eq!(set.wait(None).unwrap(), 1);
        assert_eq!(set.reported(0), NVAL);
    }
}
