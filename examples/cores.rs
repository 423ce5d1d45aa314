//! A server on several cores: for each line that a client sends, it answers with the line's hash and the
//! number of the core that computed it.
//!
//! Each core has a loop of its own, which shares nothing with the others. `--by` selects how connections
//! come to the cores: `shared` (all cores wait for one socket; the default), `per-core` (a socket for each core),
//! `round-robin` or `fewest` (one core accepts, and sends connections to the others).
//!
//! After SIGTERM or SIGINT the server shuts down: it accepts no connections, closes those without a request, and
//! gives a client that has sent a part of a line `--limit` milliseconds to send the rest. Then the server prints the
//! number of connections of each core, and the work that was left. A second signal ends it at once. In asyncio such a
//! server consists of several processes, one for each core.
//!
//! ```text
//! cargo run --release --example cores -- --addr 127.0.0.1:7007 --cores 2 --by round-robin
//! nc 127.0.0.1 7007          # type a line; then again in another terminal, and Ctrl-C in the server's
//! ```

use readily::CancellationToken;
use readily::cores::{Cores, Distribution, ListenOptions};
use readily::io::TcpStream;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// The longest line, in bytes.
const LONGEST: usize = 1024;

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

async fn serve(stream: TcpStream, core: usize, stop: CancellationToken) -> io::Result<()> {
    let mut received = Vec::new();
    let mut buffer = [0; 512];
    loop {
        while let Some(end) = received.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = received.drain(..=end).collect();
            let answer = format!("{:016x} core {core}\n", hash(line.trim_ascii()));
            stream.write_all(answer.as_bytes()).await?;
        }
        if received.len() > LONGEST {
            return Err(io::Error::other("the line is too long"));
        }
        let read = stream.read(&mut buffer);
        // It is safe to cancel a read: that loses no bytes. A line that has begun is read on.
        let n = match received.is_empty() {
            true => stop.run_until_cancelled(read).await.unwrap_or(Ok(0))?,
            false => read.await?,
        };
        if n == 0 {
            return Ok(());
        }
        received.extend_from_slice(&buffer[..n]);
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let mut builder = Cores::builder().pin(options.pin);
    if let Some(count) = options.cores {
        builder = builder.count(count);
    }
    let cores = builder.build()?;
    let listen = ListenOptions::new(options.addr).distribution(options.by);
    let server = cores.serve(listen, |core| {
        // Once on each core. What is made here belongs to the core, and need not be `Send`.
        let (core, stop) = (core.index(), core.stop_token());
        move |stream, peer| {
            let stop = stop.clone();
            async move {
                if let Err(error) = serve(stream, core, stop).await {
                    eprintln!("{peer}: {error}");
                }
            }
        }
    });
    let server = server.map_err(|error| error.reason)?;
    println!("listening on {}", server.local_addr());
    let report = cores.run_until_signal(options.limit)?;
    for (core, connections) in server.connections().iter().enumerate() {
        println!("core {core}: connections {}", connections.total);
    }
    println!("{report}");
    Ok(())
}

struct Options {
    addr: SocketAddr,
    cores: Option<usize>,
    pin: bool,
    by: Distribution,
    limit: Duration,
}

const USAGE: &str = "usage: cores [--addr 127.0.0.1:0] [--cores N] [--pin] [--by shared|per-core|round-robin|fewest] \
                     [--limit milliseconds, default 5000]";

/// Parses the value of an option. The error names the option and the value, and has the usage.
fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    let wrong = |error| format!("{name} {value}: {error}; {USAGE}");
    value.parse().map_err(wrong)
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        addr: ([127, 0, 0, 1], 0).into(),
        cores: None,
        pin: false,
        by: Distribution::Shared,
        limit: Duration::from_secs(5),
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--pin" {
            options.pin = true;
            continue;
        }
        let value = args.next().ok_or(USAGE)?;
        match (name.as_str(), value.as_str()) {
            ("--addr", _) => options.addr = parse(&name, &value)?,
            ("--cores", _) => options.cores = Some(parse(&name, &value)?),
            ("--limit", _) => options.limit = Duration::from_millis(parse(&name, &value)?),
            ("--by", "shared") => options.by = Distribution::Shared,
            ("--by", "per-core") => options.by = Distribution::PerCore,
            ("--by", "round-robin") => options.by = Distribution::RoundRobin,
            ("--by", "fewest") => options.by = Distribution::LeastConnections,
            ("--by", _) => {
                return Err(format!("--by {value}: there is no such way; {USAGE}").into());
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    run(options()?)
}
