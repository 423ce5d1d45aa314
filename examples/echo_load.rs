//! A load generator for the echo servers that checks every byte they return.
//!
//! All connections are open at the same time. Each sends a random number of bytes in random
//! pieces, half-closes, reads everything back and compares it byte by byte and in order. The
//! program uses only threads and blocking sockets of the standard library, and not readily, so
//! that a fault of the loop cannot hide itself. The exit status is 1 if one byte is wrong.
//!
//! ```text
//! cargo run --release --example echo_coroutines -- --addr 127.0.0.1:7007
//! cargo run --release --example echo_load -- --addr 127.0.0.1:7007 --connections 1000
//! 1000 connections, 16291403 bytes echoed in 0.42 s, 0 wrong
//! ```

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const THREADS: usize = 8;

/// The most bytes in flight on one connection. They fit into the sockets' buffers, so a write
/// never blocks while the thread itself would have to read first.
const WINDOW: u64 = 16 * 1024;

/// The timeout of each read and write.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
struct Load {
    addr: SocketAddr,
    connections: usize,
    bytes: u64,
    seed: u64,
}

/// A random number generator (xorshift64*). The same seed gives the bytes to send and the bytes to
/// expect.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next() as u8);
    }
}

struct Connection {
    stream: TcpStream,
    sent: Random,
    expected: Random,
    left: u64,
    in_flight: u64,
    echoed: u64,
}

impl Connection {
    fn open(load: Load, number: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(load.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let seed = load.seed.wrapping_mul(1_000_003) + number as u64;
        Ok(Self {
            stream,
            sent: Random::new(seed),
            expected: Random::new(seed),
            left: Random::new(!seed).below(load.bytes) + 1,
            in_flight: 0,
            echoed: 0,
        })
    }

    /// Sends one piece, or reads one back. Returns `false` at the end of the stream.
    fn step(&mut self, random: &mut Random) -> io::Result<bool> {
        if self.left > 0 && self.in_flight < WINDOW && random.below(3) > 0 {
            self.send(1 + random.below(4096))?;
            return Ok(true);
        }
        if self.in_flight == 0 && self.left > 0 {
            return Ok(true);
        }
        self.receive(1 + random.below(8192) as usize)
    }

    fn send(&mut self, most: u64) -> io::Result<()> {
        let mut piece = vec![0; most.min(self.left) as usize];
        self.sent.fill(&mut piece);
        self.stream.write_all(&piece)?;
        self.left -= piece.len() as u64;
        self.in_flight += piece.len() as u64;
        if self.left == 0 {
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    fn receive(&mut self, most: usize) -> io::Result<bool> {
        let mut piece = vec![0; most];
        let n = self.stream.read(&mut piece)?;
        let mut expected = vec![0; n];
        self.expected.fill(&mut expected);
        if n as u64 > self.in_flight {
            return Err(io::Error::other("more bytes were received than sent"));
        }
        if piece[..n] != expected {
            let echoed = self.echoed;
            return Err(io::Error::other(format!(
                "wrong bytes after the first {echoed}"
            )));
        }
        self.in_flight -= n as u64;
        self.echoed += n as u64;
        match n {
            0 if self.in_flight > 0 => Err(io::Error::other(
                "the stream ended before all bytes were received",
            )),
            n => Ok(n > 0),
        }
    }
}

/// Runs one thread's share of the connections, one step of each in turn. Returns the number of
/// bytes echoed, and the errors.
fn run_share(load: Load, share: usize, all_open: &Barrier) -> (u64, Vec<String>) {
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    for number in (share..load.connections).step_by(THREADS) {
        match Connection::open(load, number) {
            Ok(connection) => open.push((number, connection)),
            Err(error) => wrong.push(format!("connection {number}: connect: {error}")),
        }
    }
    all_open.wait();
    let mut random = Random::new(load.seed ^ share as u64);
    let mut echoed = 0;
    while !open.is_empty() {
        open.retain_mut(|(number, connection)| match connection.step(&mut random) {
            Ok(is_open) => {
                echoed += if is_open { 0 } else { connection.echoed };
                is_open
            }
            Err(error) => {
                wrong.push(format!("connection {number}: {error}"));
                false
            }
        });
    }
    (echoed, wrong)
}

/// Parses the value of an option. The error names the option and the value, and has the usage.
fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    let wrong = |error| format!("{name} {value}: {error}; {USAGE}");
    value.parse().map_err(wrong)
}

fn load() -> Result<Load, Box<dyn Error>> {
    let mut load = Load {
        addr: ([127, 0, 0, 1], 7007).into(),
        connections: 1000,
        bytes: 32 * 1024,
        seed: 1,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match name.as_str() {
            "--addr" => load.addr = parse(&name, &value)?,
            "--connections" => load.connections = parse::<NonZeroUsize>(&name, &value)?.get(),
            "--bytes" => load.bytes = parse::<NonZeroU64>(&name, &value)?.get(),
            "--seed" => load.seed = parse(&name, &value)?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(load)
}

const USAGE: &str =
    "usage: echo_load [--addr 127.0.0.1:7007] [--connections 1000] [--bytes 32768] [--seed 1]";

// Code on a loop must use the loop's clock (see clippy.toml); this program has no loop.
#[allow(clippy::disallowed_methods)]
fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let load = load()?;
    let start = Instant::now();
    let all_open = Barrier::new(THREADS);
    let shares: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let run = |share| {
            scope.spawn({
                let all_open = &all_open;
                move || run_share(load, share, all_open)
            })
        };
        let running: Vec<_> = (0..THREADS).map(run).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("the thread does not panic"))
            .collect()
    });
    let echoed: u64 = shares.iter().map(|(echoed, _)| echoed).sum();
    let wrong: Vec<&String> = shares.iter().flat_map(|(_, wrong)| wrong).collect();
    for line in wrong.iter().take(10) {
        eprintln!("{line}");
    }
    println!(
        "{} connections, {echoed} bytes echoed in {:.2} s, {} wrong",
        load.connections,
        start.elapsed().as_secs_f64(),
        wrong.len()
    );
    if wrong.is_empty() {
        Ok(())
    } else {
        Err("the echoed bytes are wrong".into())
    }
}
