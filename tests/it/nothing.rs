//! A transfer of no bytes: a read into an empty buffer, a write of an empty slice.
//!
//! Each stream returns zero at once, also where nothing can be read and there is no room. One row for each method.
//!
//! In asyncio a read of zero bytes returns at once, too, and a write of nothing does nothing.

use crate::support::{fill, guard, strict_run, tcp_pair};
use readily::io::{
    Async, BufReader, BufWriter, PipeReader, PipeWriter, Stdin, Stdout, TcpStream, UnixStream,
    duplex, pipe,
};
use readily_testing::SimLoop;
use std::future::poll_fn;
use std::io;
use std::os::unix::net;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// The result of a future at its first poll, if it has one.
async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Zero, of a method that returns no number.
fn whole(done: Option<io::Result<()>>) -> Option<io::Result<usize>> {
    done.map(|done| done.map(|()| 0))
}

macro_rules! check {
    ($($name:literal: $operation:expr;)+) => { $(
        let done: Option<io::Result<usize>> = $operation;
        assert!(matches!(done, Some(Ok(0))), "{}: {done:?}", $name);
    )+ };
}

/// The methods that both kinds of stream sockets have; of one that is full, and that nothing was sent to.
macro_rules! check_stream {
    ($stream:expr) => {{
        let mut stream = $stream;
        check! {
            "read": at_once(stream.read(&mut [])).await;
            "read_exact": whole(at_once(stream.read_exact(&mut [])).await);
            "read_vectored": at_once(stream.read_vectored(&mut [])).await;
            "peek": at_once(stream.peek(&mut [])).await;
            "write": at_once(stream.write(b"")).await;
            "write_all": whole(at_once(stream.write_all(b"")).await);
            "write_vectored": at_once(stream.write_vectored(&[])).await;
            "try_read": Some(stream.try_read(&mut []));
            "try_read_vectored": Some(stream.try_read_vectored(&mut []));
            "try_write": Some(stream.try_write(b""));
            "try_write_vectored": Some(stream.try_write_vectored(&[]));
            "poll_read": at_once(poll_fn(|cx| stream.poll_read(cx, &mut []))).await;
            "poll_read_uninit": at_once(poll_fn(|cx| stream.poll_read_uninit(cx, &mut []))).await;
            "poll_read_vectored": at_once(poll_fn(|cx| stream.poll_read_vectored(cx, &mut []))).await;
            "poll_peek": at_once(poll_fn(|cx| stream.poll_peek(cx, &mut []))).await;
            "poll_write": at_once(poll_fn(|cx| stream.poll_write(cx, b""))).await;
            "poll_write_vectored": at_once(poll_fn(|cx| stream.poll_write_vectored(cx, &[]))).await;
        }
        let (mut reader, mut writer) = stream.split();
        check! {
            "half, read": at_once(reader.read(&mut [])).await;
            "half, peek": at_once(reader.peek(&mut [])).await;
            "half, write": at_once(writer.write(b"")).await;
            "half, write_all": whole(at_once(writer.write_all(b"")).await);
        }
        let mut reader = BufReader::new(&stream);
        let mut writer = BufWriter::new(&stream);
        check! {
            "BufReader": at_once(reader.read(&mut [])).await;
            "BufWriter": whole(at_once(writer.write_all(b"")).await);
        }
        assert_eq!(stream.try_write(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }};
}

/// Another end, which has sent nothing and reads nothing.
fn full_pair() -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    while here.try_write(&[0; 1 << 12]).is_ok() {}
    (here, there)
}

async fn check_pipe(reader: PipeReader, writer: PipeWriter) {
    check! {
        "PipeReader, read": at_once(reader.read(&mut [])).await;
        "PipeReader, read_exact": whole(at_once(reader.read_exact(&mut [])).await);
        "PipeReader, try_read": Some(reader.try_read(&mut []));
        "PipeReader, poll_read": at_once(poll_fn(|cx| reader.poll_read(cx, &mut []))).await;
    }
    while writer.try_write(&[0; 1 << 12]).is_ok() {}
    check! {
        "PipeWriter, write": at_once(writer.write(b"")).await;
        "PipeWriter, write_all": whole(at_once(writer.write_all(b"")).await);
        "PipeWriter, try_write": Some(writer.try_write(b""));
        "PipeWriter, poll_write": at_once(poll_fn(|cx| writer.poll_write(cx, b""))).await;
    }
}

async fn check_standard(input: Stdin, output: Stdout) {
    check! {
        "Stdin, read": at_once(input.read(&mut [])).await;
        "Stdin, try_read": Some(input.try_read(&mut []));
        "Stdin, poll_read": at_once(poll_fn(|cx| input.poll_read(cx, &mut []))).await;
    }
    while output.try_write(&[0; 1 << 12]).is_ok() {}
    check! {
        "Stdout, write": at_once(output.write(b"")).await;
        "Stdout, write_all": whole(at_once(output.write_all(b"")).await);
        "Stdout, try_write": Some(output.try_write(b""));
        "Stdout, poll_write": at_once(poll_fn(|cx| output.poll_write(cx, b""))).await;
    }
}

#[test]
fn on_the_system_a_transfer_of_nothing_returns_at_once() {
    let _guard = guard!();
    strict_run(async {
        let (here, _there) = full_pair();
        check_stream!(here);
        let (ours, _theirs) = tcp_pair();
        ours.set_nonblocking(true).unwrap();
        fill(&ours);
        check_stream!(TcpStream::from_std(ours).unwrap());
        let (reader, writer) = pipe().unwrap();
        check_pipe(reader, writer).await;
        let (ours, _theirs) = net::UnixStream::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        check! {
            "Async, read": at_once(ours.read(&mut [])).await;
            "Async, poll_read": at_once(poll_fn(|cx| ours.poll_read(cx, &mut []))).await;
        }
        while at_once(ours.write(&[0; 1 << 12])).await.is_some() {}
        check! {
            "Async, write": at_once(ours.write(b"")).await;
            "Async, write_all": whole(at_once(ours.write_all(b"")).await);
            "Async, poll_write": at_once(poll_fn(|cx| ours.poll_write(cx, b""))).await;
        }
    })
    .unwrap();
}

#[test]
fn in_memory_a_transfer_of_nothing_returns_at_once() {
    let mut sim = SimLoop::new(1);
    let kernel = sim.kernel().clone();
    sim.run(async move {
        let (here, _there) = full_pair();
        check_stream!(here);
        let [one, other] = [0, 1].map(|_| kernel.pipe().unwrap());
        let reader = PipeReader::from_kernel(Rc::new(one.0)).unwrap();
        let writer = PipeWriter::from_kernel(Rc::new(other.1)).unwrap();
        check_pipe(reader, writer).await;
        drop((one.1, other.0));
        let [one, other] = [0, 1].map(|_| kernel.pipe().unwrap());
        let input = Stdin::from_kernel(Rc::new(one.0)).unwrap();
        let output = Stdout::from_kernel(Rc::new(other.1)).unwrap();
        check_standard(input, output).await;
        drop((one.1, other.0));
        let (mut here, _there) = duplex(1);
        here.write_all(b"x").await.unwrap();
        check! {
            "duplex, read": at_once(here.read(&mut [])).await;
            "duplex, write_all": whole(at_once(here.write_all(b"")).await);
        }
    })
    .unwrap();
}
