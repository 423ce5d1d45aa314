//! A chat server: every guest receives every line, in one order, and a slow guest delays no other.
//!
//! Each guest has two coroutines: one reads lines from the connection, one writes lines to it. They
//! are connected by a `broadcast` channel, a ring buffer of the last lines with a read position for
//! each guest. A guest that reads too slowly loses the oldest lines and receives the number of lines
//! that it missed, so a slow guest costs no more memory than the ring. All coroutines run on one
//! thread and switch only at an `await` (N10), so the set of names needs no lock. asyncio has no
//! broadcast channel: a chat server there keeps one queue for each guest.
//!
//! ```text
//! cargo run --release --example chat -- --addr 127.0.0.1:7007
//! nc 127.0.0.1 7007          # in as many terminals as you like; the first line is your name
//! ```

use readily::io::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use readily::spawn;
use readily::sync::broadcast::{self, Receiver, RecvError, Sender};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// A guest that is more than this many lines behind loses the oldest ones.
const RING: usize = 64;

/// The longest line, in bytes. A guest that sends a longer one is disconnected.
const LONGEST: usize = 512;

type Line = Rc<str>;

/// The state that all guests share.
struct Room {
    lines: Sender<Line>,
    names: RefCell<BTreeSet<String>>,
}

impl Room {
    fn say(&self, line: String) {
        // An error means that there are no receivers.
        let _ = self.lines.send(line.into());
    }
}

/// A reserved name. Dropping it frees the name and announces that the guest has left; this also
/// happens if the guest's coroutine is cancelled or panics.
struct Seat {
    room: Rc<Room>,
    name: String,
}

impl Seat {
    /// Reserves a name. `None` if the name is empty or taken.
    fn take(room: &Rc<Room>, name: &str) -> Option<Self> {
        let free = !name.is_empty() && room.names.borrow_mut().insert(name.to_owned());
        free.then(|| Self {
            room: Rc::clone(room),
            name: name.to_owned(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.names.borrow_mut().remove(&self.name);
        self.room.say(format!("* {} has left\n", self.name));
    }
}

/// Splits a stream into lines. Bytes after a line are kept for the next call.
struct Lines {
    stream: OwnedReadHalf,
    kept: Vec<u8>,
}

impl Lines {
    /// Returns the next line, without its newline; `None` at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<String>> {
        let mut buffer = [0; LONGEST];
        loop {
            if let Some(end) = self.kept.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.kept.drain(..=end).collect();
                return Ok(Some(plain(&line)));
            }
            if self.kept.len() > LONGEST {
                return Err(io::Error::other("the line is too long"));
            }
            let n = self.stream.read(&mut buffer).await?;
            if n == 0 {
                return Ok(None);
            }
            self.kept.extend_from_slice(&buffer[..n]);
        }
    }
}

/// Decodes a line and removes control characters, which could corrupt the terminals of other guests.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.trim().to_owned()
}

/// Serves one guest: asks for a name, then copies lines in both directions.
async fn guest(stream: TcpStream, room: Rc<Room>) -> io::Result<()> {
    // Without this, the kernel delays a line until the previous one has been acknowledged.
    stream.set_nodelay(true)?;
    let (stream, mut out) = stream.into_split();
    let mut lines = Lines {
        stream,
        kept: Vec::new(),
    };
    out.write_all(b"your name?\n").await?;
    let seat = loop {
        let Some(name) = lines.next().await? else {
            return Ok(());
        };
        match Seat::take(&room, &name) {
            Some(seat) => break seat,
            None => {
                out.write_all(b"that name is empty or taken; another one?\n")
                    .await?
            }
        }
    };
    // Subscribe first, so that the guest receives its own announcement.
    let writing = spawn(write(out, room.lines.subscribe()));
    let names: Vec<String> = room.names.borrow().iter().cloned().collect();
    room.say(format!("* {} is here: {}\n", seat.name, names.join(", ")));
    let result = read(&mut lines, &seat).await;
    // The writing coroutine may be blocked on a guest that has stopped reading.
    writing.cancel();
    result
}

/// Sends each line of the guest to all guests.
async fn read(lines: &mut Lines, seat: &Seat) -> io::Result<()> {
    while let Some(line) = lines.next().await? {
        seat.room.say(format!("{}: {line}\n", seat.name));
    }
    Ok(())
}

/// Writes the lines of the chat to the guest. A write to a slow guest suspends this coroutine only:
/// the ring continues to receive lines, and the other guests continue to read them.
async fn write(mut out: OwnedWriteHalf, mut lines: Receiver<Line>) -> io::Result<()> {
    loop {
        match lines.recv().await {
            Ok(line) => out.write_all(line.as_bytes()).await?,
            Err(RecvError::Lagged(missed)) => {
                let note = format!("* you have missed {missed} lines\n");
                out.write_all(note.as_bytes()).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    // The first receiver is dropped: no coroutine would read from it.
    let (lines, _) = broadcast::channel(RING);
    let room = Rc::new(Room {
        lines,
        names: RefCell::default(),
    });
    loop {
        let (stream, _peer) = listener.accept().await?;
        let room = Rc::clone(&room);
        spawn(async move {
            // An I/O error ends this guest only.
            let _ = guest(stream, room).await;
        });
    }
}

const USAGE: &str = "usage: chat [--addr 127.0.0.1:0]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    Ok(readily::run(serve(addr()?))??)
}

/// Parses `--addr ADDRESS`; the default is a free port on the loopback interface.
fn addr() -> Result<SocketAddr, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, ..) => Ok(([127, 0, 0, 1], 0).into()),
        (Some("--addr"), Some(addr), None) => {
            let wrong = |error| format!("--addr {addr}: {error}; {USAGE}");
            Ok(addr.parse::<SocketAddr>().map_err(wrong)?)
        }
        _ => Err(USAGE.into()),
    }
}
