//! The kind and the state of a descriptor, queried without a change.
//!
//! An emulation of another system's selector has to know more than epoll reports: whether a side of a
//! connection is shut, how much is unread, whether an error came to a connection or to an attempt at
//! one. These calls change nothing. Above all they do not read `SO_ERROR`: reading clears it, and it
//! belongs to the program.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use crate::unix::file_id::stat;
use crate::{cvt, cvt_size, uninterrupted};

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// A TCP socket, listening or not.
    Tcp,
    /// A Unix socket that carries a stream, listening or not.
    UnixStream,
    /// A socket of any family that carries packets without a connection.
    Datagram,
    /// A pipe, or a FIFO.
    Pipe {
        /// It was opened for reading.
        reads: bool,
        /// It was opened for writing.
        writes: bool,
        /// It has a name in the file system: a FIFO.
        named: bool,
    },
    /// A device, other than a terminal of its own name.
    Device,
    /// A regular file or a directory.
    Regular,
    /// Anything else: a terminal, an eventfd, an epoll, another kind of socket.
    Other,
}

/// Returns what kind of file `fd` is.
///
/// # Errors
///
/// `EBADF`.
pub fn file(fd: RawFd) -> io::Result<File> {
    let stat = stat(fd)?;
    Ok(match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR => File::Regular,
        libc::S_IFIFO => {
            let access = flags(fd)? & libc::O_ACCMODE;
            File::Pipe {
                reads: access != libc::O_WRONLY,
                writes: access != libc::O_RDONLY,
                named: !is_in_pipefs(fd)?,
            }
        }
        libc::S_IFCHR if !is_terminal(stat.st_rdev) => File::Device,
        libc::S_IFSOCK => of_socket(fd)?,
        _ => File::Other,
    })
}

fn of_socket(fd: RawFd) -> io::Result<File> {
    let (domain, kind) = (option(fd, libc::SO_DOMAIN)?, option(fd, libc::SO_TYPE)?);
    Ok(match (domain, kind) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => {
            match option(fd, libc::SO_PROTOCOL)? {
                libc::IPPROTO_TCP => File::Tcp,
                _ => File::Other,
            }
        }
        (libc::AF_UNIX, libc::SOCK_STREAM) => File::UnixStream,
        (_, libc::SOCK_DGRAM | libc::SOCK_RAW) => File::Datagram,
        _ => File::Other,
    })
}

/// Terminals with a number of their own; `/dev/tty` is none, but a device that leads to one.
fn is_terminal(device: libc::dev_t) -> bool {
    let (major, minor) = (libc::major(device), libc::minor(device));
    matches!(major, 4 | 136..=143) || (major, minor) == (5, 2)
}

/// The state of a TCP socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Where in its life the connection is.
    pub state: TcpState,
    /// It was connected once, as far as can be seen.
    pub was_connected: bool,
    /// How many bytes of ours the peer has acknowledged.
    pub acknowledged: u64,
    /// How many connections wait to be accepted.
    pub pending: u32,
}

/// A state of TCP, as far as the states differ for a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Not connected yet: no answer to the first packet.
    Connecting,
    /// Connected, and our side is open.
    Open,
    /// Our side is shut, and the connection is not over.
    WriteShut,
    /// Never connected, or over.
    Closed,
    /// It accepts connections.
    Listening,
}

/// Asks a TCP socket for its state.
///
/// # Errors
///
/// `ENOPROTOOPT` for another kind of socket, `ENOTSOCK`, `EBADF`.
pub fn tcp(fd: RawFd) -> io::Result<Tcp> {
    // The beginning of `struct tcp_info`, of which `libc` does not have all on each target. A
    // kernel that knows less leaves the rest as it is.
    let mut info = [0u8; 128];
    let mut len = info.len() as libc::socklen_t;
    let (to, name) = (info.as_mut_ptr().cast(), libc::TCP_INFO);
    // SAFETY: `to` points to the `len` bytes of a live local, and so does `len` to one; a number
    // that is no TCP socket gives an error.
    cvt(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, name, to, &raw mut len) })?;
    Ok(parse(&info))
}

