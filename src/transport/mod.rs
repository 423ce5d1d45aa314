//! Transports and protocols: streams for programs of callbacks, as asyncio has them.
//!
//! A program implements [`Protocol`] for its connections. The loop calls the methods of a protocol in a fixed order:
//! `connection_made`, `data_received` (repeatedly), `eof_received`, `connection_lost`. The program writes to a
//! [`Transport`], which keeps the bytes that the socket does not accept. Any code on the thread of the loop may use a
//! transport, for instance the protocol of another connection. A [`Server`] makes a protocol for each connection, can
//! limit the number of connections, and can ask them to end.
//!
//! With [`Callbacks`](crate::Callbacks) a program handles each event of the kernel, and keeps its own buffers. The
//! streams for coroutines are in [`io`](crate::io).
//!
//! ```
//! use readily::EventLoop;
//! use readily::event_loop::listen_tcp;
//! use readily::transport::{Protocol, Transport};
//! # use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         let _ = transport.write(data); // refused only if the transport closes
//!     }
//! }
//!
//! let mut event_loop = EventLoop::new()?;
//! # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
//! let listener = listen_tcp(([127, 0, 0, 1], 0))?;
//! let addr = listener.local_addr()?;
//! let server = event_loop.create_server(listener, |_cx, _accepted| Some(Echo))?;
//! # let remote = event_loop.remote_handle();
//! # let client = std::thread::spawn(move || {
//! #     let mut client = std::net::TcpStream::connect(addr).unwrap();
//! #     client.write_all(b"hello").unwrap();
//! #     client.shutdown(std::net::Shutdown::Write).unwrap();
//! #     let mut answer = String::new();
//! #     client.read_to_string(&mut answer).unwrap();
//! #     assert_eq!(answer, "hello");
//! #     remote.stop();
//! # });
//! event_loop.run()?; // until it is stopped
//! # client.join().unwrap();
//! server.drain(Duration::from_secs(10)); // asks the connections that are left to end
//! event_loop.run()?; // until they have
//! # Ok::<(), readily::Error>(())
//! ```
//!
//! In the notes: connect ready, read ready, write ready, hangup ([N7]), each with the code that nearly every
//! program needs for it.
//!
//! [N7]: crate::book#n7

mod closed;
mod connection;
mod create;
mod handle;
mod members;
mod protocol;
mod server;
mod shared;
mod state;

pub use closed::ServerClosed;
pub use handle::Transport;
pub use protocol::Protocol;
pub use server::Server;
pub use shared::WriteError;
