//! monoio on epoll. Each operation takes ownership of its buffer and returns it with the result.

use crate::chain::{Chain, Links, ROOM};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream, UnixStream};
use monoio::{LegacyDriver, RuntimeBuilder};
use std::io;
use std::net;
use std::rc::Rc;
use std::time::Duration;

async fn serve(mut stream: TcpStream, room: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(room);
    loop {
        let (read, bytes) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let (written, bytes) = stream.write_all(bytes).await;
        written?;
        buffer = bytes;
        buffer.clear();
    }
}

pub fn echo(listener: net::TcpListener, room: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            drop(monoio::spawn(serve(stream, room)));
        }
    })
}

async fn pass(at: usize, mut reader: UnixStream, links: Rc<Links>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(ROOM);
    links.wait_begins();
    loop {
        let (read, bytes) = reader.read(buffer).await;
        read?;
        links.pass(at, &bytes)?;
        buffer = bytes;
        buffer.clear();
    }
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    runtime.block_on(async {
        let Chain { readers, links } = chain;
        for (at, reader) in readers.into_iter().enumerate() {
            let reader = UnixStream::from_std(reader)?;
            drop(monoio::spawn(pass(at, reader, Rc::clone(&links))));
        }
        links.all_wait().await;
        links.start()?;
        links.end().await;
        links.took()
    })
}
