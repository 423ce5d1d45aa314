//! Connections, and bytes to send over them.

use readily::gather;
use readily::io::{TcpListener, TcpStream};

/// Bytes whose order shows.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

/// The two ends of a connection.
pub(crate) async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (ours, theirs) = gather((TcpStream::connect(addr), listener.accept())).await;
    (ours.unwrap(), theirs.unwrap().0)
}
