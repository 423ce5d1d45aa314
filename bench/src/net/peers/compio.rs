//! compio on epoll. Each operation takes ownership of its buffer and returns it with the result.

use crate::chain::{Chain, Links, ROOM};
use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream, UnixStream};
use compio::runtime::{Runtime, spawn};
use std::io;
use std::net;
use std::rc::Rc;
use std::time::Duration;

async fn serve(mut stream: TcpStream, room: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(room);
    loop {
        let BufResult(read, bytes) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(written, bytes) = stream.write_all(bytes).await;
        written?;
        buffer = bytes;
        buffer.clear();
    }
}

pub fn echo(listener: net::TcpListener, room: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    Runtime::new()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn(serve(stream, room)).detach();
        }
    })
}

async fn pass(at: usize, mut reader: UnixStream, links: Rc<Links>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(ROOM);
    links.wait_begins();
    loop {
        let BufResult(read, bytes) = reader.read(buffer).await;
        read?;
        links.pass(at, &bytes)?;
        buffer = bytes;
        buffer.clear();
    }
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    Runtime::new()?.block_on(async {
        let Chain { readers, links } = chain;
        for (at, reader) in readers.into_iter().enumerate() {
            let reader = UnixStream::from_std(reader)?;
            spawn(pass(at, reader, Rc::clone(&links))).detach();
        }
        links.all_wait().await;
        links.start()?;
        links.end().await;
        links.took()
    })
}
