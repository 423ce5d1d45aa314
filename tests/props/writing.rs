//! The buffered writer, copies and frames against the bytes themselves: any sizes and marks, streams that take
//! and give any pieces and wait in between, futures that are dropped at any point, each kernel.
//!
//! Invariants: S3.

use crate::kernels::KERNELS;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::io::{
    BufReader, BufWriter, LengthPrefix, PollRead, PollWrite, ReadError, copy, copy_bidirectional,
};
use readily::{gather, spawn};
use readily_testing::strategies::faults;
use readily_testing::{SimLoop, poll_once};
use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Sizes in a circle; zero: not ready once.
#[derive(Clone, Debug)]
struct Sizes {
    sizes: Vec<usize>,
    next: usize,
}

impl Sizes {
    fn new(sizes: &[usize]) -> Self {
        // With one that is not zero, so that it goes on.
        let sizes = sizes.iter().copied().chain([1]).collect();
        Self { sizes, next: 0 }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let size = self.sizes[self.next % self.sizes.len()];
        self.next += 1;
        if size == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(size)
    }
}

/// A stream that takes pieces.
struct Sink {
    sizes: Sizes,
    taken: Rc<RefCell<Vec<u8>>>,
}

impl Sink {
    fn new(sizes: &[usize]) -> (Self, Rc<RefCell<Vec<u8>>>) {
        let (sizes, taken) = (Sizes::new(sizes), Rc::default());
        let sink = Self {
            sizes,
            taken: Rc::clone(&taken),
        };
        (sink, taken)
    }
}

impl PollWrite for Sink {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Poll::Ready(size) = self.sizes.poll(cx) else {
            return Poll::Pending;
        };
        let n = size.min(bytes.len());
        self.taken.borrow_mut().extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A stream of these bytes, in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: Sizes,
}

impl PollRead for Pieces<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Poll::Ready(size) = self.sizes.poll(cx) else {
            return Poll::Pending;
        };
        let n = size.min(buffer.len()).min(self.bytes.len());
        buffer[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Poll::Ready(Ok(n))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    TryWrite(usize),
    Drain,
    Flush,
}

fn step() -> impl Strategy<Value = (Step, bool)> {
    let step = prop_oneof![
        4 => (0..40usize).prop_map(Step::Write),
        2 => (0..40usize).prop_map(Step::TryWrite),
        1 => Just(Step::Drain),
        1 => Just(Step::Flush),
    ];
    (step, any::<bool>())
}

fn prefix() -> impl Strategy<Value = LengthPrefix> {
    prop_oneof![
        Just(LengthPrefix::U8),
        Just(LengthPrefix::U16),
        Just(LengthPrefix::U32),
        Just(LengthPrefix::U16Le),
        Just(LengthPrefix::U32Le),
    ]
}

fn own(frame: Result<Option<&[u8]>, ReadError>) -> Option<Vec<u8>> {
    frame.unwrap().map(<[u8]>::to_vec)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![2 => Just(0), 5 => 1..50usize], 0..6)
}

