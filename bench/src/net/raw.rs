//! System calls, with the unsafe code that they need.
//!
//! The peer *raw* uses epoll directly: the practical limit of all others. Calls that the standard
//! library does not have are wrapped in safe functions here, each a few lines long, and so are the
//! servers in C.
#![allow(unsafe_code)] // each block states why it is sound

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Converts a return value of -1 into the error in `errno`.
fn checked(answer: libc::c_int) -> io::Result<libc::c_int> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

pub const IN: u32 = libc::EPOLLIN as u32;
pub const OUT: u32 = libc::EPOLLOUT as u32;

pub struct Epoll(OwnedFd);

/// The buffer for the events of a wait, allocated once.
pub struct Events(Vec<libc::epoll_event>);

impl Events {
    pub fn with_room(room: usize) -> Self {
        Self(vec![libc::epoll_event { events: 0, u64: 0 }; room])
    }
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call has just created the descriptor, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn control(&self, what: libc::c_int, fd: RawFd, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events,
            u64: fd as u64,
        };
        // SAFETY: `event` outlives the call, which reads it. A descriptor that is not open is an error.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd, &raw mut event) }).map(drop)
    }

    pub fn add(&self, fd: RawFd, events: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events)
    }

    pub fn modify(&self, fd: RawFd, events: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events)
    }

    /// Waits, and returns the ready descriptors. `limit` is in milliseconds; -1 means no limit.
    #[inline]
    pub fn wait<'a>(
        &self,
        events: &'a mut Events,
        limit: i32,
    ) -> io::Result<impl Iterator<Item = RawFd> + use<'a>> {
        let (room, all) = (events.0.len() as i32, events.0.as_mut_ptr());
        // SAFETY: the pointer and length are those of `events`, which is borrowed mutably.
        let n = checked(unsafe { libc::epoll_wait(self.0.as_raw_fd(), all, room, limit) })?;
        Ok(events.0[..n as usize]
            .iter()
            .map(|event| event.u64 as RawFd))
    }
}

/// Reads into `buffer` (`read(2)`).
#[inline]
pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of `buffer`, which is borrowed mutably.
    let n = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Writes as many bytes as the socket accepts (`send(2)`), without SIGPIPE.
#[inline]
pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of `bytes`.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// A descriptor to read from and write to, by the calls above.
pub struct Fd(pub RawFd);

impl Read for Fd {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read(self.0, buffer)
    }
}

impl Write for Fd {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts a connection that is non-blocking and close-on-exec, in one call.
pub fn accept(listener: &impl AsFd) -> io::Result<TcpStream> {
    let (fd, none) = (listener.as_fd().as_raw_fd(), std::ptr::null_mut());
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null pointers are allowed: no address is requested.
    let fd = checked(unsafe { libc::accept4(fd, none, none.cast(), flags) })?;
    // SAFETY: the call has just created the descriptor, and nothing else owns it.
    Ok(TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Sets TCP_NODELAY on a socket that is not a stream of the standard library.
pub fn set_nodelay(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` outlives the call, and the length is its size.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    checked(answer).map(drop)
}

/// Raises the descriptor limit of this process to its maximum, and returns it.
pub fn raise_descriptors() -> io::Result<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call, which writes to it.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` outlives the call, which reads it.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// Pins this process to the first processor.
pub fn stay_on_one_processor() -> io::Result<()> {
    // SAFETY: all zeros are a valid value, the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index is within the set.
    unsafe { libc::CPU_SET(0, &mut set) };
    // SAFETY: `set` outlives the call, and the length is its size.
    checked(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// Gives this process the policy SCHED_BATCH: woken by a process on the same processor, it does not
/// preempt that process.
pub fn set_batch_policy() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` outlives the call, which reads it.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) }).map(drop)
}

/// Sends SIGTERM to a process. It must be a child that has not been waited for yet.
pub fn terminate(id: u32) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    checked(unsafe { libc::kill(id as libc::pid_t, libc::SIGTERM) }).map(drop)
}

/// Lets the kernel end this process when its parent ends, for whatever reason.
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) }).map(drop)
}

#[cfg(any(has_uv, has_ev, has_event))]
pub mod c {
    //! The servers in C. The descriptors that are passed to them outlive the call.

    use crate::chain::Chain;
    use std::io;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    macro_rules! library {
        ($name:ident, $echo:ident, $chain:ident) => {
            pub mod $name {
                use super::*;

                // SAFETY: the signatures are those of the definitions in `c/`.
                unsafe extern "C" {
                    fn $echo(listener: i32, room: usize) -> i32;
                    fn $chain(
                        readers: *const i32,
                        writers: *const i32,
                        pairs: usize,
                        active: usize,
                        total: usize,
                    ) -> i64;
                }

                pub fn echo(listener: TcpListener, room: usize) -> io::Result<()> {
                    listener.set_nonblocking(true)?;
                    // SAFETY: the listener is open until this returns.
                    unsafe { $echo(listener.as_raw_fd(), room) };
                    Err(io::Error::other("the loop has ended"))
                }

                pub fn chain(chain: Chain) -> io::Result<Duration> {
                    let readers: Vec<_> = chain.readers.iter().map(AsRawFd::as_raw_fd).collect();
                    let writers: Vec<_> =
                        chain.links.writers.iter().map(AsRawFd::as_raw_fd).collect();
                    let (pairs, active, total) = chain.links.size();
                    // SAFETY: both arrays have this length, and outlive the call, as do the
                    // descriptors in them.
                    let ns =
                        unsafe { $chain(readers.as_ptr(), writers.as_ptr(), pairs, active, total) };
                    let ns = u64::try_from(ns).map_err(io::Error::other)?;
                    Ok(Duration::from_nanos(ns))
                }
            }
        };
    }

    #[cfg(has_ev)]
    library!(ev, bench_ev_echo, bench_ev_chain);
    #[cfg(has_uv)]
    library!(uv, bench_uv_echo, bench_uv_chain);
    #[cfg(has_event)]
    library!(event, bench_event_echo, bench_event_chain);
}
