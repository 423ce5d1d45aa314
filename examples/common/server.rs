//! What the example servers have in common: their options, the limit of connections, and the end at SIGTERM.

use readily::io::{TcpListener, TcpStream};
use readily::signal::{Signal, signal};
use readily::{CancellationToken, JoinSet, Runner, race, spawn, wait_for};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The options of every server.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) addr: SocketAddr,
    /// The most connections at the same time.
    connections: usize,
    /// How long a client may take for the next request, or to read an answer.
    pub(crate) idle: Duration,
    /// How long a shutdown may take.
    limit: Duration,
}

/// What each server accepts, for its usage.
pub(crate) const USAGE: &str = "[--addr 127.0.0.1:0] [--connections 10000] [--idle milliseconds, default 60000] \
                                [--limit milliseconds, default 5000]";

impl Options {
    /// Parses the arguments of the process. `None` if they ask for help, which is printed. An option that
    /// only this server has goes to `other`, which returns whether there is one with this name.
    pub(crate) fn parse(
        usage: &str,
        mut other: impl FnMut(&str, &str) -> Result<bool, String>,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let mut options = Self {
            addr: ([127, 0, 0, 1], 0).into(),
            connections: 10_000,
            idle: Duration::from_secs(60),
            limit: Duration::from_secs(5),
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            if name == "--help" || name == "-h" {
                println!("usage: {usage}");
                return Ok(None);
            }
            let usage = format!("usage: {usage}");
            let value = args.next().ok_or(usage.clone())?;
            let wrong = |error: String| format!("{name} {value}: {error}; {usage}");
            let number = || value.parse().map_err(|error| wrong(format!("{error}")));
            match name.as_str() {
                "--addr" => {
                    options.addr = value.parse().map_err(|error| wrong(format!("{error}")))?;
                }
                "--connections" => {
                    options.connections = usize::try_from(number()?).unwrap_or(usize::MAX);
                }
                "--idle" => options.idle = Duration::from_millis(number()?),
                "--limit" => options.limit = Duration::from_millis(number()?),
                _ if other(&name, &value).map_err(wrong)? => {}
                _ => return Err(usage.into()),
            }
        }
        Ok(Some(options))
    }
}

/// Runs a server until SIGTERM or SIGINT, and prints what was left.
///
/// `connection` makes the future of a connection, which ends soon after its token is cancelled. A client
/// beyond the limit of connections gets `busy`, and is disconnected.
pub(crate) fn run<F>(
    options: Options,
    busy: &'static [u8],
    connection: impl Fn(TcpStream, CancellationToken) -> F,
) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let mut runner = Runner::new()?;
    runner.run(serve(options, busy, connection))??;
    println!("cut off: {}", runner.close().tasks.len());
    Ok(())
}

async fn serve<F>(
    options: Options,
    busy: &'static [u8],
    connection: impl Fn(TcpStream, CancellationToken) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = TcpListener::bind(options.addr)?;
    println!("listening on {}", listener.local_addr()?);
    let stop = CancellationToken::new();
    // Dropped after the first signal, so that a second one ends the process.
    let (int, term) = (signal(Signal::INT)?, signal(Signal::TERM)?);
    let token = stop.clone();
    spawn(async move {
        drop(race((int.recv(), term.recv())).await);
        token.cancel();
    });
    let mut open = JoinSet::new();
    // A connection that is always ready would win over the token.
    while !stop.is_cancelled() {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else {
            break;
        };
        let (stream, _peer) = accepted?;
        while open.try_join_next().is_some() {}
        if open.len() >= options.connections {
            // If there is no room for it, the client is disconnected without.
            let _written = stream.try_write(busy);
            continue;
        }
        let future = connection(stream, stop.clone());
        // Errors of a connection are its client's: it has gone, or was too slow.
        open.spawn(async move { drop(future.await) });
    }
    drop(listener);
    while open.try_join_next().is_some() {}
    println!("stopping, connections: {}", open.len());
    let all = async { while open.join_next().await.is_some() {} };
    let _in_time = wait_for(options.limit, all).await;
    open.detach_all();
    Ok(())
}
