//! A server with a graceful shutdown: it accepts no new connections, finishes requests that have
//! begun, and then exits.
//!
//! A request is a line with a number of milliseconds to work for. The server answers `begun`, and
//! `done` when that time is over. On SIGTERM, SIGINT, the line `quit`, or at the end of the standard input, it
//! stops:
//!
//! 1. The listener is closed.
//! 2. A connection without a request is closed at once.
//! 3. A connection with a request, or a part of a request line, has `--limit` milliseconds to finish.
//! 4. The remaining tasks are dropped together with the loop, and the `CloseReport` lists them by name.
//!
//! A second signal ends it at once. In asyncio the same server uses `Server.close`, `wait_for` (N14), and an `Event`
//! in place of the `CancellationToken`; a thread reads its standard input if that is a file.
//!
//! ```text
//! cargo run --release --example graceful -- --addr 127.0.0.1:7007 --limit 2000
//! nc 127.0.0.1 7007          # type 1000, then 60000; then type quit or Ctrl-C in the server's terminal
//! ```

use readily::io::{BufReader, TcpListener, TcpStream, stdin};
use readily::signal::{Signal, signal};
use readily::{CancellationToken, Runner, Task, gather, race, sleep, spawn, wait_for};
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// The longest request line, in bytes.
const LONGEST: usize = 16;

struct Connection {
    stream: TcpStream,
    stop: CancellationToken,
    /// Bytes that were received after the last complete line.
    kept: Vec<u8>,
}

impl Connection {
    /// Returns the next request. `None` at the end of the stream, or if the server is to stop and no
    /// byte of a request has arrived.
    async fn request(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; LONGEST];
        loop {
            if let Some(end) = self.kept.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.kept.drain(..=end).collect();
                let millis = String::from_utf8_lossy(&line).trim().parse();
                return Ok(Some(Duration::from_millis(
                    millis.map_err(io::Error::other)?,
                )));
            }
            if self.kept.len() > LONGEST {
                return Err(io::Error::other("the line is too long"));
            }
            let read = self.stream.read(&mut buffer);
            // It is safe to cancel a read: that loses no bytes. A request that has begun is read on.
            let n = match self.kept.is_empty() {
                true => self.stop.run_until_cancelled(read).await.unwrap_or(Ok(0))?,
                false => read.await?,
            };
            if n == 0 {
                return Ok(None);
            }
            self.kept.extend_from_slice(&buffer[..n]);
        }
    }

    async fn serve(mut self) -> io::Result<()> {
        // Without this, `done` is delayed until the client's kernel has acknowledged `begun`.
        self.stream.set_nodelay(true)?;
        while let Some(work) = self.request().await? {
            self.stream.write_all(b"begun\n").await?;
            sleep(work).await;
            self.stream.write_all(b"done\n").await?;
        }
        Ok(())
    }
}

/// Accepts connections until `stop` is cancelled, and returns the tasks that are still running. The
/// listener is dropped on return, so a later connection is refused and the client can try another
/// server.
async fn accept(listener: TcpListener, stop: &CancellationToken) -> io::Result<Vec<Task<()>>> {
    let mut tasks = Vec::new();
    // If a connection is always ready to be accepted, `run_until_cancelled` alone may never end.
    while !stop.is_cancelled() {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else {
            break;
        };
        let (stream, peer) = accepted?;
        let connection = Connection {
            stream,
            stop: stop.child_token(),
            kept: Vec::new(),
        };
        let task = spawn(async move {
            if let Err(error) = connection.serve().await {
                eprintln!("{peer}: {error}");
            }
        });
        task.set_name(&peer.to_string()); // shown in the `CloseReport`
        tasks.retain(|task: &Task<()>| !task.done());
        tasks.push(task);
    }
    Ok(tasks)
}

/// Returns at the line `quit`, and at the end of the standard input, or an error of it.
async fn quit() {
    let Ok(input) = stdin() else {
        return;
    };
    let mut input = BufReader::new(input);
    while let Ok(Some(line)) = input.read_line().await {
        if line.trim() == "quit" {
            return;
        }
    }
}

async fn serve(addr: SocketAddr, limit: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    // Made here, before the first connection; dropped after the first signal, so that a second one ends
    // the process by its default action.
    let (int, term) = (signal(Signal::INT)?, signal(Signal::TERM)?);
    spawn(async move {
        let typed = async {
            quit().await;
            Ok(())
        };
        let _asked = race((int.recv(), term.recv(), typed)).await;
        token.cancel();
    });
    let tasks = accept(listener, &stop).await?;
    println!("stopping, connections: {}", tasks.len());
    // A timeout drops the handles of the tasks only. The tasks run on until the loop is closed.
    match wait_for(limit, gather(tasks)).await {
        Ok(_) => println!("all have finished"),
        Err(elapsed) => println!("not all have finished: {elapsed}"),
    }
    Ok(())
}

const USAGE: &str = "usage: graceful [--addr 127.0.0.1:0] [--limit milliseconds, default 5000]";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let (addr, limit) = options()?;
    let mut runner = Runner::new()?;
    runner.run(serve(addr, limit))??;
    let left = runner.close();
    for task in &left.tasks {
        println!("dropped: {task}");
    }
    println!(
        "left: tasks {}, registrations {}, timers {}, closures {}",
        left.tasks.len(),
        left.registrations,
        left.timers,
        left.closures
    );
    Ok(())
}

/// Parses the value of an option. The error names the option and the value, and has the usage.
fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    let wrong = |error| format!("{name} {value}: {error}; {USAGE}");
    value.parse().map_err(wrong)
}

/// Parses `--addr ADDRESS`, by default a free port on the loopback interface, and
/// `--limit MILLISECONDS`, by default five seconds.
fn options() -> Result<(SocketAddr, Duration), Box<dyn Error>> {
    let mut addr = ([127, 0, 0, 1], 0).into();
    let mut limit = 5000;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match name.as_str() {
            "--addr" => addr = parse(&name, &value)?,
            "--limit" => limit = parse(&name, &value)?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok((addr, Duration::from_millis(limit)))
}
