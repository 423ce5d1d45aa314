//! The load generator: the same for all peers, in another process than the server.
//!
//! Each connection sends a request, reads the whole answer, and sends the next request, so there is
//! one request in flight for each connection. Each answer is compared with its request. The generator
//! uses epoll directly, and none of the peers.

use crate::child::Server;
use crate::raw::{Epoll, Events, IN};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The timeout of each read, write and wait.
const TIMEOUT: Duration = Duration::from_secs(20);

/// When a connection sends its next request.
#[derive(Clone, Copy)]
pub enum Pace<'a> {
    /// As soon as it has received its answer.
    Free,
    /// When all connections have received their answers and the server sleeps. The server then finds
    /// all requests in one wait, and never a request without waiting.
    Together(&'a Server),
}

impl Pace<'_> {
    fn settle(self) -> io::Result<()> {
        match self {
            Self::Free => Ok(()),
            Self::Together(server) => server.settle(),
        }
    }
}

pub struct Load {
    conns: Vec<Conn>,
    /// The index in `conns`, by descriptor.
    places: Vec<usize>,
    epoll: Epoll,
    events: Events,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

struct Conn {
    stream: TcpStream,
    got: usize,
    left: usize,
}

pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn request(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// The number of connections that are opened before the server gets time to accept them: fewer than
/// the queue of a listener holds.
const OPENED_AT_ONCE: usize = 50;

impl Load {
    pub fn open(addr: SocketAddr, conns: usize, size: usize, pace: Pace<'_>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let mut all = Vec::new();
        let mut places = Vec::new();
        for at in 0..conns {
            if at % OPENED_AT_ONCE == 0 {
                pace.settle()?;
            }
            let stream = connect(addr)?;
            let fd = stream.as_raw_fd();
            epoll.add(fd, IN)?;
            places.resize(places.len().max(fd as usize + 1), usize::MAX);
            places[fd as usize] = at;
            all.push(Conn {
                stream,
                got: 0,
                left: 0,
            });
        }
        Ok(Self {
            conns: all,
            places,
            epoll,
            events: Events::with_room(1024),
            request: request(size),
            buffer: vec![0; size + 1],
        })
    }

    /// Sends `rounds` requests on each connection.
    pub fn run(&mut self, rounds: usize, pace: Pace<'_>) -> io::Result<()> {
        match pace {
            Pace::Free => self.round(rounds),
            Pace::Together(_) => (0..rounds).try_for_each(|_| {
                pace.settle()?;
                self.round(1)
            }),
        }
    }

    fn round(&mut self, each: usize) -> io::Result<()> {
        for conn in &mut self.conns {
            conn.left = each;
            conn.stream.write_all(&self.request)?;
        }
        let mut unfinished = self.conns.len();
        while unfinished > 0 {
            let mut ready = self
                .epoll
                .wait(&mut self.events, TIMEOUT.as_millis() as i32)?
                .peekable();
            if ready.peek().is_none() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for fd in ready {
                let conn = &mut self.conns[self.places[fd as usize]];
                if conn.take(&self.request, &mut self.buffer)? {
                    unfinished -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Conn {
    /// Reads from the connection. Returns whether its last answer is complete.
    fn take(&mut self, request: &[u8], buffer: &mut [u8]) -> io::Result<bool> {
        let n = self.stream.read(buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if request.get(self.got..self.got + n) != Some(&buffer[..n]) {
            return Err(io::Error::other("the answer differs from the request"));
        }
        self.got += n;
        if self.got < request.len() {
            return Ok(false);
        }
        (self.got, self.left) = (0, self.left - 1);
        if self.left > 0 {
            self.stream.write_all(request)?;
        }
        Ok(self.left == 0)
    }
}

/// Connects, sends one request, reads the answer and closes, `times` times in sequence.
pub fn churn(addr: SocketAddr, times: usize, size: usize, pace: Pace<'_>) -> io::Result<()> {
    let (request, mut answer) = (request(size), vec![0; size]);
    for _ in 0..times {
        pace.settle()?;
        let mut stream = connect(addr)?;
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        if answer != request {
            return Err(io::Error::other("the answer differs from the request"));
        }
    }
    Ok(())
}

/// Connects `together` times, sends one request on each connection, reads the answers and closes,
/// `times` times in sequence.
pub fn churn_together(
    addr: SocketAddr,
    times: usize,
    together: usize,
    size: usize,
    pace: Pace<'_>,
) -> io::Result<()> {
    (0..times).try_for_each(|_| Load::open(addr, together, size, pace)?.run(1, pace))
}
