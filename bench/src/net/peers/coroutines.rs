//! readily, with coroutines.

use crate::chain::{Chain, Links, ROOM};
use readily::io::{TcpListener, TcpStream};
use std::io;
use std::net;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

async fn serve(stream: TcpStream, room: usize) -> io::Result<()> {
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
    let server = async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            drop(readily::spawn(async move {
                // An I/O error ends this connection only.
                let _ = serve(stream, room).await;
            }));
        }
    };
    readily::run(server).map_err(io::Error::other)?
}

async fn pass(at: usize, reader: TcpStream, links: Rc<Links>) -> io::Result<()> {
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
            // The descriptor is only read from; the kind of stream makes no difference to that.
            let reader = TcpStream::from_std(OwnedFd::from(reader).into())?;
            drop(readily::spawn(pass(at, reader, Rc::clone(&links))));
        }
        links.all_wait().await;
        links.start()?;
        links.end().await;
        links.took()
    };
    readily::run(main).map_err(io::Error::other)?
}
