//! Listeners: one on a port, or several among which the system distributes new connections.
//!
//! With `SO_REUSEPORT` any process of the same user may take a share of a port, and a second instance of a
//! server would do so unseen. So the first socket is bound without the option, which fails if the
//! port is in use, and which chooses the port if it is to be a free one.
//!
//! In the notes this is where "connect ready" begins (N7).

use super::{local_addr, set_option};
use crate::unix::address::Address;
use crate::{SHARED_PORT, cvt, new_fd};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Makes a listener. The address may be taken over from connections that linger, as the
/// standard library does it.
///
/// # Errors
///
/// Those of `socket(2)`, `bind(2)` and `listen(2)`.
pub fn listen_tcp(addr: &SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let fd = new_tcp(addr)?;
    bind(fd.as_fd(), addr)?;
    listen(fd.as_fd(), backlog)?;
    Ok(fd)
}

/// A socket that is not bound yet.
fn new_tcp(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let fd = new_fd::socket(Address::from_std(addr).family(), libc::SOCK_STREAM)?;
    set_option(fd.as_fd(), libc::SO_REUSEADDR, 1)?;
    Ok(fd)
}

/// Gives a socket its address.
///
/// # Errors
///
/// Those of `bind(2)`.
pub fn bind(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    bind_to(fd, &Address::from_std(addr))
}

pub(super) fn bind_to(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    let (to, len) = address.parts();
    // SAFETY: `to` points to `len` bytes of `address`, which outlives the call.
    cvt(unsafe { libc::bind(fd.as_raw_fd(), to, len) }).map(drop)
}

/// Makes a bound socket a listener.
///
/// # Errors
///
/// Those of `listen(2)`.
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: takes two numbers, touches no memory.
    cvt(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

/// Whether the option of a bound socket counts. Elsewhere it does only before `bind(2)`.
const AFTER_BIND: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Makes `count` listeners on the same address. Port 0 takes a free one, which is the same for all.
///
/// # Errors
///
/// `Unsupported` where the system gives all connections to one of the listeners (macOS, NetBSD,
/// OpenBSD); those of `socket(2)`, `bind(2)` (`EADDRINUSE` also for a port that another process shares)
/// and `listen(2)`.
pub fn listen_tcp_shared(
    addr: &SocketAddr,
    backlog: i32,
    count: usize,
) -> io::Result<Vec<OwnedFd>> {
    let Some(option) = SHARED_PORT else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let first = new_tcp(addr)?;
    bind(first.as_fd(), addr)?;
    let addr = local_addr(first.as_fd())?;
    let mut sockets = Vec::new();
    if AFTER_BIND && count > 0 {
        set_option(first.as_fd(), option, 1)?;
        sockets.push(first);
    } else {
        drop(first);
    }
    while sockets.len() < count {
        let socket = new_tcp(&addr)?;
        set_option(socket.as_fd(), option, 1)?;
        bind(socket.as_fd(), &addr)?;
        sockets.push(socket);
    }
    // Not before all are bound: a connection that one of them has got would be reset if another fails.
    for socket in &sockets {
        listen(socket.as_fd(), backlog)?;
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn listeners(addr: &SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
        let all = listen_tcp_shared(addr, 64, count)?;
        Ok(all.into_iter().map(TcpListener::from).collect())
    }

    /// R347: one port for all, a second instance is refused, and each connection has one listener.
    #[test]
    fn listeners_share_a_port_that_no_other_process_has() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let all = match listeners(&any.parse().unwrap(), 3) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
                Err(_) if any.starts_with('[') => continue, // a machine without IPv6
                all => all.unwrap(),
            };
            let addr = all[0].local_addr().unwrap();
            assert!(all.iter().all(|one| one.local_addr().unwrap() == addr));
            let second = listeners(&addr, 2).unwrap_err();
            assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
            let clients: Vec<_> = (0..60).map(|_| TcpStream::connect(addr).unwrap()).collect();
            let accepted = all.iter().map(|one| {
                let taken = std::iter::from_fn(|| one.accept().ok());
                taken.count()
            });
            let accepted: Vec<usize> = accepted.collect();
            assert_eq!(accepted.iter().sum::<usize>(), clients.len());
            assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
            let others = TcpListener::bind(addr).unwrap_err();
            assert_eq!(others.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
