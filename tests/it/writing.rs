//! What is written through a buffer, copied, framed, or passed through memory.
//!
//! Invariants: F1, S3.

use crate::support::{bytes, connection, guard, on_each_loop, strict_run, strict_runner};
use readily::io::{
    BufReader, BufWriter, LengthPrefix, PollRead, PollWrite, ReadError, TcpStream, copy,
    copy_bidirectional, duplex,
};
use readily::{gather, spawn, wait_for};
use readily_testing::{SimLoop, poll_once};
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// A stream that has room for this many bytes, and no more until the test makes some.
#[derive(Clone, Default)]
struct Slow {
    room: Rc<Cell<usize>>,
    taken: Rc<std::cell::RefCell<Vec<u8>>>,
    flushes: Rc<Cell<usize>>,
}

impl PollWrite for Slow {
    fn poll_write(&mut self, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = self.room.get().min(bytes.len());
        if n == 0 {
            return Poll::Pending;
        }
        self.room.set(self.room.get() - n);
        self.taken.borrow_mut().extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes.set(self.flushes.get() + 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// R123.
#[test]
fn a_writer_waits_above_its_high_mark_until_the_low_one() {
    let slow = Slow::default();
    let mut writer = BufWriter::with_marks(slow.clone(), 4, 10);
    assert!(poll_once(&mut pin!(writer.write_all(b"0123456789"))).is_ready());
    assert!(
        poll_once(&mut pin!(writer.drain())).is_ready(),
        "at the mark"
    );
    assert_eq!(writer.try_write(b"ab"), Ok(()));
    let full = writer.try_write(b"c").unwrap_err();
    assert_eq!((full.buffered, full.high), (12, 10));
    assert!(poll_once(&mut pin!(writer.write_all(b"lost"))).is_pending());
    slow.room.set(7);
    assert!(
        poll_once(&mut pin!(writer.drain())).is_pending(),
        "5 are left"
    );
    slow.room.set(1);
    assert!(poll_once(&mut pin!(writer.drain())).is_ready());
    assert_eq!(writer.buffered(), 4);
    assert_eq!(*slow.taken.borrow(), b"01234567");
    assert_eq!(writer.try_write(b"cd"), Ok(()));
    slow.room.set(100);
    assert!(poll_once(&mut pin!(writer.flush())).is_ready());
    assert_eq!(*slow.taken.borrow(), b"0123456789abcd");
    assert_eq!(slow.flushes.get(), 1);
    let (_, left) = writer.into_parts();
    assert!(left.is_empty());
}

/// S3: a write that was dropped in its wait has appended nothing, and each byte before goes out once.
#[test]
fn a_write_that_is_dropped_takes_all_of_its_bytes_or_none() {
    let slow = Slow::default();
    let mut writer = BufWriter::with_marks(slow.clone(), 0, 0);
    let mut expected = Vec::new();
    for n in 0..200_usize {
        let part = bytes(n % 7, n as u64);
        slow.room.set(n % 3);
        if poll_once(&mut pin!(writer.write_all(&part))).is_ready() {
            expected.extend_from_slice(&part);
        }
    }
    let (slow, left) = writer.into_parts();
    let all = [slow.taken.borrow().clone(), left].concat();
    assert_eq!(all, expected);
    assert!(!expected.is_empty());
}

/// R123: what waits for a peer that does not read is bounded, whatever is written.
#[test]
fn a_peer_that_does_not_read_costs_a_bounded_amount_of_memory() {
    let _guard = guard!();
    strict_run(async {
        let (ours, theirs) = connection().await;
        let mut writer = BufWriter::with_marks(ours, 1 << 10, 8 << 10);
        let part = [7; 1 << 10];
        // Until the buffers of the kernel are full, too.
        while poll_once(&mut pin!(writer.write_all(&part))).is_ready() {
            assert!(writer.buffered() <= 9 << 10, "it is above the mark");
        }
        assert!(writer.buffered() <= 9 << 10);
        drop(theirs);
        let error = loop {
            if let Err(error) = writer.write_all(&part).await {
                break error;
            }
        };
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
            "{error}"
        );
    })
    .unwrap();
}

#[test]
fn small_writes_are_few_system_calls_and_a_shutdown_ends_the_stream() {
    let _guard = guard!();
    on_each_loop(async || {
        let (ours, mut theirs) = connection().await;
        let mut writer = BufWriter::new(ours);
        let mut expected = Vec::new();
        for n in 0..1000 {
            let line = format!("line {n}\n");
            writer.write_all(line.as_bytes()).await.unwrap();
            expected.extend_from_slice(line.as_bytes());
        }
        writer.shutdown().await.unwrap();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        assert_eq!(all, expected);
    });
}

/// A stream that answers anything.
struct Odd(usize);

impl PollWrite for Odd {
    fn poll_write(&mut self, _cx: &mut Context<'_>, _bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.0))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// R125.
#[test]
fn a_stream_that_takes_nothing_or_too_much_is_named() {
    let _guard = guard!();
    strict_run(async {
        let mut writer = BufWriter::new(Odd(0));
        writer.try_write(b"x").unwrap();
        let error = writer.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
        let error = copy(&b"x"[..], Odd(0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
        let panic = spawn(async { copy(&b"x"[..], Odd(2)).await })
            .await
            .unwrap_err();
        assert!(
            panic.to_string().contains("written 2 bytes of 1"),
            "{panic}"
        );
    })
    .unwrap();
}

#[test]
fn a_copy_moves_all_bytes_and_shares_the_thread() {
    let _guard = guard!();
    strict_run(async {
        let all = vec![7; 16 << 20];
        let turns = Rc::new(Cell::new(0));
        let count = Rc::clone(&turns);
        let other = spawn(async move {
            loop {
                count.set(count.get() + 1);
                readily::yield_now().await;
            }
        });
        let mut to = Vec::new();
        // Both are always ready.
        assert_eq!(copy(&all[..], &mut to).await.unwrap(), 16 << 20);
        assert!(to == all);
        other.cancel();
        assert!(turns.get() > 0, "a copy of streams that never wait yields");
    })
    .unwrap();
}

/// A copy flushes what its writer keeps back before it waits for more bytes.
#[test]
fn a_copy_into_a_buffer_holds_nothing_back_while_it_waits() {
    let _guard = guard!();
    strict_run(async {
        let (mut ours, theirs) = duplex(64);
        let (end, mut far) = duplex(64);
        let copying = spawn(copy(theirs, BufWriter::new(end)));
        ours.write_all(b"now").await.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(far.read(&mut buffer).await.unwrap(), 3);
        ours.shutdown();
        assert_eq!(copying.await.unwrap().unwrap(), 3);
        assert_eq!(
            far.read(&mut buffer).await.unwrap(),
            0,
            "its end was dropped"
        );
    })
    .unwrap();
}

/// On each kernel: what is larger than all buffers, both ways at once, and the ends one after the other.
#[test]
fn a_proxy_passes_on_every_byte_and_each_end() {
    let _guard = guard!();
    on_each_loop(async || {
        let ((client, front), (back, server)) = gather((connection(), connection())).await;
        proxied(client, front, back, server).await;
    });
}

async fn proxied(
    client: TcpStream,
    front: net::TcpStream,
    back: TcpStream,
    server: net::TcpStream,
) {
    let front = TcpStream::from_std(front).unwrap();
    let server = TcpStream::from_std(server).unwrap();
    let proxy = spawn(async move { copy_bidirectional(front, back).idle_limit(LONG).await });
    let (question, answer) = (bytes(1 << 20, 1), bytes(3 << 20, 2));
    let ask = async {
        client.write_all(&question).await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    };
    let serve = async {
        let mut asked = vec![0; question.len()];
        server.read_exact(&mut asked).await.unwrap();
        assert_eq!(
            server.read(&mut [0]).await.unwrap(),
            0,
            "the end comes through"
        );
        assert!(asked == question);
        server.write_all(&answer).await.unwrap();
        server.shutdown(Shutdown::Write).unwrap();
    };
    let hear = async {
        let mut heard = vec![0; answer.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert!(heard == answer);
    };
    gather((ask, serve, hear)).await;
    let counts = (question.len() as u64, answer.len() as u64);
    assert_eq!(proxy.await.unwrap().unwrap(), counts);
}

/// A stream without an end, which is always ready.
struct Endless(Rc<Cell<usize>>);

impl PollRead for Endless {
    fn poll_read(&mut self, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len()))
    }
}

impl PollWrite for Endless {
    fn poll_write(&mut self, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.set(self.0.get() + bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// F1: one direction would use up the budget of each poll.
#[test]
fn a_flood_in_one_direction_does_not_stop_the_other() {
    let _guard = guard!();
    strict_run(async {
        let counts = [Rc::default(), Rc::default()];
        let [one, other] = counts.each_ref().map(|count| Endless(Rc::clone(count)));
        let copying = spawn(copy_bidirectional(one, other));
        for _ in 0..10 {
            readily::yield_now().await;
        }
        copying.cancel();
        assert!(counts.iter().all(|count| count.get() > 0), "{counts:?}");
    })
    .unwrap();
}

/// In virtual time: bytes in either direction count, and the limit begins again with each.
#[test]
fn a_copy_over_which_nothing_moves_ends_after_its_limit_and_not_before() {
    let _guard = guard!();
    let ms = Duration::from_millis;
    let mut sim = SimLoop::new(1);
    let copied = sim.run(async {
        let (mut client, front) = duplex(64);
        let (back, mut server) = duplex(64);
        let moves = spawn(async move {
            for n in 0..10 {
                readily::sleep(ms(900)).await;
                let stream = if n % 2 == 0 { &mut client } else { &mut server };
                stream.write_all(b"x").await.unwrap();
            }
            (client, server)
        });
        let mut copying = copy_bidirectional(front, back).idle_limit(ms(1000));
        let error = (&mut copying).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(moves.await.unwrap());
        copying.copied()
    });
    assert_eq!(copied.unwrap(), (5, 5));
    assert_eq!(sim.elapsed(), ms(9000 + 1000));
}

#[test]
fn a_limit_without_an_end_is_no_limit() {
    let _guard = guard!();
    let mut sim = SimLoop::new(1);
    sim.run(async {
        let (mut client, front) = duplex(8);
        let (back, _server) = duplex(8);
        let mut copying = copy_bidirectional(front, back).idle_limit(Duration::MAX);
        let timed_out = wait_for(LONG, &mut copying).await;
        assert!(timed_out.is_err());
        client.write_all(b"x").await.unwrap();
        assert!(wait_for(LONG, &mut copying).await.is_err());
        assert_eq!(copying.copied(), (1, 0));
    })
    .unwrap();
}

/// R119, R121: the length is a peer's, and is believed up to the limit.
#[test]
fn a_frame_is_whole_or_an_error_that_keeps_its_bytes() {
    let _guard = guard!();
    strict_run(async {
        let prefix = LengthPrefix::U16;
        let frames = |bytes: &'static [u8]| BufReader::with_limit(bytes, 10);
        let mut reader = frames(b"\0\x08exactly8\0\x00\0\x01x");
        assert_eq!(
            reader.read_frame(prefix).await.unwrap(),
            Some(&b"exactly8"[..])
        );
        assert_eq!(reader.read_frame(prefix).await.unwrap(), Some(&b""[..]));
        assert_eq!(reader.read_frame(prefix).await.unwrap(), Some(&b"x"[..]));
        assert_eq!(reader.read_frame(prefix).await.unwrap(), None);
        let mut reader = frames(b"\0\x09toolong!!");
        let error = reader.read_frame(prefix).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLong { limit: 10 }), "{error}");
        let mut reader = frames(b"\xff\xffx");
        let error = reader.read_frame(prefix).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLong { .. }), "{error}");
        for cut in [&b"\0"[..], b"\0\x03", b"\0\x03ab"] {
            let mut reader = BufReader::new(cut);
            let error = reader.read_frame(prefix).await.unwrap_err();
            assert!(matches!(error, ReadError::Incomplete { .. }), "{error}");
            assert_eq!(reader.buffer(), cut);
        }
        let mut reader = BufReader::with_limit(&b"\xff\xff\xff\xff"[..], usize::MAX);
        let error = reader.read_frame(LengthPrefix::U32Le).await.unwrap_err();
        assert!(matches!(error, ReadError::Incomplete { .. }), "{error}");
        let mut writer = BufWriter::new(Vec::new());
        let error = writer.write_frame(LengthPrefix::U8, &[0; 256]).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(writer.buffered(), 0);
    })
    .unwrap();
}

#[test]
fn a_frame_that_arrives_in_pieces_is_read_by_reads_that_are_dropped() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        let mut reader = BufReader::new(ours);
        for byte in b"\0\x03abc" {
            assert!(poll_once(&mut pin!(reader.read_frame(LengthPrefix::U16))).is_pending());
            theirs.write_all(&[*byte]).unwrap();
            reader.get_ref().readable().await.unwrap();
        }
        let frame = reader.read_frame(LengthPrefix::U16).await.unwrap();
        assert_eq!(frame, Some(&b"abc"[..]));
    })
    .unwrap();
}

#[test]
fn streams_in_memory_hold_what_they_may_and_end_with_their_owner() {
    let _guard = guard!();
    strict_run(async {
        let (mut here, mut there) = duplex(4);
        assert!(poll_once(&mut pin!(here.write_all(b"12345"))).is_pending());
        let mut buffer = [0; 8];
        assert_eq!(there.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(there.read(&mut []).await.unwrap(), 0);
        assert!(poll_once(&mut pin!(there.read(&mut buffer))).is_pending());
        let writer = spawn(async move {
            here.write_all(b"567890").await.unwrap();
            here
        });
        let mut all = Vec::new();
        while all.len() < 6 {
            let n = there.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..n]);
        }
        assert_eq!(all, b"567890");
        let mut here = writer.await.unwrap();
        here.write_all(b"end").await.unwrap();
        drop(here);
        assert_eq!(there.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(there.read(&mut buffer).await.unwrap(), 0);
        let error = there.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let (mut here, there) = duplex(1);
        let waits = spawn(async move { here.write_all(b"12").await });
        readily::yield_now().await;
        drop(there);
        assert_eq!(
            waits.await.unwrap().unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    })
    .unwrap();
}

/// A close with unread bytes resets the connection, and the peer may lose the answer.
#[test]
fn a_lingering_close_lets_the_peer_read_to_the_end() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner
        .run(async {
            let (ours, mut theirs) = connection().await;
            let client = std::thread::spawn(move || {
                // More than is read, and some behind the answer.
                theirs.write_all(&[1; 100_000]).unwrap();
                let mut answer = Vec::new();
                theirs.read_to_end(&mut answer).map(|_| answer)
            });
            ours.read_exact(&mut [0; 1]).await.unwrap();
            ours.write_all(b"too much").await.unwrap();
            ours.linger_close(LONG).await.unwrap();
            assert_eq!(client.join().unwrap().unwrap(), b"too much");
            let (ours, theirs) = connection().await;
            let error = ours
                .linger_close(Duration::from_millis(1))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            drop(theirs);
        })
        .unwrap();
}
