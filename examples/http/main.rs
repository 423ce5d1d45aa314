//! A small HTTP/1.1 server: keep-alive, pipelining, chunked bodies, limits.
//!
//! `GET /?n=K` answers K bytes, `POST /` answers the body of the request, and `HEAD` is as `GET` without
//! the bytes. Each connection is a task. Requests that arrive together are answered together. A large
//! answer is written in parts, so a client that reads slowly costs no memory; one that does not read, or
//! sends its request too slowly, is disconnected. A head, a body, an answer and the number of connections
//! have limits. SIGTERM lets the requests finish that have begun.
//!
//! ```text
//! cargo run --release --example http -- --addr 127.0.0.1:8080
//! curl -v 'http://127.0.0.1:8080/?n=20' && curl -d hello http://127.0.0.1:8080/
//! wrk -c 50 -d 5 'http://127.0.0.1:8080/?n=100'
//! ```

#[path = "../common/answers.rs"]
mod answers;
#[path = "../common/server.rs"]
mod server;

mod body;
mod request;

use answers::Answers;
use readily::CancellationToken;
use readily::io::{BufReader, TcpStream};
use request::{Request, Wrong};
use server::Options;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::time::Duration;

/// The longest head, in bytes.
const HEAD: usize = 16 << 10;
/// The longest answer, in bytes.
const LONGEST: usize = 1 << 30;
/// What answers consist of.
const BYTES: [u8; 16 << 10] = [b'x'; 16 << 10];

async fn serve(stream: TcpStream, stop: CancellationToken, idle: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_limit(&stream, HEAD);
    let mut answers = Answers::new(&stream, idle);
    while answers.next(&mut reader, &stop).await? {
        let request = match part(&mut answers, request::read(&mut reader)).await? {
            Ok(request) => request,
            Err(status) => return refuse(&mut answers, status).await,
        };
        if request.expects {
            answers
                .bytes
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = body::read(&mut reader, request.framing);
        let body = match part(&mut answers, body).await? {
            Ok(body) => body,
            Err(status) => return refuse(&mut answers, status).await,
        };
        let connection = match request.keep_alive && !stop.is_cancelled() {
            false => Connection::Close,
            true if request.is_old => Connection::KeepAlive,
            true => Connection::Default,
        };
        answer(&mut answers, &request, &body, connection).await?;
        if connection == Connection::Close {
            return answers.write().await;
        }
        answers.write_if_full().await?;
    }
    Ok(())
}

/// Awaits a part of a request, or finds the status to answer.
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
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let is_get = matches!(request.method.as_str(), "GET" | "HEAD");
    let wanted = query.split('&').find_map(|one| one.strip_prefix("n="));
    let (status, mut length) = match (path, request.method.as_str(), wanted) {
        ("/", "POST", _) => (200, body.len()),
        ("/", _, None) if is_get => (200, 0),
        ("/", _, Some(wanted)) if is_get => match wanted.parse() {
            Ok(length) if length <= LONGEST => (200, length),
            _ => (400, 0),
        },
        ("/", ..) => (405, 0),
        _ => (404, 0),
    };
    write_head(answers, status, length, connection);
    match request.method.as_str() {
        "HEAD" => {}
        "POST" => answers.bytes.extend_from_slice(&body[..length]),
        _ => {
            while length > 0 {
                let part = length.min(BYTES.len());
                answers.bytes.extend_from_slice(&BYTES[..part]);
                length -= part;
                answers.write_if_full().await?;
            }
        }
    }
    Ok(())
}

/// The header `Connection` of an answer.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    /// None: a client of HTTP/1.1 takes the connection for one that goes on.
    Default,
    KeepAlive,
    Close,
}

fn write_head(answers: &mut Answers<'_>, status: u16, length: usize, connection: Connection) {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "",
    };
    let allow = if status == 405 {
        "Allow: GET, HEAD, POST\r\n"
    } else {
        ""
    };
    let connection = match connection {
        Connection::Default => "",
        Connection::KeepAlive => "Connection: keep-alive\r\n",
        Connection::Close => "Connection: close\r\n",
    };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {length}\r\n{allow}{connection}\r\n"
    );
    answers.bytes.extend_from_slice(head.as_bytes());
}

/// Answers a request that cannot be served, after which the connection ends.
async fn refuse(answers: &mut Answers<'_>, status: u16) -> io::Result<()> {
    write_head(answers, status, 0, Connection::Close);
    answers.write().await
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = format!("http {}", server::USAGE);
    let Some(options) = Options::parse(&usage, |_, _| Ok(false))? else {
        return Ok(());
    };
    let busy =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    server::run(options, busy, |stream, stop| {
        serve(stream, stop, options.idle)
    })
}
