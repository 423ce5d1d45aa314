//! Datagrams, of the internet and of the local domain.

use crate::support::{bytes, guard, on_each_loop, strict_run, unused_addr};
use readily::io::{RecvBatch, SocketPathError, UdpSocket, UnixDatagram};
use readily::{gather, spawn, yield_now};
use readily_testing::{SimLoop, poll_once};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{self, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;

fn pair() -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind(([127, 0, 0, 1], 0)).unwrap();
    (bind(), bind())
}

/// R365.
#[test]
fn a_datagram_that_is_cut_says_so_and_no_length_is_more_than_the_buffer() {
    let _guard = guard!();
    on_each_loop(async || {
        let (here, there) = pair();
        let to = here.local_addr().unwrap();
        for len in [0, 1, 499, 500, 501, 65_507] {
            let sent = bytes(len, 1);
            let mut buffer = [0; 500];
            for peeks in [true, false] {
                if peeks {
                    assert_eq!(there.send_to(&sent, &to).await.unwrap(), len);
                }
                let received = match peeks {
                    true => here.peek_from(&mut buffer).await.unwrap(),
                    false => here.recv_from(&mut buffer).await.unwrap(),
                };
                assert_eq!(
                    (received.len, received.is_truncated),
                    (len.min(500), len > 500)
                );
                assert_eq!(received.from, there.local_addr().unwrap());
                assert_eq!(buffer[..received.len], sent[..received.len]);
            }
        }
        let too_long = there.send_to(&[0; 65_508], &to).await.unwrap_err();
        assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
        let no_room = there.send_to(b"x", &to).await.unwrap();
        let received = here.recv_from(&mut []).await.unwrap();
        assert_eq!((no_room, received.len, received.is_truncated), (1, 0, true));
    });
}

