//! The HTTP/1.1 server of the example `http` with callbacks: a protocol for each connection.
//!
//! It gives the same answers, with the same limits; but a client beyond the limit of connections waits, and gets no
//! `503`. The loop of a coroutine there is a stored state here (`Next`): each call continues where the last one had to
//! stop because it needed more input, or room for the answer.
//!
//! ```text
//! cargo run --release --example http_callbacks -- --addr 127.0.0.1:8080
//! curl -v 'http://127.0.0.1:8080/?n=20' && curl -d hello http://127.0.0.1:8080/
//! wrk -c 50 -d 5 'http://127.0.0.1:8080/?n=100'
//! ```

#[path = "../http/answer.rs"]
mod answer;
#[path = "../http/head.rs"]
mod head;
#[path = "../common/options.rs"]
mod options;

mod chunks;

use answer::{Answer, BYTES, Connection};
use chunks::Chunks;
use head::{ENDS, Framing, HEAD, LONGEST_BODY, Request};
use options::Options;
use readily::EventLoop;
use readily::event_loop::listen_tcp;
use readily::signal::Signal;
use readily::transport::{Protocol, Transport};
use std::error::Error;
use std::time::Duration;

/// The next step of a connection.
enum Next {
    Head,
    Body(Request, Chunks),
    /// To write so many bytes of an answer. After it the connection goes on or ends.
    Answer(usize, Connection),
    /// None: the server waits until the client has read the last answer and has closed.
    Close,
}

struct Http {
    next: Next,
    input: Vec<u8>,
    /// The end of a head does not begin before this index, so each byte is searched once.
    searched: usize,
    idle: Duration,
    /// The server shuts down: this connection ends after its answer.
    is_last: bool,
    /// The client has ended its side; it still gets the answers to the requests that it has sent.
    has_ended: bool,
}

impl Protocol for Http {
    fn connection_made(&mut self, transport: &Transport) {
        transport.set_deadline(self.idle);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if let Next::Close = self.next {
            return;
        }
        self.input.extend_from_slice(data);
        // A request that comes byte by byte has one deadline.
        if self.go_on(transport) {
            transport.set_deadline(self.idle);
        }
    }

    fn eof_received(&mut self, transport: &Transport) {
        self.has_ended = true;
        self.go_on(transport);
    }

    fn pause_writing(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume_reading();
        transport.set_deadline(self.idle);
        self.go_on(transport);
    }

    fn timed_out(&mut self, transport: &Transport) {
        match self.next {
            Next::Head if self.input.is_empty() => transport.close(),
            Next::Head | Next::Body(..) if transport.get_write_buffer_size() == 0 => {
                self.refuse(transport, 408);
                transport.set_deadline(self.idle);
            }
            _ => transport.abort(),
        }
    }

    fn server_draining(&mut self, transport: &Transport) {
        self.is_last = true;
        if matches!(self.next, Next::Head) && self.input.is_empty() {
            transport.close();
        }
    }
}

impl Http {
    /// Reads requests and answers them until there is no input, or no room. Returns whether a step was made.
    fn go_on(&mut self, transport: &Transport) -> bool {
        let (_, high) = transport.get_write_buffer_limits();
        let mut has_moved = false;
        while transport.get_write_buffer_size() <= high && !transport.is_closing() {
            match self.step(transport) {
                Ok(true) => has_moved = true,
                Ok(false) if self.has_ended => transport.close(),
                Ok(false) => break,
                Err(status) => {
                    self.refuse(transport, status);
                    return true;
                }
            }
        }
        has_moved
    }

    /// Makes one step; `false` if there is too little input. An error is the status of the answer.
    fn step(&mut self, transport: &Transport) -> Result<bool, u16> {
        match &mut self.next {
            Next::Head => {
                let end = end_of_head(&self.input, self.searched);
                let Some(end) = end.filter(|&end| end <= HEAD) else {
                    self.searched = self.input.len().saturating_sub(2);
                    return match self.input.len() > HEAD {
                        true => Err(431),
                        false => Ok(false),
                    };
                };
                let request = Request::parse(&self.input[..end])?;
                self.input.drain(..end);
                self.searched = 0;
                if matches!(request.framing, Framing::Length(length) if length > LONGEST_BODY) {
                    return Err(413);
                }
                if request.expects {
                    let _ = transport.write(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.next = Next::Body(request, Chunks::default());
            }
            Next::Body(request, chunks) => {
                let body = match request.framing {
                    Framing::Length(length) if self.input.len() < length => return Ok(false),
                    Framing::Length(length) => self.input.drain(..length).collect(),
                    Framing::Chunked => match chunks.take_from(&mut self.input)? {
                        Some(body) => body,
                        None => return Ok(false),
                    },
                };
                let connection = Connection::after(request, self.is_last);
                let answer = Answer::to(request, &body);
                let _ = transport.write(&answer.head(connection));
                let _ = transport.write(answer.body);
                self.next = Next::Answer(answer.generated, connection);
            }
            Next::Answer(0, Connection::Close) => {
                self.next = Next::Close;
                let _ = transport.write_eof();
            }
            Next::Answer(0, _) => self.next = Next::Head,
            Next::Answer(left, _) => {
                let part = (*left).min(BYTES.len());
                *left -= part;
                let _ = transport.write(&BYTES[..part]);
            }
            Next::Close => return Ok(false),
        }
        Ok(true)
    }

    /// Answers a request that cannot be served, and ends this side. The connection is closed when the client has ended
    /// its side: a close while input is unread would send a reset.
    fn refuse(&mut self, transport: &Transport, status: u16) {
        let answer = Answer::status(status);
        let _ = transport.write(&answer.head(Connection::Close));
        let _ = transport.write_eof();
        self.next = Next::Close;
        self.input.clear();
    }
}

/// Where the first head ends in these bytes, if it does; its end does not begin before `searched`.
fn end_of_head(input: &[u8], searched: usize) -> Option<usize> {
    let ends = ENDS.map(|end| {
        let begin = input[searched..]
            .windows(end.len())
            .position(|part| part == end);
        begin.map(|begin| searched + begin + end.len())
    });
    ends.into_iter().flatten().min()
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = format!("http_callbacks {}", options::USAGE);
    let Some(options) = Options::parse(&usage, |_, _| Ok(false))? else {
        return Ok(());
    };
    let mut event_loop = EventLoop::new()?;
    let listener = listen_tcp(options.addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = event_loop.create_server(listener, move |_cx, _accepted| {
        Some(Http {
            next: Next::Head,
            input: Vec::new(),
            searched: 0,
            idle: options.idle,
            is_last: false,
            has_ended: false,
        })
    })?;
    server.limit_connections(options.connections.max(1));
    for signal in [Signal::TERM, Signal::INT] {
        let server = server.clone();
        event_loop.on_signal(signal, move |_handle| {
            println!("stopping, connections: {}", server.connections().len());
            server.drain(options.limit);
        })?;
    }
    server.on_closed(|handle, closed| {
        println!("cut off: {}", closed.aborted);
        handle.stop();
    });
    event_loop.run()?;
    Ok(())
}
