//! Pipes and FIFOs as streams of coroutines: what they share with connections, and what is their own.
#![allow(unsafe_code)]

use crate::support::{LOOPS, bytes, guard, is_nonblocking, on_each_loop, strict_run};
use readily::io::{PipeReader, PipeWriter, pipe};
use readily::{Error, Runner, gather, spawn, yield_now};
use readily_testing::poll_once;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::process::Command;

#[test]
fn more_than_a_pipe_holds_goes_through_in_order() {
    let _guard = guard!();
    for make in LOOPS {
        let sent = bytes(3 << 20, 5);
        let received = Runner::from(make()).run(async {
            let (reader, writer) = pipe().unwrap();
            let write = async {
                writer.write_all(&sent).await.unwrap();
                drop(writer);
            };
            let read = async {
                let mut all = Vec::new();
                assert_eq!(
                    reader.read_to_end(&mut all, usize::MAX).await.unwrap(),
                    sent.len()
                );
                all
            };
            gather((write, read)).await.1
        });
        assert!(received.unwrap() == sent);
    }
}

/// A short read does not prove that the pipe is empty: in packet mode it ends with its packet.
#[test]
#[cfg(target_os = "linux")]
fn a_pipe_in_packet_mode_is_read_packet_by_packet() {
    use std::io::Write;
    use std::os::fd::{FromRawFd, OwnedFd};
    let _guard = guard!();
    for make in LOOPS {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has space for two numbers.
        assert_eq!(
            unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_DIRECT | libc::O_CLOEXEC) },
            0
        );
        // SAFETY: both were just made, and have no other owner.
        let [reader, writer] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        Runner::from(make())
            .run(async {
                let reader = PipeReader::new(reader).unwrap();
                let mut writer = std::fs::File::from(writer);
                for packet in [&b"one"[..], b"two", b"three"] {
                    writer.write_all(packet).unwrap();
                }
                let mut buffer = [0; 64];
                for packet in [&b"one"[..], b"two", b"three"] {
                    let n = reader.read(&mut buffer).await.unwrap();
                    assert_eq!(&buffer[..n], packet);
                }
                drop(writer);
                assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
            })
            .unwrap();
    }
}

/// The same manners as a connection: a dropped wait loses nothing, and errors are those of the system.
#[test]
fn a_dropped_read_loses_nothing_and_a_write_without_a_reader_is_an_error() {
    let _guard = guard!();
    on_each_loop(async || {
        let (reader, writer) = pipe().unwrap();
        for _ in 0..3 {
            let mut buffer = [0; 4];
            let mut read = pin!(reader.read(&mut buffer));
            assert!(poll_once(&mut read).is_pending());
        }
        writer.write_all(b"abcd").await.unwrap();
        let mut buffer = [0; 3];
        reader.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"abc");
        assert_eq!(reader.read(&mut []).await.unwrap(), 0);
        let too_few = reader.read_exact(&mut [0; 1]).await;
        too_few.unwrap();
        let closed = spawn(async move {
            writer.closed().await.unwrap();
            let broken = writer.write(b"x").await.unwrap_err();
            assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        });
        yield_now().await;
        assert!(!closed.done());
        drop(reader);
        closed.await.unwrap();
        let (reader, writer) = pipe().unwrap();
        writer.write_all(b"ab").await.unwrap();
        drop(writer);
        let early = reader.read_exact(&mut [0; 3]).await.unwrap_err();
        assert_eq!(early.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_limit_is_kept_and_what_is_above_it_can_still_be_read() {
    let _guard = guard!();
    strict_run(async {
        let (reader, writer) = pipe().unwrap();
        writer.write_all(b"0123456789").await.unwrap();
        let mut all = Vec::new();
        let above = reader.read_to_end(&mut all, 4).await.unwrap_err();
        assert_eq!(above.kind(), ErrorKind::FileTooLarge);
        assert_eq!(all, b"0123");
        drop(writer);
        assert_eq!(reader.read_to_end(&mut all, 6).await.unwrap(), 6);
        assert_eq!(all, b"0123456789");
    })
    .unwrap();
}

/// A FIFO is opened without waiting, and may be shared with programs that make it blocking.
#[test]
fn a_fifo_joins_two_programs_and_nothing_waits_for_its_other_end() {
    let _guard = guard!();
    let path = std::env::temp_dir().join(format!("readily-fifo-{}", std::process::id()));
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    strict_run(async {
        let alone = PipeWriter::open(&path).unwrap_err();
        assert_eq!(alone.raw_os_error(), Some(libc::ENXIO));
        let reader = PipeReader::open(&path).unwrap();
        let writer = PipeWriter::open(&path).unwrap();
        let mut buffer = [0; 16];
        let write = async { writer.write_all(b"here").await };
        let (read, wrote) = gather((reader.read(&mut buffer), write)).await;
        wrote.unwrap();
        assert_eq!(&buffer[..read.unwrap()], b"here");
        drop(writer);
        assert_eq!(
            reader.read(&mut buffer).await.unwrap(),
            0,
            "no writer any more"
        );
        let writer = PipeWriter::open(&path).unwrap();
        writer.write_all(b"again").await.unwrap();
        while !matches!(reader.read(&mut buffer).await.unwrap(), 5) {
            yield_now().await; // the end that was reported is a fact until the next event
        }
        // Another process clears the flag of the open file: the next read must not block the loop.
        // SAFETY: changes a flag of a descriptor that is open.
        assert_eq!(
            unsafe { libc::fcntl(reader.as_fd().as_raw_fd(), libc::F_SETFL, 0) },
            0
        );
        let mut read = pin!(reader.read(&mut buffer));
        assert!(poll_once(&mut read).is_pending());
    })
    .unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_is_no_pipe_is_refused_and_a_pipe_that_was_blocking_is_so_again() {
    let _guard = guard!();
    strict_run(async {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        for refused in [
            PipeReader::new(socket.try_clone().unwrap()).map(drop),
            PipeWriter::new(socket).map(drop),
            PipeReader::new(std::fs::File::open("/dev/null").unwrap()).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = error.into_inner().unwrap();
            assert!(matches!(
                *error.downcast::<Error>().unwrap(),
                Error::NotPipe { .. }
            ));
        }
        let (mut theirs, ours) = std::io::pipe().unwrap();
        let kept = ours.try_clone().unwrap();
        let writer = PipeWriter::new(ours).unwrap();
        assert!(is_nonblocking(&kept));
        writer.write_all(b"x").await.unwrap();
        drop(writer);
        assert!(!is_nonblocking(&kept));
        drop(kept);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"x");
    })
    .unwrap();
    let outside = pipe().unwrap_err();
    assert_eq!(outside.to_string(), Error::NoLoop.to_string());
}
