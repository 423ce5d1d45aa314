//! A proxy for TCP: each connection is passed on to another host, byte for byte, in both directions.
//!
//! The host is looked up for each connection, and its addresses are tried as in RFC 8305. When one direction ends,
//! the proxy passes the end on, and the other direction goes on. A connection without traffic has no buffer, and is
//! closed after a time limit. If one peer reads slowly, the proxy reads slowly from the other. After SIGTERM the
//! proxy accepts no more, and waits for the connections up to the limit.
//!
//! ```text
//! cargo run --release --example http -- --addr 127.0.0.1:8080 &
//! cargo run --release --example proxy -- --to localhost:8080 --addr 127.0.0.1:8081
//! curl -v 'http://127.0.0.1:8081/?n=20'
//! ```

#[path = "common/options.rs"]
mod options;
#[path = "common/server.rs"]
mod server;

use options::Options;
use readily::io::{TcpStream, copy_bidirectional};
use readily::wait_for;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How long a connection to the other host may take.
const CONNECT: Duration = Duration::from_secs(10);

async fn proxy(client: TcpStream, to: Rc<str>, idle: Duration) -> io::Result<()> {
    let host = wait_for(CONNECT, TcpStream::connect(&*to)).await;
    let host = host.unwrap_or_else(|elapsed| Err(elapsed.into()));
    // What is wrong with the host is no fault of the client.
    let host = host.inspect_err(|error| eprintln!("{to}: {error}"))?;
    // What arrives together is passed on together, and not held back for more.
    client.set_nodelay(true)?;
    host.set_nodelay(true)?;
    copy_bidirectional(client, host).idle_limit(idle).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = format!("proxy --to host:port {}", options::USAGE);
    let mut to: Option<Rc<str>> = None;
    let options = Options::parse(&usage, |name, value| {
        if name == "--to" {
            to = Some(value.into());
        }
        Ok(name == "--to")
    })?;
    let Some(options) = options else {
        return Ok(());
    };
    let to = to.ok_or(format!("usage: {usage}"))?;
    server::run(options, b"", move |client, _stop| {
        proxy(client, Rc::clone(&to), options.idle)
    })
}
