//! A small Redis: a server for `redis-cli` and `redis-benchmark`, with keys that expire.
//!
//! Each connection is a task. All of them use one store, which needs no lock, because they run on one
//! thread and a command has no `await` (N12). A key that expires has a timer of the loop (N1). Commands
//! that arrive together are answered together: the answers are collected until the next command has not
//! arrived yet, or until they are many.
//!
//! It knows PING, ECHO, GET, SET (with EX, PX, NX, XX), DEL, EXISTS, INCR, INCRBY, DECR, MGET, TTL, PTTL,
//! DBSIZE, FLUSHALL and QUIT. A command, an argument, the memory of all keys and the number of connections
//! have limits; a client that is idle for too long, or that does not read, is disconnected. SIGTERM lets
//! the commands finish that have begun.
//!
//! ```text
//! cargo run --release --example redis -- --addr 127.0.0.1:6380
//! redis-cli -p 6380 set greeting hello ex 60
//! redis-benchmark -p 6380 -t ping,set,get,incr -P 16 -q
//! ```

#[path = "../common/answers.rs"]
mod answers;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/server.rs"]
mod server;

mod resp;
mod store;

use answers::Answers;
use options::Options;
use readily::CancellationToken;
use readily::io::{BufReader, ReadError, TcpStream};
use resp::{Answer, LONGEST, Wrong};
use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use store::Store;

async fn serve(
    stream: TcpStream,
    stop: CancellationToken,
    store: Rc<RefCell<Store>>,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_limit(&stream, LONGEST + 2);
    let mut answers = Answers::new(&stream, idle);
    loop {
        if !answers.next(&mut reader, &stop).await? {
            return Ok(());
        }
        let command = pin!(resp::command(&mut reader));
        match answers.before(command).await? {
            Ok(command) if command.is_empty() => continue,
            Ok(command) => {
                store.borrow_mut().run(&command).write(&mut answers.bytes);
                if command[0].eq_ignore_ascii_case(b"QUIT") {
                    return answers.write().await;
                }
            }
            Err(Wrong::Protocol(text)) => {
                Answer::error(&format!("Protocol error: {text}")).write(&mut answers.bytes);
                return answers.write().await;
            }
            Err(Wrong::Read(ReadError::TooLong { .. })) => {
                Answer::error("Protocol error: too big").write(&mut answers.bytes);
                return answers.write().await;
            }
            Err(Wrong::Read(error)) => {
                answers.write().await?; // those of the commands before
                return Err(error.into());
            }
        }
        answers.write_if_full().await?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = format!("redis {} [--memory bytes, default 1 GiB]", options::USAGE);
    let mut memory = 1 << 30;
    let options = Options::parse(&usage, |name, value| {
        if name != "--memory" {
            return Ok(false);
        }
        memory = value.parse().map_err(|error| format!("{error}"))?;
        Ok(true)
    })?;
    let Some(options) = options else {
        return Ok(());
    };
    let store = Store::new(memory);
    let busy = b"-ERR max number of clients reached\r\n";
    server::run(options, busy, |stream, stop| {
        serve(stream, stop, Rc::clone(&store), options.idle)
    })
}
