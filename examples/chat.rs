//! A chat: what one says, all read, in one order; and nobody waits for whoever reads slowly.
//!
//! Each guest is two coroutines, one that reads lines and one that writes them. In between is a
//! `broadcast`: a ring of the last lines, in which each guest has a place of its own. Who reads too
//! slowly is overtaken, and is told how many lines went by; the ring is all the memory that a slow
//! guest costs. In the notes: coroutines that give way to each other (N10) on one thread, so the
//! list of names needs no lock. asyncio has no broadcast; there one keeps a queue for each guest.
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

/// So many lines a guest may be behind before the oldest are gone.
const RING: usize = 64;

/// A line that is longer is not heard to its end: its guest is shown out.
const LONGEST: usize = 512;

type Line = Rc<str>;

/// What all guests share.
struct Room {
    lines: Sender<Line>,
    names: RefCell<BTreeSet<String>>,
}

impl Room {
    fn say(&self, line: String) {
        // An error means that nobody is there to hear it.
        let _ = self.lines.send(line.into());
    }
}

/// A name that is taken; it is free again, and all are told, when this is dropped: also if the
/// coroutine that has it is cancelled, or panics.
struct Seat {
    room: Rc<Room>,
    name: String,
}

impl Seat {
    /// `None` if it is no name, or somebody has it.
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

/// Lines from a stream. What has come beyond the last one waits for the next call.
struct Lines {
    stream: OwnedReadHalf,
    kept: Vec<u8>,
}

impl Lines {
    /// The next line without its end; `None` when the peer has finished.
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

/// As text, without what would move the cursor about in other people's terminals.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.trim().to_owned()
}

/// One guest, from the question for a name to the end.
async fn guest(stream: TcpStream, room: Rc<Room>) -> io::Result<()> {
    // A line leaves at once, and does not wait until the last one was acknowledged.
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
            None => out.write_all(b"not that one; another?\n").await?,
        }
    };
    // From here on it hears all, and first of all that it has come itself.
    let writing = spawn(write(out, room.lines.subscribe()));
    let names: Vec<String> = room.names.borrow().iter().cloned().collect();
    room.say(format!("* {} is here: {}\n", seat.name, names.join(", ")));
    let end = read(&mut lines, &seat).await;
    // It may be waiting for a guest that reads no more.
    writing.cancel();
    end
}

async fn read(lines: &mut Lines, seat: &Seat) -> io::Result<()> {
    while let Some(line) = lines.next().await? {
        seat.room.say(format!("{}: {line}\n", seat.name));
    }
    Ok(())
}

/// Writes what is said, for as long as the guest takes it. A write that has to wait for the guest
/// holds this coroutine up, and nobody else: the others go on, and the ring with them.
async fn write(mut out: OwnedWriteHalf, mut heard: Receiver<Line>) -> io::Result<()> {
    loop {
        match heard.recv().await {
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
    // The first receiver would never be asked, and be behind for ever.
    let (lines, _) = broadcast::channel(RING);
    let room = Rc::new(Room {
        lines,
        names: RefCell::default(),
    });
    loop {
        let (stream, _peer) = listener.accept().await?;
        let room = Rc::clone(&room);
        spawn(async move {
            // A reset is this guest's end, and nobody else's business.
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

/// `--addr ADDRESS`, or a free port on the loopback.
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
