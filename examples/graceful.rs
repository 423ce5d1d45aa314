//! A server that stops well: no new connections, what was begun is finished, and then the end.
//!
//! A line is a request: a number of milliseconds to work for. The answer is `begun`, and `done` when
//! they are over. On `quit`, or at the end of the standard input, the listener closes; who is between
//! two requests is shown out; who has begun one, or half a line of one, has `--limit` milliseconds to
//! finish. Who has not by then is dropped with the loop, whose `CloseReport` says who it was. A thread
//! reads the standard input, for that blocks. In asyncio: `Server.close`, `wait_for`, and an `Event` for the
//! token; in the notes: blocking code has a thread of its own (N5), and `wait_for` (N14).
//!
//! ```text
//! cargo run --release --example graceful -- --addr 127.0.0.1:7007 --limit 2000
//! nc 127.0.0.1 7007          # say 1000, and then 60000; meanwhile say quit to the server
//! ```

use readily::io::{TcpListener, TcpStream};
use readily::sync::channel;
use readily::{CancellationToken, Runner, Task, gather, sleep, spawn, wait_for};
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// A request is a short line.
const LONGEST: usize = 16;

struct Connection {
    stream: TcpStream,
    stop: CancellationToken,
    kept: Vec<u8>,
}

impl Connection {
    /// The next request; `None` if there will be none, or we are to stop and it has not begun.
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
            // A read that is dropped loses no byte. One for the rest of a line goes on.
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
        // Or `done` would wait until the client's kernel has acknowledged `begun`.
        self.stream.set_nodelay(true)?;
        while let Some(work) = self.request().await? {
            self.stream.write_all(b"begun\n").await?;
            sleep(work).await;
            self.stream.write_all(b"done\n").await?;
        }
        Ok(())
    }
}

/// Serves whoever comes until `stop` is cancelled, and returns the tasks that are not done then. The
/// listener is closed by that: who connects later is refused, and goes elsewhere.
async fn accept(listener: TcpListener, stop: &CancellationToken) -> io::Result<Vec<Task<()>>> {
    let mut tasks = Vec::new();
    // Asked each time: there may be a new one whenever we look, and no end to that.
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
        task.set_name(&peer.to_string()); // as the report will call it
        tasks.retain(|task: &Task<()>| !task.done());
        tasks.push(task);
    }
    Ok(tasks)
}

async fn serve(addr: SocketAddr, limit: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    let (sender, mut receiver) = channel::unbounded::<()>();
    std::thread::spawn(move || {
        let lines = io::stdin().lines().map_while(Result::ok);
        lines
            .take_while(|line| line.trim() != "quit")
            .for_each(drop);
        drop(sender); // which is all that there is to say
    });
    spawn(async move {
        let _shut = receiver.recv().await;
        told.cancel();
    });
    let tasks = accept(listener, &stop).await?;
    println!("stopping, connections: {}", tasks.len());
    // What is dropped at the end of the time is the handles: the tasks go on, until the loop ends.
    match wait_for(limit, gather(tasks)).await {
        Ok(_) => println!("all have finished"),
        Err(elapsed) => println!("not all have finished: {elapsed}"),
    }
    Ok(())
}

const USAGE: &str = "usage: graceful [--addr 127.0.0.1:0] [--limit milliseconds, 5000]";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let (addr, limit) = options()?;
    let mut runner = Runner::new()?;
    runner.run(serve(addr, limit))??;
    let left = runner.close();
    for job in &left.tasks {
        println!("dropped: {job}");
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

/// The value of an option; if it is none, an error that names both, and the usage.
fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    let wrong = |error| format!("{name} {value}: {error}; {USAGE}");
    value.parse().map_err(wrong)
}

/// `--addr ADDRESS`, or a free port on the loopback; `--limit MILLISECONDS`, or five seconds.
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
