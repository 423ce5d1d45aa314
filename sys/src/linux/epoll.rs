//! epoll: the selector of Linux.
//!
//! Three changes and a wait, as the kernel has them, with the kernel's own bits. The kernel
//! writes the events of a wait into the buffer of the caller, who keeps it between calls, so a
//! turn of the loop allocates nothing.
//!
//! In the notes this is the *selector* of Linux (N2).

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::event::Event;
use crate::cvt;
use crate::unix::clock::monotonic_ns;
use crate::unix::poll::{FINE_BELOW, WAIT_EVENTS, millis, wants_nanoseconds};

/// Something to read, or the end.
pub const IN: u32 = libc::EPOLLIN as u32;
/// Urgent data.
pub const PRI: u32 = libc::EPOLLPRI as u32;
/// Room to write.
pub const OUT: u32 = libc::EPOLLOUT as u32;
/// An error waits; reported unasked.
pub const ERR: u32 = libc::EPOLLERR as u32;
/// Both halves are closed; reported unasked.
pub const HUP: u32 = libc::EPOLLHUP as u32;
/// The peer has shut down its writing half.
pub const RDHUP: u32 = libc::EPOLLRDHUP as u32;
/// Report a change, not a state.
pub const ET: u32 = libc::EPOLLET as u32;
/// Report once, then nothing until the next `modify`.
pub const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

/// An epoll instance.
pub struct Epoll {
    fd: OwnedFd,
    /// Whether `epoll_pwait2(2)` is still worth a try: older kernels do not have it, and
    /// containers forbid it.
    fine: bool,
}

impl Epoll {
    /// A wait reports so many events at most. One that reports fewer has reported all that there were.
    pub const ROOM: usize = WAIT_EVENTS;

    /// Makes an instance that does not survive `exec`.
    ///
    /// # Errors
    ///
    /// Too many descriptors (`EMFILE`, `ENFILE`), or no memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes a flag, touches no memory.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, fine: true })
    }

    /// Starts to watch `fd`; `token` comes back with its events.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `EBADF`, `EPERM` (regular files, directories), `ELOOP` and `EINVAL` (an
    /// epoll instance in itself), `ENOMEM`, `ENOSPC` (`max_user_watches`).
    #[inline]
    pub fn add(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// Changes bits and token, and looks at the state anew.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EBADF`.
    pub fn modify(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Stops watching `fd`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EBADF`.
    #[inline]
    pub fn delete(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    #[inline]
    fn control(&self, what: c_int, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` is a live local that the kernel only reads, before it returns; a
        // number that is no descriptor gives an error, and so does one of the wrong kind.
        cvt(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, fd, &raw mut event) })?;
        Ok(())
    }

    /// Waits for events, and appends them to `events`; returns how many there are.
    ///
    /// `None` waits without a limit, zero only looks. A limit is kept to the nanosecond if the
    /// kernel can, and is rounded up to milliseconds otherwise.
    ///
    /// A wait reports at most [`ROOM`](Self::ROOM) events, and reserves room for so many first. The next
    /// wait begins with the rest.
    ///
    /// # Errors
    ///
    /// `EINTR` after a signal: the caller knows whether its deadline is over.
    #[inline]
    pub fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let millis = match timeout {
            None => -1,
            Some(Duration::ZERO) => 0,
            Some(limit) => return self.wait_limited(events, limit),
        };
        self.wait_into(events, |epoll, room| epoll.wait_millis(room, millis))
    }

    /// Has `wait` write into the spare capacity of `events`; it returns no more than there is room for.
    #[inline]
    fn wait_into(
        &mut self,
        events: &mut Vec<Event>,
        wait: impl FnOnce(&mut Self, &mut Room) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let before = events.len();
        let room = match events.spare_capacity_mut().get_mut(..Self::ROOM) {
            Some(room) => room,
            None => reserve(events),
        };
        let n = wait(self, room)?;
        // SAFETY: the kernel wrote the first `n` entries behind the `before` that there were, and
        // `n` is at most the length of `room`.
        unsafe { events.set_len(before + n) };
        Ok(n)
    }

    /// Waits in one of three ways. Above [`FINE_BELOW`] a wait goes in two steps; below, `epoll_pwait2(2)`
    /// is worth its price (about half as much again as `epoll_wait(2)`).
    #[inline(never)]
    fn wait_limited(&mut self, events: &mut Vec<Event>, limit: Duration) -> io::Result<usize> {
        self.wait_into(events, |epoll, room| match limit {
            _ if limit >= FINE_BELOW => epoll.wait_long(room, limit),
            _ if epoll.fine && wants_nanoseconds(limit) => epoll.wait_fine(room, limit),
            _ => epoll.wait_millis(room, millis(Some(limit))),
        })
    }

    /// The kernel allows itself a thousandth of a limit, of a nice process a two-hundredth, to wake
    /// for several at once: a second is late by a millisecond. So the last hundredth is waited for
    /// by itself, which makes it late by ten microseconds; that costs one call in a hundred
    /// milliseconds, and none if there are events.
    #[cold]
    fn wait_long(&mut self, room: &mut Room, limit: Duration) -> io::Result<usize> {
        let begun = monotonic_ns();
        let most = limit - limit / 100;
        let n = self.wait_millis(room, millis(Some(most)))?;
        let gone = Duration::from_nanos(monotonic_ns().saturating_sub(begun));
        // Where there are none and most of it is left, it was cut to what the kernel can count.
        if n != 0 || gone < most || gone >= limit {
            return Ok(n);
        }
        match limit - gone {
            rest if self.fine => self.wait_fine(room, rest),
            rest => self.wait_millis(room, millis(Some(rest))),
        }
    }

    #[inline]
    fn wait_millis(&mut self, room: &mut Room, timeout: c_int) -> io::Result<usize> {
        let (fd, list, len) = (self.fd.as_raw_fd(), room.as_mut_ptr(), room.len());
        // SAFETY:
        // - `list` has space for `len` events, which have the layout of the kernel's, and the `&mut`
        //   keeps every other reader and writer out while the kernel fills it;
        // - `fd` is an epoll descriptor, open for as long as `self` lives.
        let n = cvt(unsafe { libc::epoll_wait(fd, list.cast(), len as c_int, timeout) })?;
        Ok(n as usize)
    }

    fn wait_fine(&mut self, room: &mut Room, limit: Duration) -> io::Result<usize> {
        // Not `libc::timespec`: the kernel's is 64 bits wide on every target here.
        let limit64 = [limit.as_secs() as i64, i64::from(limit.subsec_nanos())];
        let (fd, list, len) = (self.fd.as_raw_fd(), room.as_mut_ptr(), room.len());
        let mask = ptr::null::<libc::sigset_t>();
        let call = libc::SYS_epoll_pwait2;
        // SAFETY:
        // - number and order of the arguments are those of epoll_pwait2(2): descriptor,
        //   list, room, limit, signal mask, size of the mask;
        // - `list` has space for `len` events, which have the layout of the kernel's, and the `&mut`
        //   keeps all other readers and writers out;
        // - `limit64` has the layout of the kernel's timespec and outlives the call;
        // - a null mask leaves the signals alone, and its size is then not looked at.
        let n =
            unsafe { libc::syscall(call, fd, list, len as c_int, limit64.as_ptr(), mask, 0usize) };
        match cvt_long(n) {
            Err(e) if is_refusal(e.raw_os_error()) => {
                self.fine = false;
                self.wait_millis(room, millis(Some(limit)))
            }
            answer => answer,
        }
    }
}

