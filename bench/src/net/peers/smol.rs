//! smol, from its parts: the executor polls the reactor on this thread.

use crate::chain::{Chain, Links, ROOM};
use async_executor::LocalExecutor;
use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

async fn serve(mut stream: Async<TcpStream>, room: usize) -> io::Result<()> {
    let mut buffer = vec![0; room];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

pub fn echo(listener: TcpListener, room: usize) -> io::Result<()> {
    let executor = LocalExecutor::new();
    let server = async {
        let listener = Async::new(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            executor.spawn(serve(stream, room)).detach();
        }
    };
    async_io::block_on(executor.run(server))
}

async fn pass(at: usize, mut reader: Async<UnixStream>, links: Rc<Links>) -> io::Result<()> {
    let mut buffer = [0; ROOM];
    links.wait_begins();
    loop {
        let n = reader.read(&mut buffer).await?;
        links.pass(at, &buffer[..n])?;
    }
}

pub fn chain(chain: Chain) -> io::Result<Duration> {
    let executor = LocalExecutor::new();
    let main = async {
        let Chain { readers, links } = chain;
        for (at, reader) in readers.into_iter().enumerate() {
            let reader = Async::new(reader)?;
            executor.spawn(pass(at, reader, Rc::clone(&links))).detach();
        }
        links.all_wait().await;
        links.start()?;
        links.end().await;
        links.took()
    };
    async_io::block_on(executor.run(main))
}
