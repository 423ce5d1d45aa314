//! Runs [hyper], and what is written for [tokio]'s I/O traits, on a [readily] event loop.
//!
//! Three parts are enough: [`Io`] is a stream with the traits of both crates, [`LocalExecutor`] spawns what
//! hyper wants to run beside a connection, and [`LoopTimer`] is hyper's clock. None of them starts a runtime
//! or a thread. On a loop in memory ([`readily_testing::SimLoop`]) the same program runs in virtual time and
//! with the faults of a seed.
//!
//! [hyper]: https://docs.rs/hyper
//! [tokio]: https://docs.rs/tokio
//! [`readily_testing::SimLoop`]: https://docs.rs/readily-testing
//!
//! # Examples
//!
//! One request over HTTP/1.1, on virtual time:
//!
//! ```
//! use http_body_util::{BodyExt, Empty, Full};
//! use hyper::body::Bytes;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response, client, server};
//! use readily::io::{TcpListener, TcpStream};
//! use readily_interop::{Io, LoopTimer};
//! use std::convert::Infallible;
//!
//! let mut sim = readily_testing::SimLoop::new(1);
//! let body = sim.run(async {
//!     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
//!     let addr = listener.local_addr()?;
//!     drop(readily::spawn(async move {
//!         let (stream, _) = listener.accept().await.unwrap();
//!         let hello = service_fn(async |_| {
//!             Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
//!         });
//!         let mut http = server::conn::http1::Builder::new();
//!         http.timer(LoopTimer).serve_connection(Io::new(stream), hello).await.unwrap();
//!     }));
//!     let stream = Io::new(TcpStream::connect(addr).await?);
//!     let (mut sender, connection) = client::conn::http1::handshake(stream).await?;
//!     drop(readily::spawn(async move { connection.await.unwrap() }));
//!     let response = sender.send_request(Request::new(Empty::<Bytes>::new())).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(response.into_body().collect().await?.to_bytes())
//! })??;
//! assert_eq!(body, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! A stream and a timer of `readily` belong to the thread of their loop. Some crates demand `Send` of what
//! they hold, although they never move it: hyper of its timers, database clients of their streams. So [`Io`] and
//! the timer are in a [`SendWrapper`], which is `Send`, and panics when it is used or dropped on another thread
//! than the one that made it. A task of `readily` never leaves its thread, and neither does what it owns.
//! What such a crate gives to a thread of its own would be found by that panic.
//!
//! # What runs
//!
//! The tests of this crate run these programs, unmodified, on the system's kernel and on the kernels in memory
//! (Linux's, and those of three systems with a kqueue), there with the faults of 100 seeds: transfers that
//! are cut short or would block, interrupts, spurious and early reports.
//!
//! | partner | how | on the system | in memory |
//! |---|---|---|---|
//! | hyper, both sides | [`Io`], [`LocalExecutor`], [`LoopTimer`] | HTTP/1.1, HTTP/2 | the same; a limit in virtual time |
//! | rustls, both sides | futures-rustls, by the feature `futures-io` | an echo, a truncation, a wrong name | the same; a silent peer in virtual time |
//! | | tokio-rustls on [`Io`], hyper above it | HTTP/2 over TLS | the same |
//! | async-tungstenite, both sides | the feature `futures-io` | all kinds of messages, fragments, the close | the same; a silent peer in virtual time |
//! | | the same over futures-rustls | the same | the same |
//! | redis, the client | `MultiplexedConnection` on [`Io`] | our example server; a Redis over a Unix socket | our example server; keys that expire in virtual time |
//! | tokio-postgres | `connect_raw` on [`Io`] | a PostgreSQL over a Unix socket: statements, transactions, COPY, a cancel | a scripted server |
//! | axum | its router, served by hyper; a handler's own waits in a [`SendWrapper`] | requests with bodies | the same; handlers that sleep in virtual time |
//! | tracing | spans of tasks, across their awaits | two tasks by turns | the same |
//!
//! The time limits of the client `redis` need tokio's timers: turn them off, and use [`readily::wait_for`], which keeps
//! the connection in order. axum demands `Send` of what a handler returns: [`SendWrapper`] is a future that is `Send`.

mod io;
mod stream;

#[cfg(feature = "hyper")]
mod hyper_rt;
#[cfg(feature = "tokio")]
mod tokio_io;

#[cfg(feature = "hyper")]
pub use hyper_rt::{LocalExecutor, LoopTimer};
pub use io::Io;
pub use stream::Stream;

#[cfg(doc)]
use send_wrapper::SendWrapper;