/// R366: an error of one datagram ends nothing.
#[test]
fn a_peer_that_is_not_there_is_one_error_for_each_datagram_and_the_socket_goes_on() {
    let _guard = guard!();
    on_each_loop(async || {
        let (here, there) = pair();
        let nowhere = unused_addr();
        here.connect(nowhere).unwrap();
        for _ in 0..100 {
            here.send(b"x").await.unwrap();
            let refused = here.recv_from(&mut [0; 8]).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        assert!(here.take_error().unwrap().is_none());
        here.connect(there.local_addr().unwrap()).unwrap();
        there.connect(here.local_addr().unwrap()).unwrap();
        there.send(b"here I am").await.unwrap();
        assert_eq!(here.recv_from(&mut [0; 16]).await.unwrap().len, 9);
        assert_eq!(here.peer_addr().unwrap(), there.local_addr().unwrap());
    });
}

#[test]
fn a_receive_that_waits_is_woken_and_one_that_is_given_up_loses_nothing() {
    let _guard = guard!();
    on_each_loop(async || {
        let (here, there) = pair();
        let to = here.local_addr().unwrap();
        let mut buffer = [0; 16];
        for round in 0..20_u8 {
            if round % 2 == 0 {
                let mut given_up = pin!(here.recv_from(&mut buffer));
                assert!(poll_once(&mut given_up).is_pending());
                there.send_to(&[round], &to).await.unwrap();
            } else {
                let send = async {
                    yield_now().await;
                    there.send_to(&[round], &to).await.unwrap()
                };
                let (received, _) = gather((here.peek_from(&mut buffer), send)).await;
                received.unwrap();
            }
            assert_eq!(here.recv_from(&mut buffer).await.unwrap().len, 1);
            assert_eq!(buffer[0], round);
            let none = here.try_recv_from(&mut buffer).unwrap_err();
            assert_eq!(none.kind(), ErrorKind::WouldBlock);
        }
        there.try_send_to(b"polled", &to).unwrap();
        here.readable().await.unwrap();
        let received = poll_fn(|cx| here.poll_recv_from(cx, &mut buffer))
            .await
            .unwrap();
        assert_eq!(&buffer[..received.len], b"polled");
        let waits = poll_fn(|cx| Poll::Ready(here.poll_read_ready(cx).is_pending())).await;
        assert!(waits, "there is no more");
        poll_fn(|cx| there.poll_send_to(cx, b"again", &to))
            .await
            .unwrap();
        poll_fn(|cx| here.poll_read_ready(cx)).await.unwrap();
    });
}

/// R367: what was not sent is sent by the next call, and each datagram keeps its place, its length and its sender.
#[test]
fn batches_lose_nothing_and_keep_the_order() {
    let _guard = guard!();
    on_each_loop(async || {
        let (here, there) = pair();
        let to = here.local_addr().unwrap();
        let data: Vec<Vec<u8>> = (0..150).map(|n| bytes(n % 40, n as u64)).collect();
        let datagrams: Vec<_> = data.iter().map(|bytes| (&bytes[..], to)).collect();
        let mut batch = RecvBatch::new(16, 32);
        let (mut sent, mut received) = (0, 0);
        while received < datagrams.len() {
            if sent < datagrams.len() {
                let end = datagrams.len().min(sent + 100);
                let count = there.send_batch(&datagrams[sent..end]).await.unwrap();
                assert!((1..=64).contains(&count));
                sent += count;
            }
            while received < sent {
                let count = here.recv_batch(&mut batch).await.unwrap();
                assert!((1..=16).contains(&count) && batch.iter().count() == count);
                for (bytes, datagram) in batch.iter() {
                    let whole = &data[received];
                    assert_eq!(bytes, &whole[..whole.len().min(32)]);
                    assert_eq!(datagram.is_truncated, whole.len() > 32);
                    assert_eq!(datagram.from, there.local_addr().unwrap());
                    received += 1;
                }
            }
        }
        assert_eq!(there.send_batch(&[]).await.unwrap(), 0);
        // One in the middle that cannot be sent: those before it are, and its error is that of the next call.
        let long = vec![0; 65_508];
        let mixed = [(&b"a"[..], to), (b"b", to), (&long, to), (b"c", to)];
        assert_eq!(there.send_batch(&mixed).await.unwrap(), 2);
        let too_long = there.send_batch(&mixed[2..]).await.unwrap_err();
        assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(there.send_batch(&mixed[3..]).await.unwrap(), 1);
        assert_eq!(here.recv_batch(&mut batch).await.unwrap(), 3);
        let last = batch.iter().map(|(bytes, _)| bytes.to_vec());
        assert_eq!(last.collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        let mut nothing = pin!(here.recv_batch(&mut batch));
        assert!(poll_once(&mut nothing).is_pending());
    });
}

#[test]
fn the_options_of_a_udp_socket_are_set_and_read() {
    let _guard = guard!();
    strict_run(async {
        let socket = UdpSocket::bind(([0, 0, 0, 0], 0)).unwrap();
        assert!(!socket.broadcast().unwrap());
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
        socket.set_ttl(7).unwrap();
        assert_eq!(socket.ttl().unwrap(), 7);
        socket.set_multicast_loop_v4(false).unwrap();
        socket.set_multicast_ttl_v4(2).unwrap();
        let (group, interface) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::LOCALHOST);
        socket.join_multicast_v4(&group, &interface).unwrap();
        socket.leave_multicast_v4(&group, &interface).unwrap();
        socket.leave_multicast_v4(&group, &interface).unwrap_err();
    })
    .unwrap();
}

#[test]
fn a_socket_of_datagrams_is_taken_over_and_given_back_and_no_other_is() {
    let _guard = guard!();
    strict_run(async {
        let std = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = std.local_addr().unwrap();
        let socket = UdpSocket::from_std(std).unwrap();
        let std = socket.into_std().unwrap();
        assert_eq!(std.local_addr().unwrap(), addr);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wrong = UdpSocket::from_std(net::UdpSocket::from(OwnedFd::from(listener)));
        assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
    let mut sim = SimLoop::new(1);
    let refused = sim.run(async {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        [
            UdpSocket::bind(addr).map(drop),
            UnixDatagram::pair().map(drop),
        ]
    });
    for refused in refused.unwrap() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

/// R362.
#[test]
fn a_sender_waits_for_a_receiver_whose_queue_is_full() {
    let _guard = guard!();
    let path = std::env::temp_dir().join(format!("readily-datagrams-{}", std::process::id()));
    // Of a process that had this number and was ended in between.
    let _left_over = std::fs::remove_file(&path);
    on_each_loop(async || {
        const COUNT: u16 = 600; // more than any queue holds
        let receiver = UnixDatagram::bind(&path).unwrap();
        for is_connected in [false, true] {
            let sender = UnixDatagram::unbound().unwrap();
            let to = receiver.local_addr().unwrap();
            assert_eq!(to.as_pathname(), Some(&*path));
            if is_connected {
                sender.connect(&path).unwrap();
                assert_eq!(sender.peer_addr().unwrap().as_pathname(), Some(&*path));
            }
            let sends = spawn(async move {
                for n in 0..COUNT {
                    let bytes = n.to_be_bytes();
                    match is_connected {
                        true => sender.send(&bytes).await.unwrap(),
                        false => sender.send_to(&bytes, &to).await.unwrap(),
                    };
                }
            });
            yield_now().await;
            yield_now().await;
            assert!(!sends.done(), "the queue is full");
            for n in 0..COUNT {
                let mut bytes = [0; 2];
                let received = receiver.recv_from(&mut bytes).await.unwrap();
                assert!(received.from.is_unnamed());
                assert_eq!(u16::from_be_bytes(bytes), n);
            }
            sends.await.unwrap();
        }
        drop(receiver);
        let left_over = UnixDatagram::bind(&path).unwrap_err();
        let reason = left_over.get_ref().unwrap().downcast_ref();
        assert!(matches!(reason, Some(SocketPathError::Stale(_))));
        std::fs::remove_file(&path).unwrap();
    });
}

/// R365, R363: senders with names, and an abstract one.
#[cfg(target_os = "linux")]
#[test]
fn a_local_datagram_has_its_sender_and_its_length() {
    use std::os::linux::net::SocketAddrExt;
    let _guard = guard!();
    on_each_loop(async || {
        let name = format!("readily-datagram-{}", std::process::id());
        let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let sender = UnixDatagram::bind_addr(&name).unwrap();
        let (here, there) = UnixDatagram::pair().unwrap();
        there.send(b"hello").await.unwrap();
        let mut buffer = [0; 3];
        let received = here.recv_from(&mut buffer).await.unwrap();
        assert_eq!(
            (received.len, received.is_truncated, &buffer),
            (3, true, b"hel")
        );
        assert!(received.from.is_unnamed());
        let receiver = UnixDatagram::unbound().unwrap();
        receiver.connect_addr(&name).unwrap();
        receiver.send(b"x").await.unwrap();
        assert_eq!(sender.recv_from(&mut buffer).await.unwrap().len, 1);
        sender.connect_addr(&name).unwrap();
        sender.send(b"to itself").await.unwrap();
        let received = sender.recv_from(&mut buffer).await.unwrap();
        assert_eq!(received.from.as_abstract_name(), name.as_abstract_name());
    });
}
