//! A small crawler: fetches a tree of pages with a limited number of concurrent connections.
//!
//! Each page contains links, and each link is followed by a coroutine of its own at once; only the
//! connections are limited. A coroutine acquires a permit of a `Semaphore` before it connects, and
//! releases the permit when the page is complete. A page that never answers holds its permit until
//! `wait_for` reports a timeout. The server runs in the same process, on the loopback interface: one
//! of its pages is missing, and one never answers. `gather` is N11 and `wait_for` is N14 of the
//! notes; asyncio has the same three tools.
//!
//! ```text
//! cargo run --release --example fan_out -- 8
//! pages fetched: 95, failed: 2 (both on purpose), highest number of connections: 8
//! failed: /1/2: HTTP/1.0 404 Not Found
//! failed: /2/0: it took longer than 500ms
//! ```

use readily::io::{TcpListener, TcpStream};
use readily::{Semaphore, gather, sleep, spawn, wait_for};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

/// Each page has this many links, down to this depth: 1 + 3 + 9 + 27 + 81 pages.
const LINKS: usize = 3;
const DEPTH: usize = 4;

/// The page that is missing and the page that never answers. The pages below them are not fetched.
const MISSING: &str = "/1/2";
const SILENT: &str = "/2/0";

/// The time limit of one page, from the connect to its last byte.
const LIMIT: Duration = Duration::from_millis(500);

/// The maximum size of a page or a request, so that a peer cannot fill the memory.
const MAX_SIZE: usize = 16 * 1024;

/// The state of the crawl. All coroutines run on one thread, so `Cell` and `RefCell` suffice.
struct Crawl {
    addr: SocketAddr,
    connections: Semaphore,
    open: Cell<usize>,
    most_open: Cell<usize>,
    fetched: Cell<usize>,
    failed: RefCell<Vec<String>>,
}

impl Crawl {
    /// Fetches `path`, then all its links concurrently. A recursive coroutine has to be boxed:
    /// otherwise its type would contain itself.
    fn visit(&self, path: String) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            match self.page(&path).await {
                Ok(links) => {
                    self.fetched.set(self.fetched.get() + 1);
                    gather(links.into_iter().map(|link| self.visit(link))).await;
                }
                Err(error) => self.failed.borrow_mut().push(format!("{path}: {error}")),
            }
        })
    }

    /// Fetches one page and returns its links. The permit is released when this returns, before the
    /// links are followed. If it were held longer, the pages of a deep tree would hold all permits
    /// while they wait for the pages below them: a deadlock.
    async fn page(&self, path: &str) -> io::Result<Vec<String>> {
        let _permit = self.connections.acquire().await;
        self.open.set(self.open.get() + 1);
        self.most_open
            .set(self.most_open.get().max(self.open.get()));
        // The wait for the permit does not count: the limit is for the page.
        let page = wait_for(LIMIT, fetch(self.addr, path)).await;
        self.open.set(self.open.get() - 1);
        page.unwrap_or_else(|_elapsed| {
            Err(io::Error::other(format!("it took longer than {LIMIT:?}")))
        })
    }
}

/// Requests a page and returns its links. A page has one link on each line.
async fn fetch(addr: SocketAddr, path: &str) -> io::Result<Vec<String>> {
    let stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let page = read_until(&stream, "").await?;
    let (head, body) = page
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("the response has no end of its head"))?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.lines().map(str::to_owned).collect()),
        _ => Err(io::Error::other(status.to_owned())),
    }
}

/// Reads until the text ends with `end`; if `end` is empty, until the end of the stream.
async fn read_until(stream: &TcpStream, end: &str) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    while end.is_empty() || !text.ends_with(end.as_bytes()) {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        if text.len() + n > MAX_SIZE {
            return Err(io::Error::other("the message is too long"));
        }
        text.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8(text).map_err(io::Error::other)
}

/// The server's side: answers one request, then closes the connection.
async fn answer(stream: TcpStream) -> io::Result<()> {
    let request = read_until(&stream, "\r\n\r\n").await?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let page = match path {
        MISSING => "HTTP/1.0 404 Not Found\r\n\r\n".to_owned(),
        SILENT => {
            // Waits until the client gives up and closes the connection.
            stream.read(&mut [0]).await?;
            return Ok(());
        }
        path => {
            sleep(Duration::from_millis(5)).await; // simulates the work of a real server
            let depth = path.split('/').filter(|part| !part.is_empty()).count();
            let links = if depth < DEPTH { LINKS } else { 0 };
            let above = path.trim_end_matches('/');
            let links = (0..links).map(|n| format!("{above}/{n}\n"));
            format!("HTTP/1.0 200 OK\r\n\r\n{}", links.collect::<String>())
        }
    };
    stream.write_all(page.as_bytes()).await
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _peer) = listener.accept().await?;
        spawn(answer(stream)).detach_reporting();
    }
}

async fn crawl(at_most: usize) -> io::Result<Crawl> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    let crawl = Crawl {
        addr: listener.local_addr()?,
        connections: Semaphore::new(at_most),
        open: Cell::default(),
        most_open: Cell::default(),
        fetched: Cell::default(),
        failed: RefCell::default(),
    };
    spawn(serve(listener)).detach_reporting();
    crawl.visit("/".to_owned()).await;
    Ok(crawl)
}

const USAGE: &str = "usage: fan_out [connections, default 8]";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let crawl = readily::run(crawl(at_most()?))??;
    let mut failed = crawl.failed.into_inner();
    failed.sort();
    let is_intended = |page: &String| {
        let path = page.split(':').next();
        path == Some(MISSING) || path == Some(SILENT)
    };
    let remark = match failed.len() == 2 && failed.iter().all(is_intended) {
        true => " (both on purpose)",
        false => "",
    };
    println!(
        "pages fetched: {}, failed: {}{remark}, highest number of connections: {}",
        crawl.fetched.get(),
        failed.len(),
        crawl.most_open.get()
    );
    for page in failed {
        println!("failed: {page}");
    }
    Ok(())
}

/// Parses the maximum number of concurrent connections, which must not be 0.
fn at_most() -> Result<usize, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().map(|n| n.parse()), args.next()) {
        (None, _) => Ok(8),
        (Some(Ok(n)), None) if n > 0 => Ok(n),
        _ => Err(USAGE.into()),
    }
}
