//! The options of a socket before it is bound or connected.
//!
//! In the notes this is what stands before "connect ready" (N7).

use super::{option, option_of, set_option, set_option_of};
use crate::{KEEP_ALIVE, new_fd};
use std::ffi::c_int;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// How an idle connection is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// The time without traffic before the first probe: whole seconds, 1 to 32,767.
    pub idle: Duration,
    /// The time between two probes: whole seconds, 1 to 32,767.
    pub interval: Duration,
    /// The number of probes without an answer that end the connection: 1 to 127.
    pub count: u32,
}

/// Makes a TCP socket that is neither bound nor connected.
///
/// # Errors
///
/// Those of `socket(2)`.
pub fn new_tcp(is_v6: bool) -> io::Result<OwnedFd> {
    let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
    new_fd::socket(family, libc::SOCK_STREAM)
}

/// Sets `SO_REUSEADDR`.
///
/// # Errors
///
/// Those of `setsockopt(2)`; so for the other options here.
pub fn set_reuse_address(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_option(fd, libc::SO_REUSEADDR, c_int::from(on))
}

/// Sets `SO_REUSEPORT`.
///
/// # Errors
///
/// As [`set_reuse_address`].
pub fn set_reuse_port(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_option(fd, libc::SO_REUSEPORT, c_int::from(on))
}

/// Sets `IPV6_V6ONLY`.
///
/// # Errors
///
/// As [`set_reuse_address`].
pub fn set_only_v6(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_option_of(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, c_int::from(on))
}

/// Sets `SO_SNDBUF`.
///
/// # Errors
///
/// As [`set_reuse_address`].
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set_option(fd, libc::SO_SNDBUF, number(bytes))
}

/// Returns `SO_SNDBUF`.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn send_buffer(fd: BorrowedFd<'_>) -> io::Result<usize> {
    option(fd, libc::SO_SNDBUF).map(|bytes| usize::try_from(bytes).unwrap_or(0))
}

/// Sets `SO_RCVBUF`.
///
/// # Errors
///
/// As [`set_reuse_address`].
pub fn set_recv_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set_option(fd, libc::SO_RCVBUF, number(bytes))
}

/// Returns `SO_RCVBUF`.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn recv_buffer(fd: BorrowedFd<'_>) -> io::Result<usize> {
    option(fd, libc::SO_RCVBUF).map(|bytes| usize::try_from(bytes).unwrap_or(0))
}

/// Makes `close(2)` end the connection with a reset (`SO_LINGER` of zero), or not.
///
/// # Errors
///
/// As [`set_reuse_address`].
pub fn set_reset_on_close(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: c_int::from(on),
        l_linger: 0,
    };
    set_option_of(fd, libc::SOL_SOCKET, libc::SO_LINGER, linger)
}

/// Sets `SO_KEEPALIVE`, and its times.
///
/// # Errors
///
/// `InvalidInput` for a number that is out of range; `Unsupported` where a socket has no times of its own
/// (OpenBSD); as [`set_reuse_address`].
pub fn set_keep_alive(fd: BorrowedFd<'_>, keep: Option<KeepAlive>) -> io::Result<()> {
    let Some(keep) = keep else {
        return set_option(fd, libc::SO_KEEPALIVE, 0);
    };
    let values = [
        seconds(keep.idle)?,
        seconds(keep.interval)?,
        in_range(u64::from(keep.count), 127)?,
    ];
    let names = KEEP_ALIVE.ok_or(io::ErrorKind::Unsupported)?;
    for (name, value) in names.into_iter().zip(values) {
        set_option_of(fd, libc::IPPROTO_TCP, name, value)?;
    }
    set_option(fd, libc::SO_KEEPALIVE, 1)
}

/// Returns how the connection is probed, if it is.
///
/// # Errors
///
/// Those of `getsockopt(2)`; `Unsupported` where a socket has no times of its own.
pub fn keep_alive(fd: BorrowedFd<'_>) -> io::Result<Option<KeepAlive>> {
    if option(fd, libc::SO_KEEPALIVE)? == 0 {
        return Ok(None);
    }
    let [idle, interval, count] = KEEP_ALIVE.ok_or(io::ErrorKind::Unsupported)?;
    let read = |name| {
        let value: c_int = option_of(fd, libc::IPPROTO_TCP, name, 0)?;
        io::Result::Ok(u32::try_from(value).unwrap_or(0))
    };
    Ok(Some(KeepAlive {
        idle: Duration::from_secs(read(idle)?.into()),
        interval: Duration::from_secs(read(interval)?.into()),
        count: read(count)?,
    }))
}

fn seconds(time: Duration) -> io::Result<c_int> {
    match time.subsec_nanos() {
        0 => in_range(time.as_secs(), 32_767),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn in_range(value: u64, most: u64) -> io::Result<c_int> {
    match c_int::try_from(value) {
        Ok(number) if (1..=most).contains(&value) => Ok(number),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// As large as the system can be asked for.
fn number(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}
