//! The client `redis`, unmodified, on a multiplexed connection over [`Io`]: against the example server `redis`
//! on the kernels in memory and in a process, and against a Redis.
//!
//! The client's own time limits need tokio's timers. They are off, and `wait_for` takes their place.

#[path = "../../examples/common/answers.rs"]
mod answers;
#[path = "common/connection.rs"]
mod connection_pair;
#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/servers.rs"]
mod servers;

#[path = "../../examples/redis/connection.rs"]
mod connection;
#[path = "../../examples/redis/resp.rs"]
mod resp;
#[path = "../../examples/redis/store.rs"]
mod store;

use connection_pair::bytes;
use kernels::{in_memory_with_faults, on_the_system};
use readily::io::{TcpListener, TcpStream, UnixStream};
use readily::{CancellationToken, Elapsed, Task, gather, sleep, spawn, wait_for};
use readily_interop::{Io, Stream};
use readily_testing::SimLoop;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo,
    SetExpiry, SetOptions, cmd, pipe,
};
use servers::{Folder, Server, find, piped};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use store::Store;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A client, and the task that drives its connection until the last clone of the client is dropped.
async fn client_with<S: Stream + Unpin + 'static>(
    stream: S,
    info: RedisConnectionInfo,
    config: AsyncConnectionConfig,
) -> (MultiplexedConnection, Task<()>) {
    let config = config
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connected = MultiplexedConnection::new_with_config(&info, Io::new(stream), config).await;
    let (client, driver) = connected.unwrap();
    (client, spawn(driver))
}

async fn client<S: Stream + Unpin + 'static>(stream: S) -> (MultiplexedConnection, Task<()>) {
    let (info, config) = (RedisConnectionInfo::default(), AsyncConnectionConfig::new());
    client_with(stream, info, config).await
}

/// The example server in this loop: each of its connections is a task.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let store = Store::new(1 << 30);
    drop(spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (stop, store) = (CancellationToken::new(), Rc::clone(&store));
            drop(spawn(async move {
                let _ended = connection::serve(stream, stop, store, seconds(600)).await;
            }));
        }
    }));
    addr
}

/// What a Redis and the example server have in common. The tasks share one connection.
async fn commands<S: Stream + Unpin + 'static>(stream: S) {
    let (mut client, driver) = client(stream).await;
    let pong: String = client.ping().await.unwrap();
    assert_eq!(pong, "PONG");
    for len in [0, 1, 70_000] {
        () = client.set("key", bytes(len)).await.unwrap();
        let value: Vec<u8> = client.get("key").await.unwrap();
        assert!(value == bytes(len));
    }
    let none: Option<String> = client.get("no such key").await.unwrap();
    assert_eq!(none, None);

    // An error of one command is that command's.
    () = client.set("text", "no number").await.unwrap();
    let error = client.incr::<_, _, i64>("text", 1).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Server(_)), "{error:?}");

    let mut pipeline = pipe();
    for _ in 0..100 {
        pipeline.incr("pipelined", 1);
    }
    let counts: Vec<i64> = pipeline.query_async(&mut client).await.unwrap();
    assert_eq!(counts, (1..=100).collect::<Vec<_>>());

    let tasks = (0..20).map(|n| {
        let mut client = client.clone();
        spawn(async move {
            let key = format!("key {n}");
            () = client.set(&key, bytes(n * 500)).await.unwrap();
            let _: i64 = client.incr("shared", n).await.unwrap();
            let value: Vec<u8> = client.get(&key).await.unwrap();
            assert!(value == bytes(n * 500));
        })
    });
    let done = gather(tasks.collect::<Vec<_>>()).await;
    assert!(done.into_iter().all(|task| task.is_ok()));
    let sum: i64 = client.get("shared").await.unwrap();
    assert_eq!(sum, 190);

    drop(client);
    driver.await.unwrap();
}

#[test]
fn commands_of_many_tasks_are_answered_on_each_kernel_with_the_faults_of_100_seeds() {
    in_memory_with_faults(async || {
        let stream = TcpStream::connect(serve()).await.unwrap();
        commands(stream).await;
    });
}

#[test]
fn a_key_expires_in_virtual_time() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let stream = TcpStream::connect(serve()).await.unwrap();
        let (mut client, _driver) = client(stream).await;
        let expiry = SetOptions::default().with_expiration(SetExpiry::EX(60));
        () = client.set_options("key", "value", expiry).await.unwrap();
        sleep(seconds(59)).await;
        assert!(client.exists::<_, bool>("key").await.unwrap());
        sleep(seconds(2)).await;
        assert!(!client.exists::<_, bool>("key").await.unwrap());
    })
    .unwrap();
    assert_eq!(sim.elapsed().as_secs(), 61);
}