fn parse(info: &[u8; 128]) -> Tcp {
    let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    let mut long = [0; 8];
    long.copy_from_slice(&info[120..128]);
    let acknowledged = u64::from_ne_bytes(long);
    Tcp {
        state: match info[0] {
            1 | 8 => TcpState::Open,
            2 | 3 | 12 => TcpState::Connecting,
            7 => TcpState::Closed,
            10 => TcpState::Listening,
            _ => TcpState::WriteShut,
        },
        // Options are agreed on while a connection is made, and our first packet counts as a
        // byte that is acknowledged.
        was_connected: info[5] & 7 != 0 || acknowledged > 0,
        acknowledged,
        pending: word(24),
    }
}

/// Whether a socket accepts connections.
///
/// # Errors
///
/// `ENOTSOCK`, `EBADF`.
pub fn is_listener(fd: RawFd) -> io::Result<bool> {
    option(fd, libc::SO_ACCEPTCONN).map(|on| on != 0)
}

/// How many bytes can be read (`FIONREAD`): of packets the first one's, of a pipe those inside,
/// also for its writing end. Zero where the system does not report it.
///
/// # Errors
///
/// `EBADF`.
pub fn bytes_available(fd: RawFd) -> io::Result<usize> {
    count(fd, libc::FIONREAD)
}

/// How many bytes the socket keeps until the peer has them (`SIOCOUTQ`). Zero where the system cannot
/// tell.
///
/// # Errors
///
/// `EBADF`.
pub fn unsent(fd: RawFd) -> io::Result<usize> {
    count(fd, libc::TIOCOUTQ)
}

