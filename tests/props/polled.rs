//! Every way to read and to write a stream, in any mix: the bytes arrive whole and in order, on each
//! simulated kernel, with any faults, and on the system's.
//!
//! Invariants: S1, S3.
#![allow(unsafe_code)]

use crate::kernels::KERNELS;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::io::{TcpListener, TcpStream};
use readily::{Runner, gather, spawn};
use readily_testing::SimLoop;
use readily_testing::strategies::faults;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;

/// The ways to read, and to write; the sizes of the buffers.
type Mix = (Vec<u8>, Vec<u8>, Vec<usize>);

fn mix() -> impl Strategy<Value = Mix> {
    (
        vec(0..10u8, 1..12),
        vec(0..7u8, 1..12),
        vec(1..3000usize, 1..6),
    )
}

async fn retried<R>(
    wait: impl AsyncFn() -> io::Result<()>,
    mut attempt: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    loop {
        wait().await?;
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// Several buffers, of which some are empty.
fn split(buffer: &mut [u8]) -> [IoSliceMut<'_>; 4] {
    let third = buffer.len() / 3;
    let (first, rest) = buffer.split_at_mut(third);
    let (second, third) = rest.split_at_mut(third);
    [first, second, &mut [], third].map(IoSliceMut::new)
}

async fn read(stream: &TcpStream, way: u8, buffer: &mut [u8]) -> io::Result<usize> {
    match way {
        0 => stream.read(buffer).await,
        1 => poll_fn(|cx| stream.poll_read(cx, buffer)).await,
        2 => {
            let mut room = vec![MaybeUninit::uninit(); buffer.len()];
            let n = poll_fn(|cx| stream.poll_read_uninit(cx, &mut room)).await?;
            for (to, from) in buffer.iter_mut().zip(&room[..n]) {
                // SAFETY: the first `n` are initialized.
                *to = unsafe { from.assume_init() };
            }
            Ok(n)
        }
        3 => stream.read_vectored(&mut split(buffer)).await,
        4 => poll_fn(|cx| stream.poll_read_vectored(cx, &mut split(buffer))).await,
        5 => retried(|| stream.readable(), || stream.try_read(buffer)).await,
        6 => {
            let attempt = || stream.try_read_vectored(&mut split(buffer));
            retried(|| stream.readable(), attempt).await
        }
        7 => {
            let ready = || poll_fn(|cx| stream.poll_read_ready(cx));
            retried(ready, || stream.try_read(buffer)).await
        }
        way => {
            let peeked = match way {
                8 => stream.peek(buffer).await?,
                _ => poll_fn(|cx| stream.poll_peek(cx, buffer)).await?,
            };
            let expected = buffer[..peeked].to_vec();
            stream.read_exact(&mut buffer[..peeked]).await?;
            assert_eq!(buffer[..peeked], expected);
            Ok(peeked)
        }
    }
}

async fn write(stream: &TcpStream, way: u8, bytes: &[u8]) -> io::Result<usize> {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let several = [IoSlice::new(&[]), IoSlice::new(first), IoSlice::new(second)];
    match way {
        0 => stream.write(bytes).await,
        1 => poll_fn(|cx| stream.poll_write(cx, bytes)).await,
        2 => stream.write_vectored(&several).await,
        3 => poll_fn(|cx| stream.poll_write_vectored(cx, &several)).await,
        4 => retried(|| stream.writable(), || stream.try_write(bytes)).await,
        5 => {
            let attempt = || stream.try_write_vectored(&several);
            retried(|| stream.writable(), attempt).await
        }
        _ => {
            let ready = || poll_fn(|cx| stream.poll_write_ready(cx));
            retried(ready, || stream.try_write(bytes)).await
        }
    }
}

const LEN: usize = 40_000;

/// Sends bytes in one task, and receives them in another. Returns those that came.
async fn send_and_receive((reads, writes, sizes): Mix) -> Vec<u8> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (ours, theirs) = gather((TcpStream::connect(addr), listener.accept())).await;
    let (ours, (theirs, _)) = (ours.unwrap(), theirs.unwrap());
    let pieces = sizes.clone();
    let sender = spawn(async move {
        let data = bytes();
        let mut rest = &data[..];
        for (way, size) in writes.iter().cycle().zip(pieces.iter().cycle()) {
            let piece = &rest[..rest.len().min(*size)];
            rest = &rest[write(&ours, *way, piece).await.unwrap()..];
            if rest.is_empty() {
                break;
            }
        }
        ours.shutdown(Shutdown::Write).unwrap();
    });
    let mut all = Vec::new();
    for (way, size) in reads.iter().cycle().zip(sizes.iter().cycle()) {
        let mut buffer = vec![0; *size];
        match read(&theirs, *way, &mut buffer).await.unwrap() {
            0 => break,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
    sender.await.unwrap();
    all
}

fn bytes() -> Vec<u8> {
    (0..LEN).map(|n| (n * 31 + n / 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(64) })]

    /// S1, S3.
    #[test]
    fn any_mix_of_reads_and_writes_moves_the_same_bytes(faults in faults(), mix in mix()) {
        for system in KERNELS {
            let mut sim = SimLoop::on(system, faults.clone());
            prop_assert!(sim.run(send_and_receive(mix.clone())).unwrap() == bytes());
        }
    }

    #[test]
    fn any_mix_of_reads_and_writes_moves_the_same_bytes_on_the_system(mix in mix()) {
        let received = Runner::new().unwrap().run(send_and_receive(mix));
        prop_assert!(received.unwrap() == bytes());
    }
}