/// A command whose future was dropped at its time limit keeps its place: the next one gets its own answer.
#[test]
fn an_answer_that_comes_after_its_time_limit_is_no_other_commands_answer() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (ours, theirs) = connection_pair::connection().await;
        let store = Store::new(1 << 20);
        let _slow = spawn(async move {
            sleep(seconds(10)).await;
            connection::serve(theirs, CancellationToken::new(), store, seconds(600)).await
        });
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (mut client, _driver) = client_with(ours, info, AsyncConnectionConfig::new()).await;
        let late = wait_for(seconds(5), client.ping_message::<_, String>("late")).await;
        assert_eq!(late.unwrap_err(), Elapsed);
        let own: String = cmd("ECHO")
            .arg("own")
            .query_async(&mut client)
            .await
            .unwrap();
        assert_eq!(own, "own");
    })
    .unwrap();
    assert_eq!(sim.elapsed().as_secs(), 10);
}

/// A server that goes: each command that waits ends with an error, and so does each later one.
#[test]
fn commands_end_when_the_server_goes() {
    in_memory_with_faults(async || {
        let (ours, theirs) = connection_pair::connection().await;
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (client, driver) = client_with(ours, info, AsyncConnectionConfig::new()).await;
        let waiting = (0..10).map(|_| {
            let mut client = client.clone();
            spawn(async move { client.get::<_, String>("key").await })
        });
        let waiting = waiting.collect::<Vec<_>>();
        let mut first = [0; 1];
        theirs.read(&mut first).await.unwrap();
        drop(theirs);
        for answer in gather(waiting).await {
            let error = answer.unwrap().unwrap_err();
            assert!(error.is_connection_dropped(), "{error:?}");
        }
        let later = client.clone().get::<_, String>("key").await.unwrap_err();
        assert!(later.is_connection_dropped(), "{later:?}");
        drop(client);
        driver.await.unwrap();
    });
}

#[test]
fn commands_of_many_tasks_are_answered_by_the_example_server_in_a_process() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    // It becomes the example.
    cargo.args([
        "run",
        "--quiet",
        "--example",
        "redis",
        "--manifest-path",
        manifest,
    ]);
    let (_server, line) = Server::start(piped(&mut cargo), "listening on ");
    let addr: SocketAddr = line["listening on ".len()..].trim().parse().unwrap();
    on_the_system(async {
        let stream = TcpStream::connect(addr).await.unwrap();
        commands(stream).await;
    });
}

#[test]
fn commands_transactions_and_messages_work_against_a_redis() {
    let Some(program) = find("redis-server") else {
        return;
    };
    let folder = Folder::new("redis");
    let socket = folder.path().join("socket");
    let mut redis = folder.command(program);
    redis.args(["--port", "0", "--save", "", "--unixsocket"]);
    redis.arg(&socket).stderr(Stdio::inherit());
    let (_server, _) = Server::start(piped(&mut redis), "eady to accept connections");
    on_the_system(async {
        let connect = async || UnixStream::connect(&socket).await.unwrap();
        commands(connect().await).await;
        transaction(connect().await).await;
        blocked(connect().await, connect().await).await;
        messages(connect().await).await;
    });
}

async fn transaction(stream: UnixStream) {
    let (mut client, _driver) = client(stream).await;
    let mut pipeline = pipe();
    pipeline
        .atomic()
        .set("atomic", 1)
        .ignore()
        .incr("atomic", 2);
    let (sum,): (i64,) = pipeline.query_async(&mut client).await.unwrap();
    assert_eq!(sum, 3);
}

/// A command that waits in the server for what another connection sends.
async fn blocked(stream: UnixStream, other: UnixStream) {
    let ((mut client, _driver), (mut other, _other_driver)) =
        (client(stream).await, client(other).await);
    let pop = spawn(async move { client.blpop::<_, (String, String)>("list", 0.0).await });
    let _: i64 = other.rpush("list", "item").await.unwrap();
    let popped = pop.await.unwrap().unwrap();
    assert_eq!(popped, ("list".to_owned(), "item".to_owned()));
}

/// Messages that the server pushes between the answers.
async fn messages(stream: UnixStream) {
    let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    let (push, mut pushed) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(push);
    let (mut client, _driver) = client_with(stream, info, config).await;
    client.subscribe("channel").await.unwrap();
    for n in 0..100 {
        let receivers: i64 = client.publish("channel", n).await.unwrap();
        assert_eq!(receivers, 1);
    }
    let mut n = 0;
    while n < 100 {
        let push = pushed.recv().await.unwrap();
        if push.kind == redis::PushKind::Message {
            let (_, received): (String, i64) =
                redis::from_redis_value(redis::Value::Array(push.data)).unwrap();
            assert_eq!(received, n);
            n += 1;
        }
    }
}
