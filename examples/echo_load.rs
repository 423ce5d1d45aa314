//! A load for the echo servers, and a check: it knows every byte that must come back.
//!
//! All connections are open at the same time. Each sends a random number of bytes in random
//! pieces, half-closes, reads everything back and compares it byte by byte and in order. There
//! is no readily in it, only threads and blocking sockets of the standard library, so that an
//! error of the loop cannot hide itself. It exits with 1 if one byte is wrong.
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

/// As many bytes may be under way on one connection. They fit into the sockets' buffers, so
/// a write never blocks for want of a read that would come after it.
const WINDOW: u64 = 16 * 1024;

/// An answer that takes longer than this will not come.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
struct Load {
    addr: SocketAddr,
    connections: usize,
    bytes: u64,
    seed: u64,
}

/// Random numbers (xorshift64*): the same seed gives the same bytes on both ways.
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
    under_way: u64,
    echoed: u64,
}

impl Connection {
    fn open(load: Load, number: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(load.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let seed = load.seed.wrapping_mul(1_000_003) + number as u64;
        Ok(Self {
            stream,
            sent: Random::new(seed),
            expected: Random::new(seed),
            left: Random::new(!seed).below(load.bytes) + 1,
            under_way: 0,
            echoed: 0,
        })
    }

    /// Sends one piece, or reads one back. `false` when the end has been read.
    fn step(&mut self, random: &mut Random) -> io::Result<bool> {
        if self.left > 0 && self.under_way < WINDOW && random.below(3) > 0 {
            self.send(1 + random.below(4096))?;
            return Ok(true);
        }
        if self.under_way == 0 && self.left > 0 {
            return Ok(true);
        }
        self.receive(1 + random.below(8192) as usize)
    }

    fn send(&mut self, most: u64) -> io::Result<()> {
        let mut piece = vec![0; most.min(self.left) as usize];
        self.sent.fill(&mut piece);
        self.stream.write_all(&piece)?;
        self.left -= piece.len() as u64;
        self.under_way += piece.len() as u64;
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
        if n as u64 > self.under_way {
            return Err(io::Error::other("more came back than was sent"));
        }
        if piece[..n] != expected {
            let place = self.echoed;
            return Err(io::Error::other(format!("wrong bytes after {place}")));
        }
        self.under_way -= n as u64;
        self.echoed += n as u64;
        match n {
            0 if self.under_way > 0 => Err(io::Error::other("the end came early")),
            n => Ok(n > 0),
        }
    }
}

/// One thread's share, all connections turn by turn; how many bytes, and what went wrong.
fn run_share(load: Load, share: usize, all_open: &Barrier) -> (u64, Vec<String>) {
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    for number in (share..load.connections).step_by(THREADS) {
        match Connection::open(load, number) {
            Ok(connection) => open.push((number, connection)),
            Err(error) => wrong.push(format!("connection {number}: connecting: {error}")),
        }
    }
    all_open.wait();
    let mut random = Random::new(load.seed ^ share as u64);
    let mut echoed = 0;
    while !open.is_empty() {
        open.retain_mut(|(number, connection)| match connection.step(&mut random) {
            Ok(goes_on) => {
                echoed += if goes_on { 0 } else { connection.echoed };
                goes_on
            }
            Err(error) => {
                wrong.push(format!("connection {number}: {error}"));
                false
            }
        });
    }
    (echoed, wrong)
}

/// The value of an option; if it is none, an error that names both, and the usage.
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

// The loop's rule about clocks is for code on a loop.
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
            .map(|thread| thread.join().expect("a share does not panic"))
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
        Err("the echo is not faithful".into())
    }
}
