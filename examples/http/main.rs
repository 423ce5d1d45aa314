//! A small HTTP/1.1 server: keep-alive, pipelining, chunked bodies, limits.
//!
//! The answer to `GET /?n=K` has K bytes, the answer to `POST /` is the body of the request, and `HEAD` is as `GET`
//! without the bytes. Each connection is a task. Answers to requests that arrive together are written together. A large
//! answer is written in parts, so a client that reads slowly costs little memory. A client that does not read, or
//! sends its request too slowly, is disconnected. The size of a head, of a body and of an answer, and the number of
//! connections, have limits. After SIGTERM, requests that have begun are finished.
//!
//! ```text
//! cargo run --release --example http -- --addr 127.0.0.1:8080
//! curl -v 'http://127.0.0.1:8080/?n=20' && curl -d hello http://127.0.0.1:8080/
//! wrk -c 50 -d 5 'http://127.0.0.1:8080/?n=100'
//! ```

#[path = "../common/answers.rs"]
mod answers;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/server.rs"]
mod server;

mod answer;
mod head;
mod read;

use answer::{Answer, BYTES, Connection};
use answers::Answers;
use head::{HEAD, Request};
use options::Options;
use read::Wrong;
use readily::CancellationToken;
use readily::io::{BufReader, TcpStream};
use std::error::Error;
use std::io;
use std::pin::pin;
use std::time::Duration;

async fn serve(stream: TcpStream, stop: CancellationToken, idle: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_limit(&stream, HEAD);
    let mut answers = Answers::new(&stream, idle);
    while answers.next(&mut reader, &stop).await? {
        let request = match part(&mut answers, read::head(&mut reader)).await? {
            Ok(request) => request,
            Err(status) => return refuse(&mut answers, status).await,
        };
        if request.expects {
            answers
                .bytes
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = read::body(&mut reader, request.framing);
        let body = match part(&mut answers, body).await? {
            Ok(body) => body,
            Err(status) => return refuse(&mut answers, status).await,
        };
        let connection = Connection::after(&request, stop.is_cancelled());
        answer(&mut answers, &request, &body, connection).await?;
        if connection == Connection::Close {
            return answers.write().await;
        }
        answers.write_if_full().await?;
    }
    Ok(())
}

/// Awaits a part of a request. The inner error is the status of the answer, the outer one ends the connection.
async fn part<T>(
    answers: &mut Answers<'_>,
    part: impl Future<Output = Result<T, Wrong>>,
) -> io::Result<Result<T, u16>> {
    match answers.before(pin!(part)).await {
        Ok(Ok(part)) => Ok(Ok(part)),
        Ok(Err(Wrong::Status(status))) => Ok(Err(status)),
        Ok(Err(Wrong::Io(error))) => {
            answers.write().await?; // those of the requests before
            Err(error)
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Err(408)),
        Err(error) => Err(error),
    }
}

/// Answers a request.
async fn answer(
    answers: &mut Answers<'_>,
    request: &Request,
    body: &[u8],
    connection: Connection,
) -> io::Result<()> {
    let answer = Answer::to(request, body);
    answers.bytes.extend_from_slice(&answer.head(connection));
    answers.bytes.extend_from_slice(answer.body);
    let mut left = answer.generated;
    while left > 0 {
        let part = left.min(BYTES.len());
        answers.bytes.extend_from_slice(&BYTES[..part]);
        left -= part;
        answers.write_if_full().await?;
    }
    Ok(())
}

/// Answers a request that cannot be served, after which the connection ends.
async fn refuse(answers: &mut Answers<'_>, status: u16) -> io::Result<()> {
    let head = Answer::status(status).head(Connection::Close);
    answers.bytes.extend_from_slice(&head);
    answers.write().await
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = format!("http {}", options::USAGE);
    let Some(options) = Options::parse(&usage, |_, _| Ok(false))? else {
        return Ok(());
    };
    let busy =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    server::run(options, busy, |stream, stop| {
        serve(stream, stop, options.idle)
    })
}
