//! What a request over HTTP/1.1 costs with hyper, on a loop of `readily` and on tokio's: one client, one server
//! and one connection in one thread, kept alive.
//!
//! ```sh
//! cargo build --release --example hyper_cost
//! for runtime in readily tokio; do
//!     for requests in 2000 4000; do # the difference is that of 2000 requests
//!         valgrind --tool=none target/release/examples/hyper_cost $runtime $requests
//!     done
//! done
//! ```

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use readily_interop::Io;
use std::convert::Infallible;
use std::net::SocketAddr;

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

async fn serve(io: impl Read + Write + Unpin + 'static) {
    let served = server::conn::http1::Builder::new().serve_connection(io, service_fn(hello));
    served.await.expect("the client ends it");
}

/// Sends requests one after the other. `spawn` runs the connection.
async fn ask<T: Read + Write + Unpin + 'static>(
    io: T,
    addr: SocketAddr,
    requests: u32,
    spawn: impl FnOnce(client::conn::http1::Connection<T, Empty<Bytes>>),
) {
    let (mut sender, connection) = client::conn::http1::handshake(io)
        .await
        .expect("it connects");
    spawn(connection);
    for _ in 0..requests {
        sender.ready().await.expect("it is kept alive");
        let request = Request::get("/")
            .header("host", addr.to_string())
            .body(Empty::new());
        let response = sender.send_request(request.expect("it is complete")).await;
        let body = response.expect("an answer").into_body().collect().await;
        assert_eq!(body.expect("a body").to_bytes(), "hello");
    }
}

async fn on_readily(requests: u32) -> std::io::Result<()> {
    let listener = readily::io::TcpListener::bind(([127, 0, 0, 1], 0))?;
    let addr = listener.local_addr()?;
    let server = readily::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        serve(Io::new(stream)).await;
    });
    let stream = Io::new(readily::io::TcpStream::connect(addr).await?);
    ask(stream, addr, requests, |connection| {
        drop(readily::spawn(async move {
            connection.await.expect("no error")
        }));
    })
    .await;
    server.await.expect("it is not cancelled");
    Ok(())
}

async fn on_tokio(requests: u32) -> std::io::Result<()> {
    use hyper_util::rt::TokioIo;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    let server = tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        serve(TokioIo::new(stream)).await;
    });
    let stream = TokioIo::new(tokio::net::TcpStream::connect(addr).await?);
    ask(stream, addr, requests, |connection| {
        drop(tokio::task::spawn_local(async move {
            connection.await.expect("no error")
        }));
    })
    .await;
    server.await.expect("it is not cancelled");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let runtime = args
        .next()
        .ok_or("usage: hyper_cost readily|tokio REQUESTS")?;
    let requests = args.next().map_or(Ok(1000), |n| n.parse())?;
    match &*runtime {
        "readily" => readily::run(on_readily(requests))??,
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?;
            tokio::task::LocalSet::new().block_on(&runtime, on_tokio(requests))?;
        }
        _ => return Err("usage: hyper_cost readily|tokio REQUESTS".into()),
    }
    Ok(())
}
