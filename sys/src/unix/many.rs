//! Many datagrams in one system call (`recvmmsg(2)`, `sendmmsg(2)`). The twin of `many_by_one.rs`.

use crate::new_fd;
use crate::uninterrupted;
use crate::unix::address::{Address, SocketAddress};
use crate::unix::socket::datagram::{Datagram, MOST};
use std::array;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The headers of a call, and the buffers that they point to.
struct Headers {
    vectors: [libc::iovec; MOST],
    headers: [libc::mmsghdr; MOST],
}

impl Headers {
    fn new() -> Self {
        // SAFETY: zeros are messages without address, buffers and control data, and buffers of nothing.
        unsafe { zeroed() }
    }

    /// Message `n` has this buffer, and this space of an address.
    fn set(&mut self, n: usize, buffer: (*mut u8, usize), name: (*mut libc::sockaddr, u32)) {
        self.vectors[n].iov_base = buffer.0.cast();
        self.vectors[n].iov_len = buffer.1;
        let header = &mut self.headers[n].msg_hdr;
        header.msg_name = name.0.cast();
        header.msg_namelen = name.1;
        header.msg_iov = &raw mut self.vectors[n];
        header.msg_iovlen = 1;
    }
}

fn no_addresses() -> [Address; MOST] {
    array::from_fn(|_| Address::empty())
}

/// See [`recv_many`](crate::socket::datagram::recv_many).
pub(crate) fn recv_many<'a, A: SocketAddress>(
    fd: BorrowedFd<'_>,
    bufs: impl Iterator<Item = &'a mut [u8]>,
    received: &mut Vec<Datagram<A>>,
) -> io::Result<()> {
    let mut headers = Headers::new();
    let mut senders = no_addresses();
    let mut messages = 0;
    for (buf, sender) in bufs.zip(&mut senders) {
        let name = (sender.parts_mut().0, Address::ROOM);
        headers.set(messages, (buf.as_mut_ptr(), buf.len()), name);
        messages += 1;
    }
    let count = uninterrupted(|| {
        let (to, len) = (headers.headers.as_mut_ptr(), messages as _);
        // SAFETY: the first `len` messages of the live local have buffers that `bufs` has lent for longer than
        // this function, and addresses of `senders`, which are ours alone for the call; no time-out is given.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                to,
                len,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    })?;
    for (header, mut sender) in headers.headers.iter().zip(senders).take(count) {
        sender.set_len(header.msg_hdr.msg_namelen);
        received.push(Datagram {
            len: header.msg_len as usize,
            from: A::of_address(&sender)?,
            is_truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        });
    }
    Ok(())
}

/// See [`send_many`](crate::socket::datagram::send_many).
pub(crate) fn send_many<A: SocketAddress>(
    fd: BorrowedFd<'_>,
    datagrams: &[(&[u8], A)],
) -> io::Result<usize> {
    let mut headers = Headers::new();
    let mut to = no_addresses();
    for (n, ((bytes, addr), to)) in datagrams.iter().zip(&mut to).enumerate() {
        *to = addr.to_address()?;
        let (name, len) = to.parts();
        headers.set(
            n,
            (bytes.as_ptr().cast_mut(), bytes.len()),
            (name.cast_mut(), len),
        );
    }
    uninterrupted(|| {
        let (from, len) = (headers.headers.as_mut_ptr(), datagrams.len() as _);
        // SAFETY: the first `len` messages of the live local have buffers of `datagrams` and addresses of `to`,
        // which the call reads; it writes lengths to the messages.
        let count = unsafe { libc::sendmmsg(fd.as_raw_fd(), from, len, new_fd::SEND_FLAGS as _) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    })
}
