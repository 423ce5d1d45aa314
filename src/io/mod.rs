//! I/O for coroutines: sources, and streams, listeners and pipes on top of them.
//!
//! A source is one edge-triggered registration for the life of its descriptor. Its event stores the
//! readiness that the kernel reported, and wakes the waiters. So callbacks and coroutines share one
//! poller, and no operation costs an `epoll_ctl`.
//!
//! In the notes: the I/O of coroutines, where `await` lets other tasks run instead of blocking ([N4], [N10]).
//!
//! [N4]: crate::book#n4
//! [N10]: crate::book#n10

mod async_fd;
mod async_transfer;
mod buf_read;
mod buf_reader;
mod buf_writer;
mod byte_stream;
mod check;
mod connect;
mod copy;
mod copy_bidirectional;
mod datagram;
mod datagram_batch;
mod duplex;
mod frame;
#[cfg(feature = "futures-io")]
mod futures_io;
mod half_methods;
mod into_inner;
mod listening;
mod lookup;
mod pipe;
mod pipe_end;
mod pipe_poll;
mod poll_read;
mod poll_write;
mod pollable;
mod read_buffer;
mod read_error;
mod socket;
mod socket_path;
mod split;
mod standard_streams;
mod standard_writers;
mod stream_ops;
mod stream_poll;
mod stream_try;
mod tcp;
mod tcp_listener;
mod tcp_socket;
mod to_socket_addrs;
mod udp;
mod unix;
mod unix_datagram;
mod unix_listener;
mod watched;

pub use async_fd::Async;
pub use buf_reader::{BufReader, DEFAULT_LIMIT};
pub use buf_writer::{BufWriter, BufferFull, DEFAULT_HIGH_MARK};
pub use connect::ConnectError;
pub use copy::copy;
pub use copy_bidirectional::{CopyBidirectional, copy_bidirectional};
pub use datagram::Datagram;
pub use datagram_batch::RecvBatch;
pub use duplex::{DuplexStream, duplex};
pub use frame::LengthPrefix;
pub use into_inner::IntoInnerError;
pub use lookup::{LookupError, lookup_addr, lookup_host};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub(crate) use pipe_end::ReadSome;
pub use poll_read::PollRead;
pub use poll_write::PollWrite;
pub use read_error::ReadError;
pub use socket_path::SocketPathError;
pub use split::{ByteStream, OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use standard_streams::{Stdin, stdin};
pub use standard_writers::{Stderr, Stdout, stderr, stdout};
pub use tcp::TcpStream;
pub use tcp_listener::TcpListener;
pub use tcp_socket::{KeepAlive, TcpSocket};
pub use to_socket_addrs::ToSocketAddrs;
pub use udp::UdpSocket;
pub use unix::{PeerCred, ReceivedFds, UnixStream};
pub use unix_datagram::UnixDatagram;
pub use unix_listener::{UnixListener, UnixListenerBuilder};
pub use watched::Direction;
