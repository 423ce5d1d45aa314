//! The peers: for each the same two programs, as its users would write them.
//!
//! A server registers each connection once, reads into a buffer that it has already, writes the
//! same bytes back, and keeps what had no room. None is handicapped: each does it in the way that its
//! own documentation shows.

mod callbacks;
mod calloop;
mod coroutines;
mod mio;
mod monoio;
mod poller;
mod raw;
mod smol;
mod tokio;

use crate::chain::Chain;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// As many events as one wait takes, where a peer lets us choose.
const EVENTS: usize = 1024;

#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    /// `None` where the library is not on this machine.
    pub works: Option<Works>,
}

#[derive(Clone, Copy)]
pub struct Works {
    /// Serves until the process ends. It reads as many bytes at once as the number says.
    pub echo: fn(TcpListener, usize) -> io::Result<()>,
    /// How long the chain took, from the first byte on.
    pub chain: fn(Chain) -> io::Result<Duration>,
}

macro_rules! peers {
    ($($name:literal: $($part:ident)::+ $(if $has:ident)?),+ $(,)?) => {
        pub const ALL: &[Peer] = &[$(Peer { name: $name, works: peers!(@ $($part)::+ $($has)?) }),+];
    };
    (@ $($part:ident)::+) => {
        Some(Works { echo: $($part)::+::echo, chain: $($part)::+::chain })
    };
    (@ $($part:ident)::+ $has:ident) => {{
        #[cfg($has)]
        { peers!(@ $($part)::+) }
        #[cfg(not($has))]
        { None }
    }};
}

peers! {
    "raw": raw,
    "callbacks": callbacks,
    "coroutines": coroutines,
    "poller": poller,
    "mio": mio,
    "tokio": tokio,
    "smol": smol,
    "monoio": monoio,
    "calloop": calloop,
    "libuv": crate::raw::c::uv if has_uv,
    "libev": crate::raw::c::ev if has_ev,
}

/// What a connection waits for next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    Write,
    End,
}

/// Echoes what is there, for whoever is told that something is. `kept` is what had no room.
#[inline]
fn echo(stream: &mut (impl Read + Write), kept: &mut Vec<u8>, buffer: &mut [u8]) -> Next {
    if !kept.is_empty() {
        match stream.write(kept) {
            Ok(n) => drop(kept.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_reset) => return Next::End,
        }
        if !kept.is_empty() {
            return Next::Write;
        }
    }
    loop {
        let n = match stream.read(buffer) {
            Ok(0) => return Next::End,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Read,
            Err(_reset) => return Next::End,
        };
        let written = match stream.write(&buffer[..n]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_reset) => return Next::End,
        };
        if written < n {
            kept.extend_from_slice(&buffer[written..n]);
            return Next::Write;
        }
        // A short read is the end of what is there.
        if n < buffer.len() {
            return Next::Read;
        }
    }
}
