//! Coroutines on descriptors: sources, and TCP on top of them.
//!
//! A source is one edge-triggered entry of the callback table, made once and kept for life;
//! its default action keeps what the kernel said and wakes who waits. So both styles of the
//! crate share one table, and no operation costs an `epoll_ctl`.
//!
//! In the notes: I/O of coroutines, where `await` gives way instead of blocking ([N4], [N10]).
//!
//! [N4]: crate::book#n4
//! [N10]: crate::book#n10

mod socket;
mod source;
mod tcp;
mod tcp_listener;
mod tcp_split;

pub use source::{Direction, Source};
pub use tcp::TcpStream;
pub use tcp_listener::TcpListener;
pub use tcp_split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
