//! hyper's own clients and servers, unmodified, on loops in memory and on the system's kernel.
//!
//! A server answers each request with the body that it got, and with a checksum. The clients send several
//! requests one after the other, or at once, in chunks. All bytes must be the same whatever the kernel and
//! the faults of the seed do.

#[path = "common/kernels.rs"]
mod kernels;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, server};
use kernels::{in_memory_with_faults, on_the_system};
use readily::io::{TcpListener, TcpStream, UnixStream};
use readily::{Runner, gather, spawn};
use readily_interop::{Io, LocalExecutor, LoopTimer};
use readily_testing::SimLoop;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn body(n: usize) -> Vec<u8> {
    let len = [0, 1, 1000, 70_000][n % 4] + n;
    (0..len).map(|at| (at * 31 + at / 251 + n) as u8).collect()
}

/// The body in frames of several sizes.
fn frames(
    bytes: Vec<u8>,
) -> StreamBody<impl futures_core::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
    let mut rest = Bytes::from(bytes);
    let mut sizes = [1, 3000, 17, 40_000].into_iter().cycle();
    let frames = std::iter::from_fn(move || {
        let size = sizes.next().unwrap_or(1).min(rest.len());
        (!rest.is_empty()).then(|| Ok(Frame::data(rest.split_to(size))))
    });
    StreamBody::new(futures_util::stream::iter(frames))
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let bytes = request.into_body().collect().await?.to_bytes();
    let response = Response::builder().header("x-path", path);
    Ok(response.body(Full::new(bytes)).expect("it is complete"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    Http1,
    Http2,
}

/// Serves each connection in a task of its own.
async fn serve(listener: TcpListener, version: Version) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        drop(spawn(async move {
            let (io, service) = (Io::new(stream), service_fn(echo));
            match version {
                Version::Http1 => {
                    let mut http = server::conn::http1::Builder::new();
                    http.timer(LoopTimer)
                        .serve_connection(io, service)
                        .await
                        .unwrap();
                }
                Version::Http2 => {
                    let mut http = server::conn::http2::Builder::new(LocalExecutor);
                    let served = http.timer(LoopTimer).serve_connection(io, service).await;
                    // A client that has all its answers closes without waiting for the last frames.
                    if let Err(error) = served {
                        assert!(is_closed(&error), "{error:?}");
                    }
                }
            }
        }));
    }
}

/// Whether the peer has closed the connection.
fn is_closed(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    source.is_some_and(|error| closed.contains(&error.kind()))
}

/// Checks the answer to the request with the number `n`.
async fn check(n: usize, response: Response<Incoming>) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-path"], format!("/{n}"));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes == body(n), "request {n}");
}

async fn ask(addr: SocketAddr, version: Version, requests: usize) {
    let io = Io::new(TcpStream::connect(addr).await.unwrap());
    let request = |n| {
        let uri = format!("http://{addr}/{n}");
        Request::post(uri).body(frames(body(n))).unwrap()
    };
    match version {
        Version::Http1 => {
            let (mut sender, connection) = client::conn::http1::handshake(io).await.unwrap();
            let connection = spawn(async move { connection.await.unwrap() });
            for n in 0..requests {
                sender.ready().await.unwrap();
                check(n, sender.send_request(request(n)).await.unwrap()).await;
            }
            drop(sender);
            connection.await.unwrap();
        }
        Version::Http2 => {
            let handshake = client::conn::http2::handshake(LocalExecutor, io).await;
            let (sender, connection) = handshake.unwrap();
            let connection = spawn(async move { connection.await.unwrap() });
            let all = (0..requests).map(|n| {
                let mut sender = sender.clone();
                let request = request(n);
                async move {
                    sender.ready().await.unwrap();
                    check(n, sender.send_request(request).await.unwrap()).await;
                }
            });
            gather(all).await;
            drop(sender);
            connection.await.unwrap();
        }
    }
}

async fn server_and_clients(version: Version) {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = spawn(serve(listener, version));
    gather((0..3).map(|n| ask(addr, version, 4 + n))).await;
    server.cancel();
}

#[test]
fn http1_moves_every_byte_on_each_kernel_with_the_faults_of_100_seeds() {
    in_memory_with_faults(|| server_and_clients(Version::Http1));
}

#[test]
fn http2_moves_every_byte_on_each_kernel_with_the_faults_of_100_seeds() {
    in_memory_with_faults(|| server_and_clients(Version::Http2));
}

#[test]
fn both_versions_move_every_byte_on_the_systems_kernel() {
    for version in [Version::Http1, Version::Http2] {
        on_the_system(server_and_clients(version));
    }
}

/// A peer that connects and sends no header: hyper's limit of 30 s, in virtual time.
#[test]
fn a_limit_of_thirty_seconds_passes_in_virtual_time() {
    let mut sim = SimLoop::new(1);
    let error = sim.run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut http = server::conn::http1::Builder::new();
        http.timer(LoopTimer)
            .header_read_timeout(Duration::from_secs(30));
        http.serve_connection(Io::new(stream), service_fn(echo))
            .await
            .unwrap_err()
    });
    assert!(error.unwrap().is_timeout());
    assert_eq!(sim.elapsed().as_secs(), 30);
}

#[test]
fn a_peer_that_goes_in_the_middle_of_a_body_ends_its_request_and_nothing_else() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = spawn(async move {
            let mut outcomes = Vec::new();
            for _ in 0..2 {
                let (stream, _) = listener.accept().await.unwrap();
                let http = server::conn::http1::Builder::new();
                outcomes.push(
                    http.serve_connection(Io::new(stream), service_fn(echo))
                        .await,
                );
            }
            outcomes
        });
        let stream = TcpStream::connect(addr).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345";
        stream.write_all(head).await.unwrap();
        drop(stream);
        ask(addr, Version::Http1, 2).await;
        let outcomes = server.await.unwrap();
        assert!(outcomes[0].is_err());
        assert!(outcomes[1].is_ok());
    })
    .unwrap();
}

#[test]
fn a_stream_that_was_adapted_is_given_back() {
    Runner::new()
        .unwrap()
        .run(async {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            let io = Io::new(TcpStream::connect(addr).await.unwrap());
            assert_eq!(io.into_inner().peer_addr().unwrap(), addr);
        })
        .unwrap();
}

/// It is `Send`, and says so where it is wrong.
#[test]
fn a_stream_that_another_thread_uses_panics_there() {
    let mut runner = Runner::new().unwrap();
    let io = runner.run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        Io::new(
            TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap(),
        )
    });
    let io = io.unwrap();
    std::thread::scope(|scope| {
        let used = scope.spawn(|| io.get_ref().local_addr());
        assert!(used.join().is_err());
    });
    assert!(io.get_ref().local_addr().is_ok());
}

/// Bytes one way, up to the end that a shutdown makes; then the other way.
async fn over_a_unix_stream() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut ours, mut theirs) = (Io::new(ours), Io::new(theirs));
    let sent = body(3);
    let send = async {
        ours.write_all(&sent).await.unwrap();
        ours.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = gather((send, theirs.read_to_end(&mut received))).await;
    assert_eq!(read.unwrap(), sent.len());
    assert!(received == sent);
    theirs.write_all(b"back").await.unwrap();
    drop(theirs);
    let mut back = Vec::new();
    ours.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"back");
    ours.shutdown().await.unwrap(); // though the peer has gone
}

#[test]
fn a_unix_stream_is_adapted_too() {
    on_the_system(over_a_unix_stream());
    in_memory_with_faults(over_a_unix_stream);
}
