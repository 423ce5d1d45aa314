//! A small Redis: a server for `redis-cli` and `redis-benchmark`, with keys that expire.
//!
//! Each connection is a task. All of them use one store, which needs no lock, because they run on one thread and a
//! command has no `await` (N12). A key that expires has a timer of the loop (N1). Answers to commands that arrive
//! together are written together: the server collects them until no further command has arrived, or until they are
//! large.
//!
//! It knows PING, ECHO, GET, SET (with EX, PX, NX, XX), DEL, EXISTS, INCR, INCRBY, DECR, MGET, TTL, PTTL, DBSIZE,
//! FLUSHALL and QUIT. A command, an argument, the memory of all keys and the number of connections have limits; a
//! client that is idle for too long, or that does not read, is disconnected. After SIGTERM, commands that have begun
//! are finished.
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

mod connection;
mod resp;
mod store;

use connection::serve;
use options::Options;
use std::error::Error;
use std::rc::Rc;
use store::Store;

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
