//! Closing a descriptor, with the error that the system returns.
//!
//! The standard library closes in a destructor, which cannot return it: an error of writing
//! that comes late (`EIO`, `ENOSPC`, `EDQUOT`) is lost there, and in a debug build a number that
//! other code has closed ends the process.
//!
//! In the notes this is the last half of a hangup: close the connection (N7).

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use crate::cvt;

/// Closes `fd`. Whatever the answer is, it is closed, or was not open.
///
/// It is never tried again: after `EINTR` Linux has closed it, and so have the BSDs, so that a
/// second call would close whatever another thread has opened under the number since (R009).
///
/// # Errors
///
/// Those of `close(2)`, but for `EINTR`: `EIO`, `ENOSPC` and `EDQUOT` for what was written before
/// and could not be kept; `EBADF` if other code has closed it.
pub fn close(fd: OwnedFd) -> io::Result<()> {
    // SAFETY: takes a number, touches no memory; the descriptor was owned, and its owner has just
    // given it up, so that the number is neither used nor closed after this.
    match cvt(unsafe { libc::close(fd.into_raw_fd()) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        answer => answer.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_closed_is_closed_once_and_its_peer_reads_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        close(ours.into()).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }
}
