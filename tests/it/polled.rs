//! Streams that are polled, tried, or taken back from the loop.
//!
//! Invariants: S1, S4.

use crate::support::{
    LOOPS, connection, guard, is_nonblocking, on_each_loop, strict_loop, strict_run,
};
use readily::io::{Async, IntoInnerError, PipeReader, TcpListener, TcpStream, pipe};
use readily::{Runner, gather, spawn, yield_now};
use readily_testing::{SimLoop, poll_once};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

#[test]
fn of_two_tasks_that_poll_a_read_the_last_one_is_woken_and_so_is_each_future() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        let (ours, log) = (Rc::new(ours), Rc::new(RefCell::new(Vec::new())));
        let poller = |name| {
            let (ours, log) = (Rc::clone(&ours), Rc::clone(&log));
            spawn(async move {
                poll_fn(|cx| ours.poll_read_ready(cx)).await.unwrap();
                log.borrow_mut().push(name);
            })
        };
        let (first, last) = (poller("first"), poller("last"));
        let (waits, noted) = (Rc::clone(&ours), Rc::clone(&log));
        let future = spawn(async move {
            waits.readable().await.unwrap();
            noted.borrow_mut().push("future");
        });
        yield_now().await;
        yield_now().await;
        theirs.write_all(b"x").unwrap();
        gather((last, future)).await.1.unwrap();
        assert!(!first.done());
        first.cancel();
        let mut woken = log.borrow().clone();
        woken.sort_unstable();
        assert_eq!(woken, ["future", "last"]);
    })
    .unwrap();
}

/// S1: the place is the stream's: a future of the same task that is dropped does not take it away.
#[test]
fn a_polled_read_is_woken_after_a_future_of_the_same_task_was_dropped() {
    let _guard = guard!();
    for order in 0..2 {
        for make in LOOPS {
            let read = Runner::from(make()).run(async {
                let (ours, mut theirs) = connection().await;
                let mut buffer = [0; 8];
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    let mut spare = [0; 8];
                    let mut future = pin!(ours.read(&mut spare));
                    if polls == 1 && order == 0 {
                        assert!(future.as_mut().poll(cx).is_pending());
                    }
                    let polled = ours.poll_read(cx, &mut buffer);
                    if polls == 1 && order == 1 {
                        assert!(future.as_mut().poll(cx).is_pending());
                    }
                    if polls == 1 {
                        assert!(polled.is_pending());
                        theirs.write_all(b"later").unwrap();
                    }
                    polled
                })
                .await
            });
            assert_eq!(read.unwrap().unwrap(), 5);
        }
    }
}

/// S1: the system looks at 1024 buffers in one call, so a transfer that has filled them does not prove that
/// nothing is left.
#[test]
fn more_buffers_than_the_system_looks_at_leave_no_byte_behind() {
    let _guard = guard!();
    on_each_loop(async || {
        let (ours, mut theirs) = connection().await;
        theirs.write_all(&[7; 3000]).unwrap();
        let mut left = 3000;
        while left > 0 {
            let mut bytes = [0; 2000];
            let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
            let n = ours.read_vectored(&mut buffers).await.unwrap();
            assert!(bytes[..n].iter().all(|byte| *byte == 7));
            left -= n;
        }
        let buffers = vec![IoSlice::new(b"y"); 2000];
        let mut sent = 0;
        while sent < 4000 {
            sent += ours.write_vectored(&buffers).await.unwrap();
        }
        let mut received = vec![0; sent];
        theirs.set_nonblocking(false).unwrap();
        theirs.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == b'y'));
    });
}

/// S1: the kernel of a recording knows no vectored calls.
#[test]
fn a_kernel_that_fills_only_the_first_buffer_is_read_to_the_end() {
    let _guard = guard!();
    let (event_loop, _recorder) = readily_testing::record(std::io::sink()).unwrap();
    Runner::from(event_loop)
        .run(async {
            let (ours, mut theirs) = connection().await;
            theirs.write_all(b"12345678").unwrap();
            for part in [b"1234", b"5678"] {
                let mut bytes = [0; 8];
                let (first, second) = bytes.split_at_mut(4);
                let mut buffers = [&mut [], first, second].map(IoSliceMut::new);
                assert_eq!(ours.read_vectored(&mut buffers).await.unwrap(), 4);
                assert_eq!(&bytes[..4], part);
            }
            let buffers = [b"", &b"abcd"[..], b"efgh"].map(IoSlice::new);
            assert_eq!(ours.write_vectored(&buffers).await.unwrap(), 4);
        })
        .unwrap();
}