proptest! {
    /// S3, R123: each write that has returned is in the stream or in the buffer, in order and once; one that was
    /// dropped, or refused, is in neither; and the buffer holds the high mark and one write at most.
    #[test]
    fn what_was_written_is_in_the_stream_or_in_the_buffer(
        sizes in sizes(),
        (low, more) in (0..30usize, 0..30usize),
        steps in vec(step(), 0..40),
    ) {
        let (sink, taken) = Sink::new(&sizes);
        let mut writer = BufWriter::with_marks(sink, low, low + more);
        let mut expected = Vec::new();
        let mut next = 0_u8;
        readily::run(async {
            for (step, is_dropped) in &steps {
                let (Step::Write(len) | Step::TryWrite(len)) = step else {
                    let wait = async {
                        match step {
                            Step::Flush => writer.flush().await,
                            _ => writer.drain().await,
                        }
                    };
                    let mut wait = pin!(wait);
                    if !is_dropped {
                        wait.await.unwrap();
                    } else if poll_once(&mut wait).is_pending() {
                        continue;
                    }
                    continue;
                };
                let bytes: Vec<u8> = (0..*len).map(|_| { next = next.wrapping_add(1); next }).collect();
                let is_done = match step {
                    Step::TryWrite(_) => writer.try_write(&bytes).is_ok(),
                    _ if *is_dropped => poll_once(&mut pin!(writer.write_all(&bytes))).is_ready(),
                    _ => {
                        writer.write_all(&bytes).await.unwrap();
                        true
                    }
                };
                if is_done {
                    expected.extend_from_slice(&bytes);
                }
                assert!(writer.buffered() <= low + more + 40);
                assert_eq!(taken.borrow().len() + writer.buffered(), expected.len());
            }
        })
        .unwrap();
        let (_, left) = writer.into_parts();
        prop_assert_eq!([&taken.borrow()[..], &left].concat(), expected);
    }

    /// S3: into a plain stream and into a buffered one.
    #[test]
    fn a_copy_is_the_bytes(
        bytes in vec(any::<u8>(), 0..2000),
        reads in sizes(),
        writes in sizes(),
        is_buffered in any::<bool>(),
    ) {
        let reader = Pieces { bytes: &bytes, sizes: Sizes::new(&reads) };
        let (sink, taken) = Sink::new(&writes);
        let copied = readily::run(async {
            match is_buffered {
                true => copy(reader, BufWriter::with_marks(sink, 3, 30)).await,
                false => copy(reader, sink).await,
            }
        });
        prop_assert_eq!(copied.unwrap().unwrap(), bytes.len() as u64);
        prop_assert_eq!(&*taken.borrow(), &bytes);
    }

    /// S3: frames of any lengths, in any pieces, with reads that are dropped.
    #[test]
    fn frames_come_back_one_by_one(
        prefix in prefix(),
        lens in vec(0..300usize, 0..10),
        reads in sizes(),
        dropped in vec(any::<bool>(), 1..5),
    ) {
        readily::run(async {
            let mut writer = BufWriter::new(Vec::new());
            let mut expected = Vec::new();
            for (n, len) in lens.iter().enumerate() {
                let frame = vec![n as u8; *len];
                match writer.write_frame(prefix, &frame).await {
                    Ok(()) => expected.push(frame),
                    Err(_) => assert!(prefix == LengthPrefix::U8 && *len > 255),
                }
            }
            writer.flush().await.unwrap();
            let bytes = writer.into_parts().0;
            let reader = Pieces { bytes: &bytes, sizes: Sizes::new(&reads) };
            let mut reader = BufReader::with_limit(reader, 304);
            let mut frames = Vec::new();
            let mut polls = dropped.iter().cycle();
            loop {
                let polled = match polls.next() {
                    Some(true) => poll_once(&mut pin!(reader.read_frame(prefix))).map(own),
                    _ => Poll::Pending,
                };
                let frame = match polled {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => own(reader.read_frame(prefix).await),
                };
                match frame {
                    Some(frame) => frames.push(frame),
                    None => break,
                }
            }
            assert_eq!(frames, expected);
        })
        .unwrap();
    }

    /// R119, R121: any bytes are frames, an end, or an error; the limit holds.
    #[test]
    fn any_bytes_are_frames_or_an_error(
        prefix in prefix(),
        bytes in vec(prop_oneof![3 => Just(0), 2 => 0..9_u8, 1 => any::<u8>()], 0..60),
        limit in 1..40usize,
    ) {
        readily::run(async {
            let mut reader = BufReader::with_limit(&bytes[..], limit);
            let mut consumed = 0;
            let error = loop {
                match reader.read_frame(prefix).await {
                    Ok(Some(frame)) => {
                        let len = frame.len();
                        assert!(len < limit);
                        consumed = bytes.len() - reader.get_ref().len() - reader.buffer().len();
                    }
                    Ok(None) => {
                        assert_eq!(consumed, bytes.len());
                        return;
                    }
                    Err(error) => break error,
                }
            };
            assert!(bytes[consumed..].starts_with(reader.buffer()), "the bytes are kept");
            match error {
                ReadError::Incomplete { read } => assert_eq!(read, bytes.len() - consumed),
                ReadError::TooLong { limit: of } => assert_eq!(of, limit),
                other => panic!("{other}"),
            }
        })
        .unwrap();
    }

    /// S3: a proxy over TCP, on each kernel, with any faults.
    #[test]
    fn a_proxy_passes_every_byte_on_each_kernel(
        faults in faults(),
        question in vec(any::<u8>(), 0..3000),
        answer in vec(any::<u8>(), 0..3000),
    ) {
        for system in KERNELS {
            let mut sim = SimLoop::on(system, faults.clone());
            let (client, front) = sim.duplex().unwrap();
            let (back, server) = sim.duplex().unwrap();
            let (asked, answered) = (question.clone(), answer.clone());
            let counts = sim.run(async move {
                let proxy = spawn(copy_bidirectional(front, back));
                let ask = async {
                    client.write_all(&asked).await.unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                };
                let hear = async {
                    let mut all = Vec::new();
                    copy(&client, &mut all).await.unwrap();
                    assert!(all == answered);
                };
                let serve = async {
                    let mut all = Vec::new();
                    copy(&server, &mut all).await.unwrap();
                    assert!(all == asked);
                    server.write_all(&answered).await.unwrap();
                    server.shutdown(Shutdown::Write).unwrap();
                };
                gather((ask, hear, serve)).await;
                proxy.await.unwrap().unwrap()
            });
            prop_assert_eq!(counts.unwrap(), (question.len() as u64, answer.len() as u64));
        }
    }
}
