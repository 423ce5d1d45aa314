//! axum's router, unmodified, served by hyper on a loop of ours.
//!
//! axum demands `Send` of the future of a handler. A handler that waits for the loop wraps its part in a
//! [`SendWrapper`]: it never leaves the thread, because hyper polls it in the task of its connection.

#[path = "common/kernels.rs"]
mod kernels;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use hyper::{client, server};
use hyper_util::service::TowerToHyperService;
use kernels::{in_memory_with_faults, on_the_system};
use readily::io::{TcpListener, TcpStream};
use readily::{gather, sleep, spawn};
use readily_interop::Io;
use readily_testing::SimLoop;
use send_wrapper::SendWrapper;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

async fn wait(Path(seconds): Path<u64>) -> String {
    SendWrapper::new(sleep(Duration::from_secs(seconds))).await;
    format!("{seconds} s later")
}

async fn echo(State(count): State<Arc<AtomicUsize>>, body: Bytes) -> (StatusCode, Bytes) {
    count.fetch_add(1, Ordering::Relaxed);
    (StatusCode::ACCEPTED, body)
}

/// Serves each connection in a task of its own.
async fn serve(listener: TcpListener, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(router.clone());
        drop(spawn(async move {
            let http = server::conn::http1::Builder::new();
            let served = http.serve_connection(Io::new(stream), service).await;
            served.unwrap();
        }));
    }
}

/// A request on a connection of its own.
async fn ask(addr: SocketAddr, request: Request<Body>) -> (StatusCode, Bytes) {
    let stream = Io::new(TcpStream::connect(addr).await.unwrap());
    let (mut sender, connection) = client::conn::http1::handshake(stream).await.unwrap();
    let connection = spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    drop(sender);
    connection.await.unwrap().unwrap();
    (head.status, body)
}

fn start() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .route("/wait/{seconds}", get(wait))
        .route("/echo", post(echo))
        .with_state(Arc::clone(&count));
    let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    drop(spawn(serve(listener, router)));
    (addr, count)
}

async fn echoes() {
    let (addr, count) = start();
    let requests = [0, 1000, 70_000].map(|len| async move {
        let body = vec![b'x'; len];
        let request = Request::post("/echo").body(Body::from(body.clone()));
        let (status, answer) = ask(addr, request.unwrap()).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert!(answer == body);
    });
    gather(requests).await;
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let request = Request::get("/nowhere").body(Body::empty()).unwrap();
    assert_eq!(ask(addr, request).await.0, StatusCode::NOT_FOUND);
}

#[test]
fn a_router_answers_on_the_system_and_with_the_faults_of_100_seeds() {
    on_the_system(echoes());
    in_memory_with_faults(echoes);
}

#[test]
fn handlers_that_wait_for_the_loop_do_so_at_once_and_in_virtual_time() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (addr, _) = start();
        let requests = [60, 40, 50].map(|seconds| async move {
            let request = Request::get(format!("/wait/{seconds}")).body(Body::empty());
            let (_, answer) = ask(addr, request.unwrap()).await;
            assert_eq!(answer, format!("{seconds} s later"));
        });
        gather(requests).await;
    })
    .unwrap();
    assert_eq!(sim.elapsed().as_secs(), 60);
}
