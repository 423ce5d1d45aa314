//! WebSockets by async-tungstenite, both sides, unmodified, over the traits of the futures crates: on the stream
//! itself, and on TLS above it.

#[path = "common/connection.rs"]
mod connection;
#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/tls.rs"]
mod tls;

use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use async_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use async_tungstenite::tungstenite::{Bytes, Error, Message};
use async_tungstenite::{WebSocketStream, accept_async, client_async};
use connection::{bytes, connection};
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::StreamExt;
use futures_util::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use kernels::{in_memory_with_faults, on_the_system};
use readily::{Elapsed, gather, spawn, wait_for};
use readily_testing::SimLoop;
use std::time::Duration;

const URL: &str = "ws://readily.example/";

/// Sends each message back, up to the close of the client. Answers to pings and to the close are tungstenite's.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<usize, Error> {
    let mut socket = accept_async(stream).await?;
    let mut messages = 0;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            messages += 1;
            socket.send(message).await?;
        }
    }
    // Over TLS the end of the stream without its own close would be an error.
    socket.into_inner().close().await?;
    Ok(messages)
}

/// A message in fragments, with a ping between two of them.
fn fragments(message: &[u8]) -> Vec<Message> {
    let chunks: Vec<_> = message.chunks(message.len() / 7).collect();
    let mut frames: Vec<_> = chunks
        .iter()
        .enumerate()
        .map(|(n, chunk)| {
            let kind = if n == 0 { Data::Binary } else { Data::Continue };
            let is_last = n + 1 == chunks.len();
            Message::Frame(Frame::message(chunk.to_vec(), OpCode::Data(kind), is_last))
        })
        .collect();
    frames.insert(3, Message::Ping(Bytes::from_static(b"between")));
    frames
}

/// Sends messages of all kinds at once, while the answers come.
async fn exchange<S>(socket: WebSocketStream<S>, large: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, mut receiver) = socket.split();
    let text = "Grüße, 世界";
    let send = async {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            sender.send(Message::binary(bytes(len))).await.unwrap();
            sender.send(Message::text(text)).await.unwrap();
        }
        let ping = Message::Ping(Bytes::from_static(b"beside"));
        sender.send(ping).await.unwrap();
        for frame in fragments(large) {
            sender.send(frame).await.unwrap();
        }
    };
    let receive = async {
        let (mut messages, mut pongs) = (Vec::new(), Vec::new());
        while messages.len() < 13 {
            match receiver.next().await.unwrap().unwrap() {
                Message::Pong(payload) => pongs.push(payload),
                message => messages.push(message),
            }
        }
        (messages, pongs)
    };
    let ((), (messages, pongs)) = gather((send, receive)).await;
    for (pair, len) in messages
        .chunks_exact(2)
        .zip([0, 1, 125, 126, 65_535, 65_536])
    {
        assert!(pair[0] == Message::binary(bytes(len)));
        assert!(pair[1] == Message::text(text));
    }
    assert!(messages[12] == Message::binary(large.to_vec()));
    // Of pings that arrive together only the last has to be answered (RFC 6455, 5.5.3).
    assert_eq!(pongs.last().unwrap(), &"between");

    let reason = CloseFrame {
        code: CloseCode::Normal,
        reason: "all said".into(),
    };
    sender.close(Some(reason.clone())).await.unwrap();
    let answer = receiver.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::Close(Some(reason)));
    assert!(receiver.next().await.is_none());
}

async fn plain(large: &[u8]) {
    let (ours, theirs) = connection().await;
    let server = spawn(serve(theirs));
    let (socket, response) = client_async(URL, ours).await.unwrap();
    assert_eq!(response.status(), 101);
    exchange(socket, large).await;
    assert_eq!(server.await.unwrap().unwrap(), 13);
}

async fn over_tls(large: &[u8]) {
    let (ours, theirs) = connection().await;
    let (client, server) = tls::configs();
    let server =
        spawn(async move { serve(TlsAcceptor::from(server).accept(theirs).await.unwrap()).await });
    let connector = TlsConnector::from(client);
    let stream = connector.connect(tls::name(), ours).await.unwrap();
    let (socket, _) = client_async(URL, stream).await.unwrap();
    exchange(socket, large).await;
    assert_eq!(server.await.unwrap().unwrap(), 13);
}

#[test]
fn messages_of_all_kinds_come_back_unchanged_on_the_system() {
    on_the_system(plain(&bytes(2 << 20)));
}

#[test]
fn messages_of_all_kinds_come_back_unchanged_with_the_faults_of_100_seeds() {
    let large = bytes(150_000);
    in_memory_with_faults(|| plain(&large));
}

#[test]
fn messages_of_all_kinds_come_back_unchanged_over_tls() {
    on_the_system(over_tls(&bytes(2 << 20)));
    let large = bytes(150_000);
    in_memory_with_faults(|| over_tls(&large));
}

/// A client that goes in the middle of a message.
async fn cut_off() {
    let (ours, theirs) = connection().await;
    let server = spawn(serve(theirs));
    let (mut socket, _) = client_async(URL, ours).await.unwrap();
    let part = Frame::message("half of", OpCode::Data(Data::Text), false);
    socket.send(Message::Frame(part)).await.unwrap();
    drop(socket);
    let error = server.await.unwrap().unwrap_err();
    let expected = ProtocolError::ResetWithoutClosingHandshake;
    assert!(matches!(error, Error::Protocol(found) if found == expected));
}

#[test]
fn a_peer_that_goes_without_a_close_is_an_error() {
    on_the_system(cut_off());
    in_memory_with_faults(cut_off);
}

#[test]
fn a_peer_that_answers_no_ping_is_given_up_in_virtual_time() {
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (ours, theirs) = connection().await;
        // It upgrades the connection, and then only sleeps.
        let _silent = spawn(async move {
            let _socket = accept_async(theirs).await.unwrap();
            std::future::pending::<()>().await;
        });
        let (mut socket, _) = client_async(URL, ours).await.unwrap();
        let ping = Message::Ping(Bytes::from_static(b"there?"));
        socket.send(ping).await.unwrap();
        let pong = wait_for(Duration::from_secs(30), socket.next()).await;
        assert_eq!(pong.unwrap_err(), Elapsed);
    })
    .unwrap();
    assert_eq!(sim.elapsed().as_secs(), 30);
}
