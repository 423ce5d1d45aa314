//! TCP sockets whose options are set before they are connected, or listen.

use crate::support::{guard, on_each_loop, strict_run, unused_addr};
use readily::gather;
use readily::io::{KeepAlive, TcpListener, TcpSocket, TcpStream};
use readily_testing::SimLoop;
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

#[test]
fn a_connection_comes_from_the_address_that_its_socket_was_bound_to() {
    let _guard = guard!();
    on_each_loop(async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(ANY).unwrap();
        let listener = socket.listen(16).unwrap();
        let to = listener.local_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0)).unwrap();
        let from = socket.local_addr().unwrap();
        assert_eq!(from.ip(), SocketAddr::from(([127, 0, 0, 2], 0)).ip());
        let (client, server) = gather((socket.connect(to), listener.accept())).await;
        let (client, (server, peer)) = (client.unwrap(), server.unwrap());
        assert_eq!((peer, client.peer_addr().unwrap()), (from, to));
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 1);
        let refused = TcpSocket::new_v4().unwrap().connect(unused_addr()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn options_are_set_before_the_socket_is_used_and_kept() {
    let _guard = guard!();
    strict_run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        let keep = KeepAlive {
            idle: Duration::from_secs(61),
            interval: Duration::from_secs(7),
            count: 5,
        };
        assert_eq!(socket.keep_alive().unwrap(), None);
        socket.set_keep_alive(Some(keep)).unwrap();
        assert_eq!(socket.keep_alive().unwrap(), Some(keep));
        socket.set_nodelay(true).unwrap();
        socket.set_reset_on_close(true).unwrap();
        socket.set_send_buffer_size(20_000).unwrap();
        socket.set_recv_buffer_size(30_000).unwrap();
        assert!(socket.send_buffer_size().unwrap() >= 20_000);
        assert!(socket.recv_buffer_size().unwrap() >= 30_000);
        let connect = socket.connect(listener.local_addr().unwrap());
        let (client, server) = gather((connect, listener.accept())).await;
        let (client, (server, _)) = (client.unwrap(), server.unwrap());
        let seen = SockRef::from(&client);
        assert!(seen.keepalive().unwrap() && seen.tcp_nodelay().unwrap());
        drop(client);
        let reset = server.read(&mut [0]).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn what_is_out_of_range_is_refused_and_changes_nothing() {
    let _guard = guard!();
    strict_run(async {
        let socket = TcpSocket::new_v4().unwrap();
        let good = KeepAlive {
            idle: Duration::from_secs(1),
            interval: Duration::from_secs(32_767),
            count: 127,
        };
        let millis = Duration::from_millis(1500);
        for bad in [
            KeepAlive { count: 0, ..good },
            KeepAlive { count: 128, ..good },
            KeepAlive {
                idle: Duration::ZERO,
                ..good
            },
            KeepAlive {
                interval: Duration::from_secs(32_768),
                ..good
            },
            KeepAlive {
                interval: Duration::MAX,
                ..good
            },
            KeepAlive {
                idle: millis,
                ..good
            },
        ] {
            let refused = socket.set_keep_alive(Some(bad)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{bad:?}");
            assert!(!SockRef::from(&socket).keepalive().unwrap());
        }
        socket.set_keep_alive(Some(good)).unwrap();
        assert!(SockRef::from(&socket).keepalive().unwrap());
        socket.set_keep_alive(None).unwrap();
        assert!(!SockRef::from(&socket).keepalive().unwrap());
        // As large as it gets, and no overflow.
        socket.set_recv_buffer_size(usize::MAX).unwrap();
    })
    .unwrap();
    let refused = SimLoop::new(1).run(async { TcpSocket::new_v4().map(drop) });
    assert_eq!(refused.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn several_listeners_share_a_port_only_if_all_ask_for_it() {
    let _guard = guard!();
    strict_run(async {
        let shared = |addr: SocketAddr| {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuse_port(true)?;
            socket.bind(addr)?;
            socket.listen(16)
        };
        let first = shared(ANY.into()).unwrap();
        let addr = first.local_addr().unwrap();
        let second = shared(addr).unwrap();
        assert_eq!(second.local_addr().unwrap(), addr);
        let alone = TcpSocket::new_v4().unwrap();
        assert_eq!(alone.bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
    })
    .unwrap();
}

#[test]
fn a_socket_for_ipv6_is_closed_to_ipv4_on_request() {
    let _guard = guard!();
    // Where the machine has no IPv6 there is nothing to try.
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    strict_run(async {
        for only in [true, false] {
            let socket = TcpSocket::new_v6().unwrap();
            socket.set_only_v6(only).unwrap();
            socket
                .bind("[::]:0".parse::<SocketAddr>().unwrap())
                .unwrap();
            let listener = socket.listen(4).unwrap();
            let port = listener.local_addr().unwrap().port();
            let connected = TcpStream::connect(([127, 0, 0, 1], port)).await;
            assert_eq!(connected.is_err(), only);
        }
    })
    .unwrap();
}
