//! The credentials of the process at the other end. The twin of `linux/peer_cred.rs`.

use crate::cvt;
use crate::unix::socket::local::PeerCred;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The credentials that the peer had when it connected, or listened.
///
/// # Errors
///
/// Those of `getpeereid(3)`: `NotConnected` for a socket without a peer.
pub fn peer_cred(fd: BorrowedFd<'_>) -> io::Result<PeerCred> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: both pointers are to live locals; the descriptor is borrowed, so it is open.
    cvt(unsafe { libc::getpeereid(fd.as_raw_fd(), &raw mut uid, &raw mut gid) })?;
    Ok(PeerCred {
        uid,
        gid,
        pid: None,
    })
}
