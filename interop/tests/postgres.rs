//! The client `tokio-postgres`, unmodified, on `connect_raw` over [`Io`]: against a PostgreSQL on a Unix
//! socket, and against a scripted server on the kernels in memory.

#[path = "common/connection.rs"]
mod connection;
#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/servers.rs"]
mod servers;

use bytes::Bytes;
use connection::{bytes, connection};
use futures_util::{SinkExt, TryStreamExt};
use kernels::{in_memory_with_faults, on_the_system};
use readily::io::{TcpStream, UnixStream};
use readily::{Elapsed, Task, gather, spawn, wait_for};
use readily_interop::{Io, Stream};
use readily_testing::SimLoop;
use servers::{Folder, Server, find, piped};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

/// A client, and the task that drives its connection until the client is dropped.
async fn client<S: Stream + Unpin + 'static>(stream: S) -> (Client, Task<Result<(), Error>>) {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    let connected = config.connect_raw(Io::new(stream), NoTls).await;
    let (client, connection) = connected.unwrap();
    (client, spawn(connection))
}

/// Starts a PostgreSQL in the folder, or `None` if there is none.
fn postgres(folder: &Folder) -> Option<Server> {
    let (initdb, program) = (find("initdb")?, find("postgres")?);
    let mut init = folder.command(initdb);
    init.args([
        "--username=postgres",
        "--auth=trust",
        "--no-sync",
        "--pgdata=data",
    ]);
    let init = init.output().unwrap();
    assert!(init.status.success(), "{init:?}");
    let mut command = folder.command(program);
    // On the Unix socket in the folder only.
    command.args(["-D", "data", "-h", "", "-F", "-k"]);
    command.arg(folder.path());
    let command = piped(&mut command).stderr(Stdio::piped());
    Some(Server::start(command, "ready to accept connections").0)
}