/// The spare capacity of a buffer, into which the kernel writes.
type Room = [MaybeUninit<Event>];

/// Makes room behind the events that there are.
#[cold]
fn reserve(events: &mut Vec<Event>) -> &mut Room {
    events.reserve_exact(Epoll::ROOM);
    &mut events.spare_capacity_mut()[..Epoll::ROOM]
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

fn cvt_long(answer: libc::c_long) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// Whether the system lacks `epoll_pwait2(2)`: an older kernel, an emulator, or a sandbox, which may
/// return any error. If something else is wrong, `epoll_wait(2)` returns an error too.
fn is_refusal(errno: Option<c_int>) -> bool {
    !matches!(errno, Some(libc::EINTR | libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::Readiness;
    use std::collections::BTreeSet;

    #[test]
    fn whatever_a_sandbox_says_to_nanoseconds_is_no_error_of_the_wait() {
        let refused = |errno| is_refusal(Some(errno));
        let answers: Vec<_> = (1..=133).filter(|&errno| !refused(errno)).collect();
        assert_eq!(answers, [libc::EINTR, libc::EBADF]);
    }

    #[test]
    fn a_long_wait_is_over_when_its_limit_is_and_not_before() {
        let mut epoll = Epoll::new().unwrap();
        for fine in [true, false] {
            epoll.fine = fine;
            let limit = FINE_BELOW + Duration::from_nanos(1);
            let begun = monotonic_ns();
            assert_eq!(epoll.wait(&mut Vec::new(), Some(limit)).unwrap(), 0);
            assert!(u128::from(monotonic_ns() - begun) >= limit.as_nanos());
        }
    }

    #[test]
    fn a_long_wait_ends_with_an_event() {
        let mut epoll = Epoll::new().unwrap();
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        drop(writer);
        epoll.add(reader.as_raw_fd(), IN, 7).unwrap();
        assert_eq!(epoll.wait(&mut Vec::new(), Some(Duration::MAX)).unwrap(), 1);
    }

    #[test]
    fn a_kernel_without_nanoseconds_is_asked_once() {
        let mut epoll = Epoll::new().unwrap();
        epoll.fine = false;
        assert_eq!(
            epoll
                .wait(&mut Vec::new(), Some(Duration::from_nanos(1)))
                .unwrap(),
            0
        );
    }

    #[test]
    fn events_come_with_all_bits_of_their_token() {
        let mut epoll = Epoll::new().unwrap();
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        drop(writer);
        epoll.add(reader.as_raw_fd(), IN, u64::MAX - 1).unwrap();
        let mut events = vec![Event::new(3, Readiness::WRITE)];
        assert_eq!(epoll.wait(&mut events, None).unwrap(), 1);
        assert_eq!(events[0], Event::new(3, Readiness::WRITE));
        assert_eq!(events[1].token(), u64::MAX - 1);
        assert!(events[1].ready().is_closed());
    }

    /// R208.
    #[test]
    fn a_full_wait_is_continued_by_the_next_in_the_same_buffer() {
        let mut epoll = Epoll::new().unwrap();
        let (reader, writer) = crate::new_fd::pipe().unwrap();
        drop(writer);
        let all: Vec<_> = (0..100).map(|_| reader.try_clone().unwrap()).collect();
        for (token, one) in (0..).zip(&all) {
            epoll.add(one.as_raw_fd(), IN, token).unwrap();
        }
        let (mut events, mut reported) = (Vec::new(), BTreeSet::new());
        for _ in 0..2 {
            events.clear();
            assert_eq!(epoll.wait(&mut events, None).unwrap(), Epoll::ROOM);
            assert_eq!(events.capacity(), Epoll::ROOM);
            reported.extend(events.iter().map(|event| event.token()));
        }
        assert_eq!(reported.len(), all.len());
    }
}
