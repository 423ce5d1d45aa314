//! What the example servers of coroutines have in common: the limit of connections, and the end at SIGTERM.

use crate::options::Options;
use readily::io::{TcpListener, TcpStream};
use readily::signal::{Signal, signal};
use readily::{CancellationToken, JoinSet, Runner, race, spawn, wait_for};
use std::error::Error;
use std::io;

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
