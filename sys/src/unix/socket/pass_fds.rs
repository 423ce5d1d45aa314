//! Descriptors that are sent through a socket of the local domain (`SCM_RIGHTS`).
//!
//! A descriptor that is received is owned at once, so none leaks: not one that is more than the caller
//! takes, nor one of an error. There is room for more descriptors than a message can have on any of our
//! systems, because some of them leak what they cut off (`MSG_CTRUNC`).
//!
//! In the notes: what is registered with a loop (N7) can come from another process.

use super::bytes::message;
use crate::unix::nonblocking;
use crate::{new_fd, transferred};
use std::ffi::c_int;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// The most descriptors that one message may have: Linux's limit, and the lowest.
pub const MAX_FDS: usize = 253;

/// Room for the control data of a message, where its structures may be.
#[repr(C, align(16))]
struct Control([u8; 8192]);

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// The number of bytes; zero is the end.
    pub bytes: usize,
    /// The descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Whether there were more descriptors. They are closed.
    pub is_truncated: bool,
}

/// Sends bytes, and duplicates of descriptors with the first of them, without waiting.
///
/// # Errors
///
/// `InvalidInput` without a byte, or for more descriptors than [`MAX_FDS`]; those of `sendmsg(2)` except
/// `EINTR`.
pub fn send_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if new_fd::SEND_WAITS {
        nonblocking::ensure(socket)?;
    }
    let bytes = [IoSlice::new(bytes)];
    let mut message = message(bytes.as_ptr().cast_mut().cast(), 1);
    let mut control = Control([0; 8192]);
    if !fds.is_empty() {
        let len = size_of_val(fds) as libc::c_uint;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: computes with a number.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(len) } as _;
        // SAFETY: `message` is a live local, whose control data is large enough for a header.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: the header is inside `control`, which is aligned for it, zeroed, and borrowed nowhere else.
        let fields = unsafe { &mut *header };
        fields.cmsg_level = libc::SOL_SOCKET;
        fields.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: computes with a number.
        fields.cmsg_len = unsafe { libc::CMSG_LEN(len) } as _;
        // SAFETY: computes with the address of a header.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: `CMSG_SPACE` of 253 numbers is less than `control`, so there are `len` bytes behind the
        // header; a borrowed descriptor has the layout of its number.
        unsafe { ptr::copy_nonoverlapping(fds.as_ptr().cast(), data, len as usize) };
    }
    transferred(|| {
        // SAFETY: the message has no address; its vector is `bytes` and its control data `control`, which
        // are live locals that the call reads.
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, new_fd::SEND_FLAGS) }
    })
}

/// Receives bytes and up to `limit` descriptors, without waiting.
///
/// # Errors
///
/// `InvalidInput` for an empty buffer; those of `recvmsg(2)` except `EINTR`.
pub fn recv_fds(socket: BorrowedFd<'_>, buf: &mut [u8], limit: usize) -> io::Result<Received> {
    if buf.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bufs = [IoSliceMut::new(buf)];
    let mut message = message(bufs.as_mut_ptr().cast(), 1);
    let mut control = Control([0; 8192]);
    let flags = libc::MSG_DONTWAIT | new_fd::RECV_FDS_FLAGS;
    let bytes = transferred(|| {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        // SAFETY: the message has no address; its vector is `bufs` and its control data `control`, which
        // are live locals, ours alone for the call.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) }
    })?;
    let mut fds = take_fds(&message, &control);
    let is_truncated = message.msg_flags & libc::MSG_CTRUNC != 0 || fds.len() > limit;
    fds.truncate(limit);
    for fd in &fds {
        new_fd::set_received_cloexec(fd.as_fd())?;
    }
    Ok(Received {
        bytes,
        fds,
        is_truncated,
    })
}

/// The descriptors in the control data of a message that was just received.
fn take_fds(message: &libc::msghdr, control: &Control) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    let end = control.0.as_ptr().addr() + size(message.msg_controllen);
    // SAFETY: the control data is `control`, of which the kernel has filled `msg_controllen` bytes.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: a header that `CMSG_FIRSTHDR` or `CMSG_NXTHDR` returns is inside the control data.
    while let Some(fields) = unsafe { header.as_ref() } {
        if (fields.cmsg_level, fields.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: computes with the address of a header.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            let named = header.addr() + size(fields.cmsg_len);
            let room = named.min(end).saturating_sub(data.addr());
            for n in 0..room / size_of::<c_int>() {
                // SAFETY: `room` ends with the bytes that the kernel has written; any bytes are a number.
                let fd = unsafe { data.wrapping_add(n).read_unaligned() };
                // SAFETY: the kernel has just made this descriptor, and it has no other owner yet.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: as for the first header.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    fds
}

/// A length, of which each system has another type.
fn size(len: impl TryInto<usize>) -> usize {
    len.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn is_cloexec(fd: &OwnedFd) -> bool {
        // SAFETY: takes numbers, touches no memory.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        flags & libc::FD_CLOEXEC != 0
    }

    #[test]
    fn descriptors_come_with_the_bytes_and_are_closed_on_exec() {
        let (here, there) = UnixStream::pair().unwrap();
        let (reader, writer) = crate::pipe().unwrap();
        let sent = [reader.as_fd(), writer.as_fd()];
        assert_eq!(send_fds(here.as_fd(), b"ab", &sent).unwrap(), 2);
        let received = recv_fds(there.as_fd(), &mut [0; 8], 8).unwrap();
        assert_eq!((received.bytes, received.is_truncated), (2, false));
        assert_eq!(received.fds.len(), 2);
        assert!(received.fds.iter().all(is_cloexec));
        drop((reader, writer));
        let [reader, writer] = <[OwnedFd; 2]>::try_from(received.fds).unwrap();
        assert_eq!(
            crate::transfer::write_waiting(writer.as_fd(), b"x").unwrap(),
            1
        );
        assert_eq!(
            crate::transfer::read_waiting(reader.as_fd(), &mut [0]).unwrap(),
            1
        );
    }

    #[test]
    fn as_many_descriptors_as_a_message_can_have_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        let sent = vec![here.as_fd(); MAX_FDS];
        send_fds(here.as_fd(), b"x", &sent).unwrap();
        let received = recv_fds(there.as_fd(), &mut [0; 8], MAX_FDS).unwrap();
        assert_eq!(
            (received.fds.len(), received.is_truncated),
            (MAX_FDS, false)
        );
        let many = vec![here.as_fd(); MAX_FDS + 1];
        let error = send_fds(here.as_fd(), b"x", &many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_more_than_the_limit_is_closed_and_reported() {
        let (here, there) = UnixStream::pair().unwrap();
        let (reader, writer) = crate::pipe().unwrap();
        send_fds(here.as_fd(), b"x", &[here.as_fd(), writer.as_fd()]).unwrap();
        drop(writer);
        let received = recv_fds(there.as_fd(), &mut [0; 8], 1).unwrap();
        assert_eq!((received.fds.len(), received.is_truncated), (1, true));
        let end = crate::transfer::read_waiting(reader.as_fd(), &mut [0]);
        assert_eq!(end.unwrap(), 0, "no writer is left");
    }
}
