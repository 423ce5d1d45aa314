//! N1, N2, N7: the callback loop serves a real TCP client, which uses all five branches.

use crate::Page;
use readily::event_loop::{ExitReason, listen_tcp};
use readily::{Callbacks, Cx, EventLoop, Interest, Readiness};
use std::cell::RefCell;
use std::io::{self, ErrorKind::WouldBlock, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

/// The size of the answer: more than the sockets' buffers hold, so that the write branch is needed.
const ANSWER: usize = 16 << 20;

/// The branches that were taken, in order of their first use.
type Taken = Rc<RefCell<Vec<&'static str>>>;

/// The notes' callback map for one connection.
struct Connection {
    taken: Taken,
    left: usize,
}

impl Connection {
    fn note(&self, branch: &'static str) {
        let mut taken = self.taken.borrow_mut();
        if !taken.contains(&branch) {
            taken.push(branch);
        }
    }
}

impl Callbacks for Connection {
    fn on_read(&mut self, cx: &Cx<'_>) {
        let mut buffer = [0; 64];
        match cx.read(&mut buffer) {
            // The client has shut down its side. With this side shut down as well, a hangup follows.
            // Until then the end of the stream stays readable, and would be reported in each turn.
            Ok(0) => {
                cx.shutdown(Shutdown::Write)
                    .expect("the connection is open");
                cx.remove_interest(Interest::READ);
            }
            Ok(_question) => {
                self.note("read");
                self.left = ANSWER;
                cx.set_interest(Interest::WRITE)
                    .expect("the registration is alive");
            }
            Err(error) => assert_eq!(error.kind(), WouldBlock),
        }
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        if self.left > 0 {
            self.note("write");
            match cx.write(&[7; 1 << 16][..self.left.min(1 << 16)]) {
                Ok(n) => self.left -= n,
                Err(error) => assert_eq!(error.kind(), WouldBlock),
            }
        } else {
            // Nothing is left to write. Write interest would be reported in each turn.
            cx.set_interest(Interest::READ | Interest::PRIORITY)
                .expect("the registration is alive");
        }
    }

    fn on_hangup(&mut self, cx: &Cx<'_>, _error: Option<io::Error>) {
        self.note("hangup");
        cx.stop();
    }

    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        assert!(ready.contains(Readiness::PRIORITY));
        self.note("default");
        // Once is enough. The urgent byte is not read, so it would be reported again.
        cx.remove_interest(Interest::PRIORITY);
    }
}

/// A blocking client on a thread of its own: sends a request, reads the whole answer, sends an
/// urgent byte, and closes. Returns what it reads after that, which must be the end of the stream.
fn client(addr: SocketAddr) -> io::Result<usize> {
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(b"the answer, please")?;
    let mut answer = vec![0; ANSWER];
    stream.read_exact(&mut answer)?;
    socket2::SockRef::from(&stream).send_out_of_band(b"!")?;
    stream.shutdown(Shutdown::Write)?;
    stream.read(&mut answer)
}

pub(crate) fn show(page: &mut Page, event_loop: &mut EventLoop) -> Result<(), readily::Error> {
    page.chapter("What an event loop is");
    let selector = selector(event_loop)?;
    let right = selector.contains("eventpoll") || selector.contains("kqueue");
    page.line(
        "N2",
        "it stands on a selector: epoll on Linux, kqueue on macOS",
        selector,
        right,
    );
    page.chapter("The loop itself: for ever, for each (fd, event) of wait(timeout)");
    let listener = listen_tcp(([127, 0, 0, 1], 0))?;
    let addr = listener.local_addr()?;
    let taken = Taken::default();
    let notes = Rc::clone(&taken);
    let key = event_loop.listen(listener, move |_cx, _accepted| {
        let connection = Connection {
            taken: Rc::clone(&notes),
            left: 0,
        };
        connection.note("connect");
        Some(connection)
    })?;
    let client = std::thread::spawn(move || client(addr));
    let reason = event_loop.run()?;
    event_loop.remove(key)?;
    let end = client.join().expect("the client does not panic")?;

    let taken = taken.borrow();
    let rules = [
        (
            "connect",
            "connect ready: register read and write, and callbacks",
        ),
        (
            "read",
            "read ready: run the callback registered for reading",
        ),
        (
            "write",
            "write ready: run the callback registered for writing",
        ),
        ("hangup", "hangup: close, cancel its registration, reclaim"),
        ("default", "anything else: a default action"),
    ];
    for (branch, text) in rules {
        let seen = taken.contains(&branch);
        page.line("N7", text, if seen { "taken" } else { "not taken" }, seen);
    }
    page.same("N7", "bytes that the client read after the answer", end, 0);
    let closed = event_loop.registered();
    page.same("N7", "descriptors still registered", closed, 0);
    page.line(
        "N7",
        "the loop ended because",
        format!("{reason:?}"),
        reason == ExitReason::Stopped,
    );
    three_kinds_of_thing(page, event_loop)
}

/// N2: the kind of the loop's descriptor, from `/proc`; where there is no `/proc`, it is a kqueue.
fn selector(event_loop: &EventLoop) -> Result<String, readily::Error> {
    let fd = event_loop.as_fd()?.as_raw_fd();
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    Ok(link.map_or_else(|_| "kqueue".to_owned(), |link| link.display().to_string()))
}

/// N1: I/O, timers and callbacks. This checks the order of timers and callbacks.
fn three_kinds_of_thing(page: &mut Page, event_loop: &mut EventLoop) -> Result<(), readily::Error> {
    let log = Rc::new(RefCell::new(String::new()));
    for (delay, word) in [(20, "timer-20"), (10, "timer-10")] {
        let log = Rc::clone(&log);
        event_loop.call_later(Duration::from_millis(delay), move |_| {
            *log.borrow_mut() += word
        });
    }
    let soon = Rc::clone(&log);
    event_loop.call_soon(move |_| soon.borrow_mut().push_str("callback "));
    let reason = event_loop.run()?;
    let log = log.borrow().replace("0t", "0 t");
    page.same(
        "N1",
        "it works on I/O, timers and callbacks",
        &*log,
        "callback timer-10 timer-20",
    );
    page.line(
        "N1",
        "the loop ends when no work is left",
        format!("{reason:?}"),
        reason == ExitReason::Idle,
    );
    Ok(())
}
