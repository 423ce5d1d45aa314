//! A TCP echo server with coroutines: the same server as `echo_callbacks`.
//!
//! What is spread over five methods there is one loop here: read, write, and in between give
//! way (N10). A slow reader holds its own coroutine up, in `write_all`, and nobody else's.
//!
//! ```text
//! cargo run --release --example echo_coroutines -- --addr 127.0.0.1:7007
//! nc 127.0.0.1 7007
//! ```

use readily::io::{TcpListener, TcpStream};
use std::io;
use std::net::Shutdown;

/// As much as one connection may make us keep.
const ROOM: usize = 16 * 1024;

/// One connection, from its first byte to its end.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; ROOM];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            // Half-closed: the rest has been echoed, and now the end.
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

async fn serve(addr: std::net::SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept().await?;
        readily::spawn(async move {
            // A reset is this connection's end, and nobody else's business.
            let _ = echo(stream).await;
        });
    }
}

const USAGE: &str = "usage: echo_coroutines [--addr 127.0.0.1:0]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    Ok(readily::run(serve(addr()?))??)
}

/// `--addr ADDRESS`, or a free port on the loopback.
fn addr() -> Result<std::net::SocketAddr, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, ..) => Ok(([127, 0, 0, 1], 0).into()),
        (Some("--addr"), Some(addr), None) => {
            let wrong = |error| format!("--addr {addr}: {error}; {USAGE}");
            Ok(addr.parse::<std::net::SocketAddr>().map_err(wrong)?)
        }
        _ => Err(USAGE.into()),
    }
}
