//! The peers: the same two programs for each, as its users would write them.
//!
//! A server registers each connection once, reads into a buffer that exists already, writes the same
//! bytes back, and keeps those that the socket does not accept. Each program follows the documentation
//! of its library, so that no peer is handicapped.

mod callbacks;
mod calloop;
mod compio;
mod coroutines;
mod mio;
mod monoio;
mod poller;
mod raw;
mod smol;
mod terse_callbacks;
mod tokio;

use crate::chain::Chain;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// The maximum number of events of one wait, for peers with such an option.
const EVENTS: usize = 1024;

#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    /// `None` if the library is not installed.
    pub works: Option<Works>,
}

#[derive(Clone, Copy)]
pub struct Works {
    /// Serves until the process ends. The number is the size of the read buffer.
    pub echo: fn(TcpListener, usize) -> io::Result<()>,
    /// Runs the chain, and returns the time from its first byte to its last. `None` if that would be
    /// the chain of another peer.
    pub chain: Option<fn(Chain) -> io::Result<Duration>>,
}

macro_rules! peers {
    ($($name:literal: $($part:ident)::+ $(only $only:ident)? $(if $has:ident)?),+ $(,)?) => {
        pub const ALL: &[Peer] =
            &[$(Peer { name: $name, works: peers!(@ $($part)::+ $(only $only)? $(if $has)?) }),+];
    };
    (@ $($part:ident)::+) => {
        Some(Works { echo: $($part)::+::echo, chain: Some($($part)::+::chain) })
    };
    (@ $($part:ident)::+ only echo) => {
        Some(Works { echo: $($part)::+::echo, chain: None })
    };
    (@ $($part:ident)::+ if $has:ident) => {{
        #[cfg($has)]
        { peers!(@ $($part)::+) }
        #[cfg(not($has))]
        { None }
    }};
}

peers! {
    "raw": raw,
    "callbacks": callbacks,
    "terse callbacks": terse_callbacks only echo,
    "coroutines": coroutines,
    "poller": poller,
    "mio": mio,
    "tokio": tokio,
    "smol": smol,
    "monoio": monoio,
    "compio": compio,
    "calloop": calloop,
    "libuv": crate::raw::c::uv if has_uv,
    "libev": crate::raw::c::ev if has_ev,
    "libevent": crate::raw::c::event if has_event,
}

/// What a connection waits for next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    Write,
    End,
}

/// Reads the available bytes after a readiness event, and writes them back. `kept` has the bytes that
/// the socket did not accept before. With `EDGE` it goes on until a read is short: an edge trigger does
/// not report again what is left.
// Always inlined: this is the user's part, and the same for all peers without coroutines.
#[inline(always)]
fn echo<const EDGE: bool>(
    stream: &mut (impl Read + Write),
    kept: &mut Vec<u8>,
    buffer: &mut [u8],
) -> Next {
    if !kept.is_empty() {
        return write_kept(stream, kept);
    }
    loop {
        let n = match stream.read(buffer) {
            Ok(n) if n > 0 => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Read,
            _end_or_reset => return Next::End,
        };
        match stream.write(&buffer[..n]) {
            Ok(written) if written == n => {}
            Ok(written) => return keep(kept, &buffer[written..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return keep(kept, &buffer[..n]);
            }
            Err(_reset) => return Next::End,
        }
        if !EDGE || n < buffer.len() {
            return Next::Read;
        }
    }
}

#[cold]
fn keep(kept: &mut Vec<u8>, bytes: &[u8]) -> Next {
    kept.extend_from_slice(bytes);
    Next::Write
}

/// Writes the bytes that the socket did not accept before.
#[cold]
fn write_kept(stream: &mut impl Write, kept: &mut Vec<u8>) -> Next {
    match stream.write(kept) {
        Ok(n) => drop(kept.drain(..n)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_reset) => return Next::End,
    }
    if kept.is_empty() {
        Next::Read
    } else {
        Next::Write
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::thread;
    use std::time::Duration;

    fn here() -> impl Iterator<Item = (&'static str, Works)> {
        ALL.iter().filter_map(|peer| Some((peer.name, peer.works?)))
    }

    #[test]
    fn a_late_reader_gets_every_byte() {
        const GUARD: Duration = Duration::from_secs(20);
        let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 255) as u8).collect();
        for (name, works) in here() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            // The server runs until the test process ends.
            thread::spawn(move || (works.echo)(listener, 1024));
            stream.set_read_timeout(Some(GUARD)).unwrap();
            stream.set_write_timeout(Some(GUARD)).unwrap();
            let mut writer = stream.try_clone().unwrap();
            // Nothing is read until no more can be written: then the server's buffers are full as well.
            stream.set_nonblocking(true).unwrap();
            let (mut written, mut full) = (0, 0);
            while written < sent.len() && full < 20 {
                match writer.write(&sent[written..]) {
                    Ok(n) => (written, full) = (written + n, 0),
                    Err(_full) => {
                        full += 1;
                        thread::yield_now();
                    }
                }
            }
            stream.set_nonblocking(false).unwrap();
            let mut got = vec![0; sent.len()];
            thread::scope(|scope| {
                scope.spawn(|| {
                    writer.write_all(&sent[written..]).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                stream
                    .read_exact(&mut got)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            });
            assert!(got == sent, "{name}");
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{name}");
        }
    }

    #[test]
    fn each_byte_of_a_chain_is_handed_on() {
        for (name, works) in here() {
            let Some(run) = works.chain else { continue };
            let chain = Chain::new(20, 4, 1000).unwrap();
            let took = run(chain).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(took > Duration::ZERO, "{name}");
        }
    }
}