#[test]
fn a_read_that_is_tried_says_would_block_and_the_next_wait_lasts_until_bytes_come() {
    let _guard = guard!();
    on_each_loop(async || {
        let (ours, mut theirs) = connection().await;
        let mut buffer = [0; 8];
        for _ in 0..3 {
            let error = ours.try_read(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let mut wait = pin!(ours.readable());
            assert!(poll_once(&mut wait).is_pending());
            theirs.write_all(b"bytes").unwrap();
            wait.await.unwrap();
            assert_eq!(ours.try_read(&mut buffer).unwrap(), 5);
        }
        drop(theirs);
        ours.readable().await.unwrap();
        assert_eq!(ours.try_read(&mut buffer).unwrap(), 0);
        // The end stays.
        ours.readable().await.unwrap();
        assert_eq!(ours.try_read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn operations_of_the_caller_are_tried_on_the_descriptor() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        let mut peek = [0; 8];
        let read = || (&*socket2::SockRef::from(&ours)).read(&mut peek);
        let error = ours.try_io(readily::io::Direction::Read, read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        theirs.write_all(b"abc").unwrap();
        ours.readable().await.unwrap();
        let read = || (&*socket2::SockRef::from(&ours)).read(&mut peek);
        assert_eq!(ours.try_io(readily::io::Direction::Read, read).unwrap(), 3);
    })
    .unwrap();
}

#[test]
fn bytes_that_were_peeked_at_are_read_again() {
    let _guard = guard!();
    on_each_loop(async || {
        let (ours, mut theirs) = connection().await;
        let mut buffer = [0; 8];
        let peek = async {
            let mut peeked = [0; 8];
            let n = ours.peek(&mut peeked).await.unwrap();
            peeked[..n].to_vec()
        };
        let send = async { theirs.write_all(b"hello").unwrap() };
        assert_eq!(gather((peek, send)).await.0, b"hello");
        assert_eq!(ours.peek(&mut buffer[..2]).await.unwrap(), 2);
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        drop(theirs);
        assert_eq!(ours.peek(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn an_end_of_a_pipe_is_polled_and_tried() {
    let _guard = guard!();
    on_each_loop(async || {
        let (reader, writer) = pipe().unwrap();
        let mut buffer = vec![0; 1 << 16];
        let error = reader.try_read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let mut sent = 0;
        while let Ok(n) = writer.try_write(&[1; 4096]) {
            sent += n;
        }
        assert!(poll_once(&mut pin!(writer.writable())).is_pending());
        let receive = async {
            let mut received = 0;
            while received < sent {
                reader.readable().await.unwrap();
                poll_fn(|cx| reader.poll_read_ready(cx)).await.unwrap();
                received += poll_fn(|cx| reader.poll_read(cx, &mut buffer))
                    .await
                    .unwrap();
            }
            received
        };
        let write = async {
            poll_fn(|cx| writer.poll_write_ready(cx)).await.unwrap();
            poll_fn(|cx| writer.poll_write(cx, b"")).await.unwrap()
        };
        assert_eq!(gather((receive, write)).await, (sent, 0));
        drop(reader);
        let error = writer.try_write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_stream_that_was_taken_back_is_the_standard_librarys_and_its_bytes_are_there() {
    let _guard = guard!();
    let mut runner = Runner::from(strict_loop());
    let (taken, mut theirs, given) = runner
        .run(async {
            let (ours, mut theirs) = connection().await;
            theirs.write_all(b"unread").unwrap();
            ours.readable().await.unwrap();
            let given = TcpStream::from_std(theirs.try_clone().unwrap()).unwrap();
            (ours.into_std().unwrap(), theirs, given.into_std().unwrap())
        })
        .unwrap();
    assert_eq!(runner.event_loop().registered(), 0);
    assert!(is_nonblocking(&taken), "the loop made it");
    assert!(!is_nonblocking(&given), "it was blocking before");
    taken.set_nonblocking(false).unwrap();
    let mut bytes = [0; 6];
    (&taken).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"unread");
    (&taken).write_all(b"back").unwrap();
    theirs.read_exact(&mut bytes[..4]).unwrap();
}

#[test]
fn listeners_pipes_and_sources_are_taken_back() {
    let _guard = guard!();
    strict_run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let _client = TcpStream::connect(addr).await.unwrap();
        let listener = listener.into_std().unwrap();
        // The connection that was not accepted is still there.
        let listener = TcpListener::from_std(listener).unwrap();
        listener.accept().await.unwrap();
        let (reader, writer) = pipe().unwrap();
        let number = reader.as_fd().as_raw_fd();
        let fd = OwnedFd::try_from(reader).unwrap();
        assert_eq!(fd.as_raw_fd(), number);
        let reader = PipeReader::new(fd).unwrap();
        writer.write_all(b"again").await.unwrap();
        let mut buffer = [0; 5];
        reader.read_exact(&mut buffer).await.unwrap();
        let (one, _two) = UnixStream::pair().unwrap();
        let source = Async::new(one).unwrap();
        assert!(is_nonblocking(&*source));
        assert!(!is_nonblocking(&source.into_inner().unwrap()));
    })
    .unwrap();
}

#[test]
fn a_stream_of_another_kernel_is_given_back_and_goes_on() {
    let mut sim = SimLoop::new(1);
    let read = sim.run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (ours, theirs) = gather((TcpStream::connect(addr), listener.accept())).await;
        let (ours, (theirs, _)) = (ours.unwrap(), theirs.unwrap());
        let refused = ours.into_std().unwrap_err();
        assert!(matches!(refused, IntoInnerError::OtherKernel(_)));
        let ours = refused.into_inner();
        theirs.write_all(b"still").await.unwrap();
        let mut buffer = [0; 5];
        ours.read_exact(&mut buffer).await.unwrap();
        let refused = OwnedFd::try_from(ours).unwrap_err();
        std::io::Error::from(refused).kind()
    });
    assert_eq!(read.unwrap(), ErrorKind::Unsupported);
}

thread_local! {
    static HELD: Cell<Option<TcpStream>> = const { Cell::new(None) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// A waker that tries to take the stream back, of which it is called.
struct Takes;

impl Wake for Takes {
    fn wake(self: Arc<Self>) {
        let stream = HELD.take().expect("it is called once");
        match stream.into_std() {
            Err(IntoInnerError::Dispatching(stream)) => {
                REFUSED.set(true);
                HELD.set(Some(stream));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// S4.
#[test]
fn a_waker_of_a_stream_cannot_take_it_back_while_the_loop_calls_it() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = connection().await;
        let waker = Waker::from(Arc::new(Takes));
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(matches!(ours.poll_read_ready(&mut cx), Poll::Pending));
        HELD.set(Some(ours));
        theirs.write_all(b"x").unwrap();
        while !REFUSED.get() {
            yield_now().await;
        }
        let ours = HELD.take().unwrap();
        assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 1);
        drop(ours.into_std().unwrap());
    })
    .unwrap();
}
