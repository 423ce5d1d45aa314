//! Bytes sent through TCP streams arrive, whatever the sizes of reads and writes and the faults of the
//! kernel.
//!
//! A client and a server write to and read from each other concurrently, each in pieces of its own.
//! No model is needed: the bytes received must equal the bytes sent. Time is virtual, so an exchange
//! that hangs reaches its timeout of an hour at once.

use crate::List;
use arbitrary::Arbitrary;
use readily::io::{TcpListener, TcpStream};
use readily::poll::Poller;
use readily::{EventLoop, Runner, gather, sleep, wait_for};
use readily_testing::{Faults, Kernel, Personality};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// The input of [`chunking`].
#[derive(Arbitrary, Clone, Debug)]
pub struct Exchange {
    pub poller: u8,
    /// The seed of the kernel's faults; `None` for no faults.
    pub seed: Option<u64>,
    pub client: Side,
    pub server: Side,
}

/// How one side writes and reads.
#[derive(Arbitrary, Clone, Debug)]
pub struct Side {
    /// The number of bytes to send, in units of 16, so that it can exceed a socket's buffer.
    pub sends: u16,
    pub writes: List<Piece>,
    pub reads: List<Piece>,
    /// Whether the side shuts down writing only when it has also received everything.
    pub ends_late: bool,
}

/// One step of a transfer, with an approximate number of bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Piece {
    /// `read` or `write`, which may transfer fewer bytes.
    Some(u16),
    /// `read_exact` or `write_all`.
    All(u16),
    Sleep(u8),
    Yield,
}

/// Runs `exchange`.
///
/// # Panics
///
/// If a byte is lost or duplicated, or if an hour of virtual time passes.
pub fn chunking(exchange: &Exchange) {
    let kernel = Kernel::with(exchange.seed.map_or_else(Faults::none, Faults::all));
    let poller: Box<dyn Poller> = match exchange.poller % 4 {
        0 => Box::new(kernel.poller()),
        1 => Box::new(kernel.kqueue(Personality::FreeBsd)),
        2 => Box::new(kernel.kqueue(Personality::Apple)),
        _ => Box::new(kernel.kqueue(Personality::NetBsd)),
    };
    let clock = Box::new(kernel.clock());
    let event_loop = EventLoop::with(poller, clock).expect("the simulated kernel has no limit");
    event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    let mut runner = Runner::from(event_loop);
    runner.on_unhandled(|_| ());
    let ran = runner.run(wait_for(Duration::from_secs(3600), both(exchange)));
    ran.expect("nothing stops the loop")
        .expect("the exchange takes less than an hour");
    drop(runner);
    assert_eq!(kernel.open(), 0, "descriptors before and after");
}

async fn both(exchange: &Exchange) {
    let anywhere: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listener = TcpListener::bind(anywhere).expect("a port is free");
    let addr = listener.local_addr().expect("a listener has an address");
    let client = async {
        let stream = TcpStream::connect(addr)
            .await
            .expect("the listener is open");
        talk(&stream, &exchange.client, &exchange.server).await;
    };
    let server = async {
        let (stream, _) = listener
            .accept()
            .await
            .expect("accept retries after errors");
        talk(&stream, &exchange.server, &exchange.client).await;
    };
    gather((client, server)).await;
}

async fn talk(stream: &TcpStream, own: &Side, other: &Side) {
    let (sent, expected) = (bytes(own), bytes(other));
    let write = async {
        let mut rest = &sent[..];
        for piece in pieces(&own.writes, sent.len()) {
            let len = size(piece, sent.len()).min(rest.len());
            rest = match piece {
                Piece::Some(_) => {
                    let n = stream
                        .write(&rest[..len])
                        .await
                        .expect("the connection is not reset");
                    &rest[n..]
                }
                Piece::All(_) => {
                    let written = stream.write_all(&rest[..len]).await;
                    written.expect("the connection is not reset");
                    &rest[len..]
                }
                _ => {
                    pause(piece).await;
                    rest
                }
            };
            if rest.is_empty() {
                break;
            }
        }
        if !own.ends_late {
            stream.shutdown(Shutdown::Write).expect("it is connected");
        }
    };
    let read = async {
        let mut got = Vec::new();
        for piece in pieces(&own.reads, expected.len()) {
            let len = size(piece, expected.len());
            let mut buffer = vec![0; len];
            match piece {
                Piece::Some(_) => {
                    let n = stream
                        .read(&mut buffer)
                        .await
                        .expect("the connection is not reset");
                    assert!(n > 0, "the end came after {} bytes", got.len());
                    got.extend_from_slice(&buffer[..n]);
                }
                Piece::All(_) => {
                    buffer.truncate(expected.len() - got.len());
                    let filled = stream.read_exact(&mut buffer).await;
                    filled.expect("the peer sends this many bytes");
                    got.extend_from_slice(&buffer);
                }
                _ => pause(piece).await,
            }
            if got.len() >= expected.len() {
                break;
            }
        }
        assert!(got == expected, "the same bytes, in the same order");
    };
    gather((write, read)).await;
    if own.ends_late {
        stream.shutdown(Shutdown::Write).expect("it is connected");
    }
    let end = stream.read(&mut [0; 9]).await;
    assert_eq!(
        end.expect("the connection is not reset"),
        0,
        "nothing comes after the end"
    );
}

async fn pause(piece: Piece) {
    match piece {
        Piece::Sleep(ms) => sleep(Duration::from_millis(ms.into())).await,
        _ => readily::yield_now().await,
    }
}

fn bytes(side: &Side) -> Vec<u8> {
    let len = usize::from(side.sends) * 16;
    (0..len).map(|n| (n * 31 + n / 251) as u8).collect()
}

/// Repeats the steps for ever. A transfer is added as the last step, so that the exchange makes progress.
fn pieces(given: &[Piece], len: usize) -> impl Iterator<Item = Piece> {
    let given = given.iter().copied().chain([Piece::Some(4096)]);
    let steps = if len == 0 { 0 } else { usize::MAX };
    given.collect::<Vec<_>>().into_iter().cycle().take(steps)
}

/// Returns the size of a step, large enough that `len` bytes take at most some hundred steps.
fn size(piece: Piece, len: usize) -> usize {
    match piece {
        Piece::Some(size) | Piece::All(size) => usize::from(size).max(1 + len / 500),
        Piece::Sleep(_) | Piece::Yield => 0,
    }
}
