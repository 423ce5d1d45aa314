//! The credentials of the process at the other end. The twin of `unix/peer_cred.rs`.

use crate::unix::socket::local::PeerCred;
use crate::unix::socket::option_as;
use std::io;
use std::os::fd::BorrowedFd;

/// The credentials that the peer had when it connected, or listened.
///
/// # Errors
///
/// Those of `getsockopt(2)`; `NotConnected` for a socket without a peer.
pub fn peer_cred(fd: BorrowedFd<'_>) -> io::Result<PeerCred> {
    const NO_ID: u32 = u32::MAX;
    let none = libc::ucred {
        pid: 0,
        uid: NO_ID,
        gid: NO_ID,
    };
    let peer = option_as(fd, libc::SO_PEERCRED, none)?;
    // What Linux reports of a socket that has no peer.
    if peer.pid == 0 && peer.uid == NO_ID {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(PeerCred {
        uid: peer.uid,
        gid: peer.gid,
        // Zero is a process that cannot be seen from here, in another PID namespace.
        pid: (peer.pid != 0).then_some(peer.pid),
    })
}
