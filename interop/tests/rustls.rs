//! TLS by rustls, both sides, unmodified: by futures-rustls over the traits of the futures crates, and by
//! tokio-rustls over [`Io`], with hyper above it.

#[path = "common/connection.rs"]
mod connection;
#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/tls.rs"]
mod tls;

use connection::{bytes, connection};
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::io::{AsyncReadExt, AsyncWriteExt, copy};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use kernels::{in_memory_with_faults, on_the_system};
use readily::{Elapsed, gather, spawn, wait_for};
use readily_interop::{Io, LocalExecutor};
use readily_testing::SimLoop;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, ServerConfig};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

type Client = futures_rustls::client::TlsStream<readily::io::TcpStream>;
type Server = futures_rustls::server::TlsStream<readily::io::TcpStream>;
type Configs = (Arc<ClientConfig>, Arc<ServerConfig>);

/// Both sides of a handshake, in which the client asks for `name`.
async fn handshake(
    (client, server): &Configs,
    name: ServerName<'static>,
) -> (io::Result<Client>, io::Result<Server>) {
    let (ours, theirs) = connection().await;
    let connect = TlsConnector::from(client.clone()).connect(name, ours);
    let accept = TlsAcceptor::from(server.clone()).accept(theirs);
    gather((connect, accept)).await
}

/// A connection whose handshake is over.
async fn connected(configs: &Configs) -> (Client, Server) {
    let (client, server) = handshake(configs, tls::name()).await;
    (client.unwrap(), server.unwrap())
}

/// Sends bytes to an echo while they come back, up to the `close_notify` of both sides.
async fn echo(configs: &Configs, sent: &[u8]) {
    let (client, server) = connected(configs).await;
    let echo = spawn(async move {
        let (read, mut write) = server.split();
        let echoed = copy(read, &mut write).await?;
        write.close().await?;
        io::Result::Ok(echoed)
    });
    let (mut read, mut write) = client.split();
    let send = async {
        write.write_all(sent).await?;
        write.close().await
    };
    let receive = async {
        let mut received = Vec::new();
        // Without a `close_notify` the end would be an error.
        read.read_to_end(&mut received).await.map(|_| received)
    };
    let (written, received) = gather((send, receive)).await;
    written.unwrap();
    assert!(received.unwrap() == sent);
    assert_eq!(echo.await.unwrap().unwrap(), sent.len() as u64);
}

#[test]
fn an_echo_of_a_megabyte_moves_every_byte_on_the_system() {
    on_the_system(echo(&tls::configs(), &bytes(1 << 20)));
}

#[test]
fn an_echo_moves_every_byte_on_each_kernel_with_the_faults_of_100_seeds() {
    let (configs, sent) = (tls::configs(), bytes(100_000));
    in_memory_with_faults(|| echo(&configs, &sent));
}

/// A connection that ends without a `close_notify`: what was sent before is read, then the end is an error.
async fn truncation(configs: &Configs) {
    let (mut client, mut server) = connected(configs).await;
    client.write_all(b"half of").await.unwrap();
    client.flush().await.unwrap();
    // The stream ends, and the session does not.
    client.get_ref().0.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(received, b"half of");
}

#[test]
fn an_end_without_close_notify_is_seen_as_a_truncation() {
    let configs = tls::configs();
    on_the_system(truncation(&configs));
    in_memory_with_faults(|| truncation(&configs));
}

fn tls_error(error: &io::Error) -> &Error {
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let inner = error.get_ref().expect("an error of rustls");
    inner.downcast_ref().expect("an error of rustls")
}

/// A client that asks for another name refuses the certificate. Returns the error that the server gets.
async fn wrong_name(configs: &Configs) -> io::Error {
    let elsewhere = ServerName::try_from("elsewhere.example").unwrap();
    let (client, server) = handshake(configs, elsewhere).await;
    assert!(matches!(
        tls_error(&client.unwrap_err()),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
    ));
    server.unwrap_err()
}

fn is_refused(error: &io::Error) -> bool {
    let alert = Error::AlertReceived(AlertDescription::BadCertificate);
    error.kind() == ErrorKind::InvalidData && *tls_error(error) == alert
}

#[test]
fn a_certificate_for_another_name_is_refused_and_both_sides_learn_why() {
    let configs = tls::configs();
    assert!(is_refused(&on_the_system(wrong_name(&configs))));
    let (mut refused, mut ended) = (0, 0);
    in_memory_with_faults(async || {
        let error = wrong_name(&configs).await;
        // futures-rustls writes the alert once: if that would block, the server only gets the end.
        match error.kind() {
            ErrorKind::UnexpectedEof => ended += 1,
            _ if is_refused(&error) => refused += 1,
            _ => panic!("{error:?}"),
        }
    });
    assert!(refused > ended, "{refused} refused, {ended} ended");
}

#[test]
fn a_handshake_with_a_silent_peer_ends_at_its_time_limit() {
    let (client, _) = tls::configs();
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (ours, _silent) = connection().await;
        let connect = TlsConnector::from(client).connect(tls::name(), ours);
        let limited = wait_for(Duration::from_secs(10), connect).await;
        assert_eq!(limited.unwrap_err(), Elapsed);
    })
    .unwrap();
    assert_eq!(sim.elapsed().as_secs(), 10);
}

/// Answers with the body that it got.
async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

/// Three requests at once over HTTP/2 over TLS.
async fn https((client, server): &Configs) {
    let (ours, theirs) = connection().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(server.clone());
    let server = spawn(async move {
        let tls = acceptor.accept(Io::new(theirs)).await.unwrap();
        let http = server::conn::http2::Builder::new(LocalExecutor);
        // The client may end the connection before the server's last frames.
        let _ended = http
            .serve_connection(TokioIo::new(tls), service_fn(answer))
            .await;
    });
    let connector = tokio_rustls::TlsConnector::from(client.clone());
    let tls = connector.connect(tls::name(), Io::new(ours)).await.unwrap();
    let handshake = client::conn::http2::handshake(LocalExecutor, TokioIo::new(tls)).await;
    let (sender, connection) = handshake.unwrap();
    let connection = spawn(connection);
    let requests = [0, 1000, 70_000].map(|len| {
        let mut sender = sender.clone();
        async move {
            let body = Bytes::from(bytes(len));
            let request = Request::post("https://readily.example/").body(Full::new(body.clone()));
            sender.ready().await.unwrap();
            let response = sender.send_request(request.unwrap()).await.unwrap();
            assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
        }
    });
    gather(requests).await;
    drop(sender);
    connection.await.unwrap().unwrap();
    server.await.unwrap();
}

#[test]
fn http2_over_tls_moves_every_byte_on_the_system_and_with_the_faults_of_100_seeds() {
    let configs = tls::configs();
    on_the_system(https(&configs));
    in_memory_with_faults(|| https(&configs));
}
