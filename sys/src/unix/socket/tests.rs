//! The unit tests of `socket.rs`.

use super::*;
use crate::poll::PollSet;
use crate::transfer::write_waiting;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::{
    self,
    net::{UnixListener, UnixStream},
};

fn until(fd: &OwnedFd, events: i16) {
    let mut set = PollSet::new();
    set.push(fd.as_raw_fd(), events);
    let guard = std::time::Duration::from_secs(10);
    assert_eq!(
        set.wait(Some(guard)).unwrap(),
        1,
        "nothing within {guard:?}"
    );
}

fn local(fd: &OwnedFd) -> SocketAddr {
    TcpListener::from(fd.try_clone().unwrap())
        .local_addr()
        .unwrap()
}

fn flags(fd: BorrowedFd<'_>) -> (bool, bool) {
    // SAFETY: takes numbers, touches no memory.
    let descriptor = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }).unwrap();
    (
        !set_nonblocking(fd).unwrap(),
        descriptor & libc::FD_CLOEXEC != 0,
    )
}

fn connects_over(any: &str) {
    let listener = listen_tcp(&any.parse().unwrap(), 16).unwrap();
    let (code, kind_of) = (
        accept(listener.as_fd()).unwrap_err().kind(),
        kind(listener.as_fd()),
    );
    assert_eq!((code, kind_of), (io::ErrorKind::WouldBlock, Kind::Listener));
    let client = connect_tcp(&local(&listener)).unwrap();
    until(&client, poll::OUT);
    assert!(take_error(client.as_fd()).unwrap().is_none());
    assert!(is_connected(client.as_fd()).unwrap());
    until(&listener, poll::IN);
    let (server, peer) = accept(listener.as_fd()).unwrap();
    assert_eq!(peer, Some(local(&client)));
    for fd in [&listener, &client, &server] {
        assert_eq!(
            flags(fd.as_fd()),
            (true, true),
            "non-blocking and close-on-exec"
        );
    }
    assert_eq!(send(client.as_fd(), b"hello").unwrap(), 5);
    until(&server, poll::IN);
    assert_eq!(bytes_available(server.as_fd()).unwrap(), 5);
    let mut buf = [0; 8];
    assert_eq!(recv(server.as_fd(), &mut buf).unwrap(), 5);
    shutdown(client.as_fd(), Shutdown::Write).unwrap();
    until(&server, poll::IN);
    assert_eq!(recv(server.as_fd(), &mut buf).unwrap(), 0);
}

#[test]
fn a_connection_is_made_over_both_families() {
    connects_over("127.0.0.1:0");
    // Where the machine has no IPv6 there is nothing to try.
    if TcpListener::bind("[::1]:0").is_ok() {
        connects_over("[::1]:0");
    }
}

#[test]
fn a_refused_connection_reports_its_reason_once() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let client = connect_tcp(&gone).unwrap();
    until(&client, poll::OUT);
    assert!(!is_connected(client.as_fd()).unwrap());
    let error = take_error(client.as_fd())
        .unwrap()
        .expect("no socket listens there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(take_error(client.as_fd()).unwrap().is_none());
}

#[test]
fn a_unix_connection_has_no_address() {
    let path = std::env::temp_dir().join(format!("readily-sys-{}", std::process::id()));
    // Of a process that had this number and was ended in between.
    let _left_over = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let connect =
        |path: &_| local::connect_stream(&unix::net::SocketAddr::from_pathname(path).unwrap());
    let client = connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (server, peer) = accept(listener.as_fd()).unwrap();
    assert_eq!(peer, None);
    assert!(is_connected(client.as_fd()).unwrap());
    assert_eq!(write_waiting(server.as_fd(), b"x").unwrap(), 1);
    assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn each_kind_is_distinguished_from_the_others() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    let (reader, _writer) = new_fd::pipe().unwrap();
    let fresh = new_fd::socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
    assert_eq!(kind(stream.as_fd()), Kind::Stream);
    assert_eq!(kind(fresh.as_fd()), Kind::Stream);
    assert_eq!(
        kind(UdpSocket::bind("127.0.0.1:0").unwrap().as_fd()),
        Kind::Datagram
    );
    assert_eq!(
        kind(TcpListener::bind("127.0.0.1:0").unwrap().as_fd()),
        Kind::Listener
    );
    assert_eq!(kind(reader.as_fd()), Kind::Other);
    let packets_in_a_row = new_fd::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET);
    assert_eq!(
        packets_in_a_row.map(|fd| kind(fd.as_fd())).ok(),
        Some(Kind::Stream)
    );
}

#[test]
fn a_socket_says_its_own_address_where_that_is_one_of_the_internet() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(
        local_addr(listener.as_fd()).ok(),
        listener.local_addr().ok()
    );
    let no_address = local_addr(stream.as_fd()).unwrap_err();
    assert_eq!(no_address.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_descriptor_is_made_nonblocking_once() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    assert!(set_nonblocking(stream.as_fd()).unwrap());
    assert!(!set_nonblocking(stream.as_fd()).unwrap());
    let error = recv(stream.as_fd(), &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_send_to_a_dead_peer_is_an_error_even_where_the_signal_kills() {
    let (stream, peer) = UnixStream::pair().unwrap();
    drop(peer);
    // SAFETY: sets the default action of a signal; no handler of ours is involved.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let answer = send(stream.as_fd(), b"x");
    // SAFETY: puts back what was there.
    unsafe { libc::signal(libc::SIGPIPE, before) };
    assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn unread_is_zero_where_it_makes_no_sense() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(bytes_available(listener.as_fd()).unwrap(), 0);
    // What lies in a pipe is there for its reader.
    let (reader, writer) = new_fd::pipe().unwrap();
    assert_eq!(write_waiting(writer.as_fd(), b"abc").unwrap(), 3);
    assert_eq!(bytes_available(writer.as_fd()).unwrap(), 0);
    assert_eq!(bytes_available(reader.as_fd()).unwrap(), 3);
}

#[test]
fn an_unconnected_socket_has_no_peer() {
    let fresh = new_fd::socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
    assert!(!is_connected(fresh.as_fd()).unwrap());
    let stream = TcpStream::from(fresh);
    let error = shutdown(stream.as_fd(), Shutdown::Both).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
}

/// R036: so the mode of its path can be set before the first client.
#[test]
fn a_socket_that_is_bound_and_does_not_listen_yet_refuses_clients() {
    let path = std::env::temp_dir().join(format!("readily-sys-bound-{}", std::process::id()));
    // Of a process that had this number and was ended in between.
    let _left_over = std::fs::remove_file(&path);
    let addr = unix::net::SocketAddr::from_pathname(&path).unwrap();
    let bound = local::bind_stream(&addr).unwrap();
    let refused = local::connect_stream(&addr).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    listen(bound.as_fd(), 1).unwrap();
    local::connect_stream(&addr).unwrap();
    std::fs::remove_file(&path).unwrap();
}
