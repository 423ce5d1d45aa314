//! Room for many datagrams that are received in one call.
//!
//! In asyncio each datagram is a call of `datagram_received`.

use super::datagram::Datagram;
use super::socket::Socket;
use readily_sys::socket::datagram;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// A buffer for several datagrams, for [`UdpSocket::recv_batch`](super::UdpSocket::recv_batch). Use it again for each
/// call.
///
/// # Examples
///
/// ```
/// use readily::io::{RecvBatch, UdpSocket};
///
/// readily::run(async {
///     let (here, there) = (UdpSocket::bind(([127, 0, 0, 1], 0))?, UdpSocket::bind(([127, 0, 0, 1], 0))?);
///     let to = here.local_addr()?;
///     let datagrams = [(&b"one"[..], to), (b"two", to), (b"three", to)];
///     let mut sent = 0;
///     while sent < datagrams.len() {
///         sent += there.send_batch(&datagrams[sent..]).await?;
///     }
///     let mut batch = RecvBatch::new(32, 1500);
///     let mut received = Vec::new();
///     while received.len() < 3 {
///         here.recv_batch(&mut batch).await?;
///         received.extend(batch.iter().map(|(bytes, _)| bytes.to_vec()));
///     }
///     assert_eq!(received, [&b"one"[..], b"two", b"three"]);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecvBatch {
    buffer: Vec<u8>,
    room: usize,
    received: Vec<Datagram<SocketAddr>>,
}

impl RecvBatch {
    /// Makes room for so many datagrams, at least one and at most 64, of at most `room` bytes each.
    ///
    /// # Panics
    ///
    /// If `room` is zero: each datagram would be truncated to nothing.
    #[must_use]
    pub fn new(datagrams: usize, room: usize) -> Self {
        assert!(room > 0, "a datagram needs room");
        let datagrams = datagrams.clamp(1, datagram::MOST);
        Self {
            buffer: vec![0; datagrams * room],
            room,
            received: Vec::with_capacity(datagrams),
        }
    }

    pub(super) fn receive(&mut self, io: &Socket) -> io::Result<usize> {
        datagram::recv_many(io.as_fd(), &mut self.buffer, self.room, &mut self.received)?;
        Ok(self.received.len())
    }

    /// Returns the datagrams of the last call: the bytes, with the sender, of each.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Datagram<SocketAddr>)> {
        let buffers = self.buffer.chunks_exact(self.room);
        let datagrams = buffers.zip(&self.received);
        datagrams.map(|(bytes, datagram)| (&bytes[..datagram.len], datagram))
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch")
            .field("room", &self.room)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
