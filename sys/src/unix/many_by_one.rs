//! Many datagrams, each in a system call of its own. The twin of `many.rs`.

use crate::unix::address::SocketAddress;
use crate::unix::socket::datagram::{Datagram, recv, send_to};
use std::io;
use std::os::fd::BorrowedFd;

/// See [`recv_many`](crate::socket::datagram::recv_many).
pub(crate) fn recv_many<'a, A: SocketAddress>(
    fd: BorrowedFd<'_>,
    bufs: impl Iterator<Item = &'a mut [u8]>,
    received: &mut Vec<Datagram<A>>,
) -> io::Result<()> {
    for buf in bufs {
        match recv(fd, buf, false) {
            Ok(datagram) => received.push(datagram),
            Err(error) if received.is_empty() => return Err(error),
            // Nothing is left; or an error of an earlier datagram, which is lost.
            Err(_) => break,
        }
    }
    Ok(())
}

/// See [`send_many`](crate::socket::datagram::send_many).
pub(crate) fn send_many<A: SocketAddress>(
    fd: BorrowedFd<'_>,
    datagrams: &[(&[u8], A)],
) -> io::Result<usize> {
    for (sent, (bytes, to)) in datagrams.iter().enumerate() {
        match send_to(fd, bytes, to) {
            Ok(_) => {}
            Err(error) if sent == 0 => return Err(error),
            // The next call begins with this one, and returns its error.
            Err(_) => return Ok(sent),
        }
    }
    Ok(datagrams.len())
}
