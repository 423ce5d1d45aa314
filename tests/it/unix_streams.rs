//! Streams of the local domain, and the descriptors that are sent through them.
//!
//! Invariants: S1.

use crate::support::{bytes, descriptors_of, guard, is_alone, on_each_loop};
use readily::io::{BufReader, OwnedReadHalf, UnixStream};
use readily::{Runner, gather, spawn};
use readily_testing::SimLoop;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::{fs::MetadataExt, net};

async fn read_to_end(stream: &UnixStream, room: usize) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; room]);
    loop {
        match stream.read(&mut piece).await.unwrap() {
            0 => return all,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

/// R025, on the system's kernel and in memory.
async fn both_ways(len: usize, room: usize) {
    let (there, back) = (bytes(len, 1), bytes(len, 2));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let send = async |stream: &UnixStream, data: &[u8]| {
        stream.write_all(data).await.unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    };
    let all = gather((
        send(&ours, &there),
        send(&theirs, &back),
        read_to_end(&theirs, room),
        read_to_end(&ours, room),
    ));
    let (_, _, sent, received) = all.await;
    assert!(sent == there && received == back, "{len} by {room}");
}

#[test]
fn what_is_larger_than_every_buffer_arrives_whole_both_ways_on_each_kernel() {
    let _guard = guard!();
    for (len, room) in [(600_000, 1000), (600_000, 65_536), (2000, 1)] {
        on_each_loop(async || both_ways(len, room).await);
        for seed in 0..8 {
            SimLoop::new(seed).run(both_ways(len, room)).unwrap();
        }
    }
}

/// S1: a read stops behind a message with descriptors, also one that takes none of them.
#[test]
fn a_message_with_descriptors_does_not_hide_the_bytes_behind_it() {
    let _guard = guard!();
    on_each_loop(async || {
        let (here, there) = UnixStream::pair().unwrap();
        let mut buffer = [0; 16];
        for takes in [false, true, false] {
            let sent = here.send_with_fds(b"one", &[here.as_fd()]).await.unwrap();
            assert_eq!(sent, 3);
            here.write_all(b"two").await.unwrap();
            let first = match takes {
                true => there.recv_with_fds(&mut buffer, 1).await.unwrap().bytes,
                false => there.read(&mut buffer).await.unwrap(),
            };
            assert_eq!(&buffer[..first], b"one");
            let second = there.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..second], b"two");
        }
    });
}

#[test]
fn descriptors_arrive_and_work_and_those_above_the_limit_are_closed() {
    if !is_alone(None) {
        return;
    }
    on_each_loop(async || {
        let before = descriptors_of("self");
        let (here, there) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        here.send_with_fds(b"x", &[writer.as_fd()]).await.unwrap();
        let mut received = there.recv_with_fds(&mut [0; 8], 1).await.unwrap();
        assert_eq!((received.bytes, received.is_truncated), (1, false));
        drop(writer);
        let mut writer = std::fs::File::from(received.fds.pop().unwrap());
        writer.write_all(b"by another way").unwrap();
        here.send_with_fds(b"y", &[writer.as_fd(), here.as_fd(), there.as_fd()])
            .await
            .unwrap();
        drop(writer);
        let received = there.recv_with_fds(&mut [0; 8], 0).await.unwrap();
        assert!(received.fds.is_empty() && received.is_truncated);
        assert_eq!(
            descriptors_of("self"),
            before + 3,
            "two sockets and a reader"
        );
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap(); // ends: no writer is left anywhere
        assert_eq!(all, "by another way");
        // Those that nothing receives go with the socket.
        here.send_with_fds(b"z", &[here.as_fd()]).await.unwrap();
        drop((here, there, reader));
        assert_eq!(descriptors_of("self"), before);
    });
}

#[test]
fn what_cannot_be_sent_with_descriptors_is_refused() {
    let _guard = guard!();
    on_each_loop(async || {
        let (here, there) = UnixStream::pair().unwrap();
        let many = vec![here.as_fd(); 254];
        let nothing = here.send_with_fds(b"", &[here.as_fd()]).await.unwrap_err();
        let too_many = here.send_with_fds(b"x", &many).await.unwrap_err();
        let no_room = there.recv_with_fds(&mut [], 1).await.unwrap_err();
        for error in [nothing, too_many, no_room] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        drop(there);
        let gone = here.send_with_fds(b"x", &[here.as_fd()]).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    });
    let mut sim = SimLoop::new(1);
    let unsupported = sim.run(async {
        let (here, _there) = UnixStream::pair().unwrap();
        let error = here.send_with_fds(b"x", &[here.as_fd()]).await;
        [
            error.map(drop),
            here.peer_cred().map(drop),
            here.local_addr().map(drop),
        ]
    });
    for refused in unsupported.unwrap() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

async fn has_every_operation() {
    let (mut here, there) = UnixStream::pair().unwrap();
    assert_eq!(
        there.try_read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    {
        let (_, mut write) = here.split();
        write.write_all(b"abc").await.unwrap();
    }
    let halves = [IoSlice::new(b"de"), IoSlice::new(b"f\nrest")];
    let mut sent = here.write_vectored(&halves).await.unwrap();
    let whole = b"def\nrest";
    while sent < whole.len() {
        sent += here.write(&whole[sent..]).await.unwrap();
    }
    there.readable().await.unwrap();
    let mut byte = [0];
    assert_eq!(there.peek(&mut byte).await.unwrap(), 1);
    assert_eq!((there.try_read(&mut byte).unwrap(), &byte), (1, b"a"));
    let mut two = [0; 2];
    let mut buffers = [IoSliceMut::new(&mut two)];
    assert!(there.read_vectored(&mut buffers).await.unwrap() > 0);
    let (read, write) = there.into_split();
    let line = spawn(async move {
        let mut lines: BufReader<OwnedReadHalf<UnixStream>> = BufReader::new(read);
        lines.read_line().await.unwrap().unwrap().to_owned()
    });
    let line = line.await.unwrap();
    assert!(line.ends_with("def"), "{line}");
    drop(write);
    assert_eq!(here.read(&mut byte).await.unwrap(), 0, "its half is shut");
}

#[test]
fn a_local_stream_has_every_operation_of_a_stream_on_each_kernel() {
    let _guard = guard!();
    on_each_loop(has_every_operation);
    for seed in 0..8 {
        SimLoop::new(seed).run(has_every_operation()).unwrap();
    }
}

#[test]
fn a_local_stream_is_taken_over_and_given_back() {
    let _guard = guard!();
    let (mut here, there) = Runner::new()
        .unwrap()
        .run(async {
            let (here, there) = net::UnixStream::pair().unwrap();
            let here = UnixStream::from_std(here).unwrap();
            let there = UnixStream::try_from(OwnedFd::from(there)).unwrap();
            here.write_all(b"hello").await.unwrap();
            let cred = there.peer_cred().unwrap();
            assert_eq!(cred.uid, std::fs::metadata("/proc/self").unwrap().uid());
            if cfg!(target_os = "linux") {
                assert_eq!(cred.pid, i32::try_from(std::process::id()).ok());
            }
            assert!(here.peer_addr().unwrap().is_unnamed());
            (here.into_std().unwrap(), there.into_std().unwrap())
        })
        .unwrap();
    let mut greeting = [0; 5];
    (&there).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello");
    drop(there);
    assert_eq!(here.read(&mut greeting).unwrap(), 0, "it is blocking again");
}