#[test]
fn a_postgresql_answers_over_a_unix_socket() {
    let folder = Folder::new("postgres");
    let Some(_server) = postgres(&folder) else {
        return;
    };
    let socket = folder.path().join(".s.PGSQL.5432");
    on_the_system(async {
        let (mut client, connection) = client(UnixStream::connect(&socket).await.unwrap()).await;
        queries(&client).await;
        transactions(&mut client).await;
        copies(&client).await;
        drops(&client).await;
        // The last one: PostgreSQL signals a cancel twice, which may meet the next query, too.
        cancels(&client, &socket).await;
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

/// Values of several types and sizes, and prepared statements, fifty of them at once.
async fn queries(client: &Client) {
    let large = bytes(1 << 20);
    let query = "SELECT $1::bytea, $2::text, $3::float8, NULL::int4";
    let values: [&(dyn ToSql + Sync); 3] = [&large, &"Grüße, 世界", &0.5];
    let row = client.query_one(query, &values).await.unwrap();
    assert!(row.get::<_, Vec<u8>>(0) == large);
    assert_eq!(row.get::<_, &str>(1), "Grüße, 世界");
    assert_eq!(row.get::<_, f64>(2).to_bits(), 0.5_f64.to_bits());
    assert_eq!(row.get::<_, Option<i32>>(3), None);

    let double = client.prepare("SELECT $1::int8 * 2").await.unwrap();
    let at_once = (0..50_i64).map(async |n| {
        let row = client.query_one(&double, &[&n]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), n * 2);
    });
    gather(at_once).await;

    let error = client.query_one("SELECT 1 / $1::int4", &[&0]).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
}

/// One that is committed, one that is dropped, and one that fails.
async fn transactions(client: &mut Client) {
    let create = "CREATE TABLE numbers (n int8 PRIMARY KEY, name text)";
    client.batch_execute(create).await.unwrap();
    let insert = client.prepare("INSERT INTO numbers VALUES ($1, 'x')").await;
    let insert = insert.unwrap();
    for (n, is_committed) in [(1_i64, true), (2, false)] {
        let transaction = client.transaction().await.unwrap();
        transaction.execute(&insert, &[&n]).await.unwrap();
        if is_committed {
            transaction.commit().await.unwrap();
        }
    }
    let transaction = client.transaction().await.unwrap();
    let error = transaction.execute(&insert, &[&1_i64]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let error = transaction.execute(&insert, &[&3_i64]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    let rows = client.query("SELECT n FROM numbers", &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, i64>(0), 1);
}

/// Rows to the server and back, in chunks that do not end where the rows do.
async fn copies(client: &Client) {
    client.batch_execute("TRUNCATE numbers").await.unwrap();
    let rows = (0..50_000).map(|n| format!("{n}\tname {n}\n"));
    let sent: Vec<u8> = rows.collect::<String>().into();
    let sink = client.copy_in("COPY numbers FROM STDIN").await.unwrap();
    let mut sink = pin!(sink);
    for chunk in sent.chunks(7919) {
        sink.send(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 50_000);
    let copy = "COPY (SELECT * FROM numbers ORDER BY n) TO STDOUT";
    let chunks = client.copy_out(copy).await.unwrap();
    let received: Vec<Bytes> = chunks.try_collect().await.unwrap();
    assert!(received.concat() == sent);
}

/// A query that runs is cancelled, over a connection of its own.
async fn cancels(client: &Client, socket: &Path) {
    let connect = async || UnixStream::connect(socket).await.unwrap();
    let token = client.cancel_token();
    let cancel = async {
        let (other, _connection) = self::client(connect().await).await;
        let sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while other.query(sleeping, &[]).await.unwrap().is_empty() {}
        let stream = Io::new(connect().await);
        token.cancel_query_raw(stream, NoTls).await.unwrap();
    };
    let sleep = client.query("SELECT pg_sleep(600)", &[]);
    let (slept, ()) = gather((sleep, cancel)).await;
    let error = slept.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
}

/// A query whose future was dropped at its time limit keeps its place: the next one gets its own answer.
async fn drops(client: &Client) {
    let sleep = client.query("SELECT pg_sleep(0.3)", &[]);
    let late = wait_for(Duration::from_millis(1), sleep).await;
    assert_eq!(late.unwrap_err(), Elapsed);
    let row = client.query_one("SELECT 'own'", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "own");
}

/// A message of the server: a kind, the length of the rest, and the rest.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &len[..], body].concat()
}

/// Reads so many bytes, or `None` if the client has ended the stream before.
async fn part(stream: &TcpStream, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match stream.read(&mut bytes[filled..]).await? {
            0 => return Ok(None),
            n => filled += n,
        }
    }
    Ok(Some(bytes))
}

/// The length of a message's body, which stands before it.
fn body_len(len: &[u8]) -> usize {
    u32::from_be_bytes(len.try_into().unwrap()) as usize - 4
}

/// A server that answers each simple query with its own text, as the one column of one row.
async fn scripted(stream: TcpStream) -> io::Result<()> {
    let Some(len) = part(&stream, 4).await? else {
        return Ok(());
    };
    part(&stream, body_len(&len)).await?;
    let ready = message(b'Z', b"I");
    let welcome = [message(b'R', &[0; 4]), ready.clone()];
    stream.write_all(&welcome.concat()).await?;
    while let Some(head) = part(&stream, 5).await? {
        let Some(mut text) = part(&stream, body_len(&head[1..])).await? else {
            return Ok(());
        };
        if head[0] == b'X' {
            return Ok(());
        }
        text.pop(); // the zero at its end
        let text_len = u32::try_from(text.len()).unwrap().to_be_bytes();
        // One column: its name, and 18 bytes of its type, which is `text` (25).
        let column = [&[0, 1][..], b"q\0", &[0; 6], &[0, 0, 0, 25], &[0; 8]].concat();
        let answer = [
            message(b'T', &column),
            message(b'D', &[&[0, 1], &text_len[..], &text].concat()),
            message(b'C', b"SELECT 1\0"),
            ready.clone(),
        ];
        stream.write_all(&answer.concat()).await?;
    }
    Ok(())
}

/// Queries of several sizes, many at once, each of which gets its own answer.
async fn own_answers() {
    let (ours, theirs) = connection().await;
    let server = spawn(scripted(theirs));
    let (client, connection) = client(ours).await;
    let at_once = [1, 10, 1000, 70_000].repeat(5).into_iter().enumerate();
    let at_once = at_once.map(async |(n, len)| {
        let query = format!("{n} {}", "x".repeat(len));
        let answer = client.simple_query(&query).await.unwrap();
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert!(row == Some(&query));
    });
    gather(at_once).await;
    drop(client);
    connection.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
}

#[test]
fn each_query_gets_its_own_answer_on_each_kernel_with_the_faults_of_100_seeds() {
    in_memory_with_faults(own_answers);
}

#[test]
fn a_server_that_is_silent_at_the_start_is_given_up_in_virtual_time() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (ours, _silent) = connection().await;
        let limited = wait_for(Duration::from_secs(15), client(ours)).await;
        assert!(matches!(limited, Err(Elapsed)));
    })
    .unwrap();
    assert_eq!(sim.elapsed().as_secs(), 15);
}

/// A server that goes: each query that waits ends with an error, and so does each later one.
#[test]
fn queries_end_when_the_server_goes() {
    in_memory_with_faults(async || {
        let (ours, theirs) = connection().await;
        let server = spawn(async move {
            let stream = theirs;
            let len = part(&stream, 4).await?.unwrap_or_default();
            part(&stream, body_len(&len)).await?;
            let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")];
            stream.write_all(&welcome.concat()).await?;
            part(&stream, 1).await
        });
        let (client, connection) = client(ours).await;
        let at_once = gather((0..10).map(|_| client.simple_query("SELECT 1"))).await;
        server.await.unwrap().unwrap();
        assert!(at_once.into_iter().all(|answer| answer.is_err()));
        assert!(client.is_closed());
        let _ended = connection.await.unwrap();
    });
}
