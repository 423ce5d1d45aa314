//! A TCP echo server with coroutines: the same server as `echo_callbacks`.
//!
//! The callbacks of that server become one loop here: read, write, repeat. At each `await` the
//! coroutine lets others run (N10). A peer that does not read suspends its own coroutine in
//! `write_all`; the other connections continue.
//!
//! ```text
//! cargo run --release --example echo_coroutines -- --addr 127.0.0.1:7007
//! nc 127.0.0.1 7007
//! ```

use readily::io::{TcpListener, TcpStream};
use std::io;
use std::net::Shutdown;

/// The size of the buffer of one connection.
const BUFFER_SIZE: usize = 16 * 1024;

/// Echoes everything that one connection sends.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            // The peer has half-closed the connection, and everything has been echoed.
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
            // An I/O error ends this connection only.
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

/// Parses `--addr ADDRESS`; the default is a free port on the loopback interface.
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
