//! tokio, on one thread.

use crate::chain::{Chain, Links, ROOM};
use std::io;
use std::net;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

async fn serve(mut stream: TcpStream, room: usize) -> io::Result<()> {
    let mut buffer = vec![0; room];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

pub fn echo(listener: net::TcpListener, room: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    runtime()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            drop(tokio::spawn(serve(stream, room)));
        }
    })
}

async fn pass(at: usize, mut reader: UnixStream, links: Rc<Links>) -> io::Result<()> {
    let mut buffer = [0; ROOM];
    links.wait_begins();
    loop {
        let n = reader.read(&mut buffer).await?;
        links.pass(at, &buffer[..n])?;
    }
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let main = async {
        let Chain { readers, links } = chain;
        for (at, reader) in readers.into_iter().enumerate() {
            let reader = UnixStream::from_std(reader)?;
            drop(tokio::task::spawn_local(pass(
                at,
                reader,
                Rc::clone(&links),
            )));
        }
        links.all_wait().await;
        links.start()?;
        links.end().await;
        links.took()
    };
    LocalSet::new().block_on(&runtime()?, main)
}