/// How many bytes a socket may keep (`SO_SNDBUF`), or a pipe.
///
/// # Errors
///
/// `EBADF`; another for what is neither.
pub fn room(fd: RawFd, file: File) -> io::Result<usize> {
    let bytes = match file {
        // SAFETY: takes numbers, touches no memory.
        File::Pipe { .. } => cvt(unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) })?,
        _ => option(fd, libc::SO_SNDBUF)?,
    };
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Whether a connected Unix stream has its writing side shut: nothing is sent to find out.
///
/// # Errors
///
/// `ENOTCONN`, `ENOTSOCK`, `EBADF`.
pub fn is_write_shut(fd: RawFd) -> io::Result<bool> {
    let (nothing, flags) = (ptr::dangling(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    // SAFETY: no byte is read from a pointer with a length of zero.
    match uninterrupted(|| cvt_size(unsafe { libc::send(fd, nothing, 0, flags) })) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether it is a pipe without a name.
fn is_in_pipefs(fd: RawFd) -> io::Result<bool> {
    const PIPEFS: i64 = 0x5049_5045;
    let mut system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `system` has space for the structure that is written.
    cvt(unsafe { libc::fstatfs(fd, system.as_mut_ptr()) })?;
    // SAFETY: the call above has succeeded, so all of it is written.
    let system = unsafe { system.assume_init() };
    // The field is of another width on each target.
    #[allow(clippy::unnecessary_cast)]
    let kind = system.f_type as i64;
    Ok(kind == PIPEFS)
}

fn flags(fd: RawFd) -> io::Result<c_int> {
    // SAFETY: takes numbers, touches no memory.
    cvt(unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

fn count(fd: RawFd, request: libc::Ioctl) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: both requests that are made here write one `int`, and `count` is one.
    match cvt(unsafe { libc::ioctl(fd, request, &raw mut count) }) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Err(error),
        Err(_) => Ok(0),
        Ok(_) => Ok(usize::try_from(count).unwrap_or(0)),
    }
}

fn option(fd: RawFd, name: c_int) -> io::Result<c_int> {
    let (mut value, mut len): (c_int, _) = (0, size_of::<c_int>() as libc::socklen_t);
    let (to, len) = ((&raw mut value).cast(), &raw mut len);
    // SAFETY: `to` and `len` point to live locals, and `len` is the size of the value; a
    // number that is no socket gives an error.
    cvt(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, to, len) })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket;
    use crate::unix::for_tests::set_linger;
    use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    fn tcp_pair() -> (TcpListener, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        (listener, client, server)
    }

    #[test]
    fn each_kind_of_file_is_known() {
        let pipe = |reads, writes| File::Pipe {
            reads,
            writes,
            named: false,
        };
        let (reader, writer) = crate::pipe().unwrap();
        assert_eq!(file(reader.as_raw_fd()).unwrap(), pipe(true, false));
        assert_eq!(file(writer.as_raw_fd()).unwrap(), pipe(false, true));
        let (listener, client, _server) = tcp_pair();
        assert_eq!(file(listener.as_raw_fd()).unwrap(), File::Tcp);
        assert_eq!(file(client.as_raw_fd()).unwrap(), File::Tcp);
        let (pair, _other) = UnixStream::pair().unwrap();
        assert_eq!(file(pair.as_raw_fd()).unwrap(), File::UnixStream);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(file(udp.as_raw_fd()).unwrap(), File::Datagram);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(file(null.as_raw_fd()).unwrap(), File::Device);
        let exe = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(file(exe.as_raw_fd()).unwrap(), File::Regular);
        let epoll = crate::epoll::Epoll::new().unwrap();
        assert_eq!(file(epoll.as_fd().as_raw_fd()).unwrap(), File::Other);
        let dead = file(-1).unwrap_err();
        assert_eq!(dead.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_state_of_a_connection_is_right_through_its_life() {
        let (listener, client, server) = tcp_pair();
        let state = |fd: RawFd| tcp(fd).unwrap().state;
        assert_eq!(state(listener.as_raw_fd()), TcpState::Listening);
        assert_eq!(tcp(listener.as_raw_fd()).unwrap().pending, 0);
        let fresh = crate::unconnected_tcp().unwrap();
        assert_eq!(state(fresh.as_raw_fd()), TcpState::Closed);
        assert!(!tcp(fresh.as_raw_fd()).unwrap().was_connected);
        for end in [&client, &server] {
            assert_eq!(state(end.as_raw_fd()), TcpState::Open);
            assert!(tcp(end.as_raw_fd()).unwrap().was_connected);
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(state(client.as_raw_fd()), TcpState::WriteShut);
        let addr = listener.local_addr().unwrap();
        let _waits = TcpStream::connect(addr).unwrap();
        assert_eq!(tcp(listener.as_raw_fd()).unwrap().pending, 1);
    }

    #[test]
    fn an_error_can_still_be_taken_after_the_state_was_asked_for() {
        let (_listener, client, server) = tcp_pair();
        set_linger(server.as_fd(), 0).unwrap();
        drop(server);
        let fd = client.as_raw_fd();
        let mut set = crate::poll::PollSet::new();
        set.push(fd, 0);
        set.wait(None).unwrap();
        let over = tcp(fd).unwrap();
        assert!(over.state == TcpState::Closed && over.was_connected);
        bytes_available(fd).unwrap();
        unsent(fd).unwrap();
        let error = socket::take_error(client.as_fd()).unwrap().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_shut_side_of_a_unix_stream_is_found_without_sending() {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        assert!(!is_write_shut(here.as_raw_fd()).unwrap());
        here.shutdown(Shutdown::Write).unwrap();
        assert!(is_write_shut(here.as_raw_fd()).unwrap());
        assert!(!is_write_shut(there.as_raw_fd()).unwrap());
        assert_eq!(bytes_available(there.as_raw_fd()).unwrap(), 0);
    }
}
