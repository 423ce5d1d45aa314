//! Checks of the counts that a stream returns: it may be anyone's (R125). A transfer of nothing, and one of all bytes,
//! which are the same for several kinds of stream.

use crate::task::budget;
use std::io;
use std::task::{Context, Poll};

/// The result of a transfer of no bytes: it is not tried, and waits for nothing.
pub(super) fn nothing(cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    budget::budgeted(cx, |_| Poll::Ready(Ok(0)))
}

/// Checks that a read has returned no more than there was room for.
///
/// # Panics
///
/// If it has (R125).
pub(super) fn check_read(len: usize, room: usize) {
    assert!(
        len <= room,
        "a stream says that it has read {len} bytes into {room}"
    );
}

/// The number of bytes that a write has taken.
///
/// # Errors
///
/// `WriteZero`, if it was none.
///
/// # Panics
///
/// If it says that it has taken more than there were (R125).
pub(super) fn written(n: usize, of: usize) -> io::Result<usize> {
    assert!(
        n <= of,
        "a stream says that it has written {n} bytes of {of}"
    );
    match n {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}

/// Writes all of `bytes` by `write`, which is called once if there are none, so that this costs budget, too (F1).
pub(super) async fn write_all(
    bytes: &[u8],
    write: impl AsyncFn(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut left = bytes;
    loop {
        let n = write(left).await?;
        if !left.is_empty() {
            left = &left[written(n, left.len())?..];
        }
        if left.is_empty() {
            return Ok(());
        }
    }
}
