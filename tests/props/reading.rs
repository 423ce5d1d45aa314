//! The buffered reader against the bytes themselves: any separators, limits and sizes, any chunks of the
//! stream, and futures that are dropped at any point.
//!
//! Invariants: S3.

use crate::kernels::KERNELS;
use proptest::collection::vec;
use proptest::prelude::*;
use readily::io::{BufReader, PollRead, ReadError, TcpListener, TcpStream};
use readily::{gather, spawn};
use readily_testing::strategies::faults;
use readily_testing::{SimLoop, poll_once};
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::task::{Context, Poll};

/// A stream of these bytes, in these pieces. Before each piece it is not ready once.
struct Pieces {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
    at: usize,
    reads: usize,
    is_ready: bool,
}

impl Pieces {
    fn new(bytes: &[u8], sizes: &[usize]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            sizes: sizes.to_vec(),
            at: 0,
            reads: 0,
            is_ready: false,
        }
    }
}

impl PollRead for Pieces {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.sizes[self.reads % self.sizes.len()];
        self.reads += 1;
        let n = piece.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..n].copy_from_slice(&self.bytes[self.at..][..n]);
        self.at += n;
        Poll::Ready(Ok(n))
    }
}

/// What to read next.
#[derive(Clone, Debug)]
enum Part {
    Until(Vec<Vec<u8>>),
    Line,
    Exactly(usize),
    Some(usize),
    ToEnd(usize),
}

fn part() -> impl Strategy<Value = Part> {
    let separator = vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a')], 1..3);
    prop_oneof![
        vec(separator, 1..3).prop_map(Part::Until),
        Just(Part::Line),
        (0..60usize).prop_map(Part::Exactly),
        (0..60usize).prop_map(Part::Some),
        (0..200usize).prop_map(Part::ToEnd),
    ]
}

/// The bytes that the part is, and how many are consumed; or the name of the error. Of the bytes that are left.
fn expected(part: &Part, left: &[u8], limit: usize) -> Result<(Vec<u8>, usize), &'static str> {
    let too_long = |len: usize| match len.min(left.len()) >= limit {
        true => Err("too long"),
        false => Err("incomplete"),
    };
    match part {
        Part::Until(separators) => {
            let is_end = |end: &usize| separators.iter().any(|it| left[..*end].ends_with(it));
            match (1..=left.len()).find(is_end) {
                Some(end) if end <= limit => Ok((left[..end].to_vec(), end)),
                _ => too_long(usize::MAX),
            }
        }
        Part::Line => {
            let end = left.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let len = end.unwrap_or(left.len());
            if len > limit || (end.is_none() && len == limit) {
                return Err("too long");
            }
            let line = &left[..len];
            if std::str::from_utf8(line).is_err() {
                return Err("not UTF-8");
            }
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            Ok((line.strip_suffix(b"\r").unwrap_or(line).to_vec(), len))
        }
        Part::Exactly(len) if *len > limit => Err("too long"),
        Part::Exactly(len) if *len <= left.len() => Ok((left[..*len].to_vec(), *len)),
        Part::Exactly(_) => Err("incomplete"),
        Part::Some(_) => Ok((Vec::new(), 0)),
        Part::ToEnd(most) if left.len() <= *most => Ok((left.to_vec(), left.len())),
        Part::ToEnd(_) => Err("too long"),
    }
}

fn name(error: &ReadError) -> &'static str {
    match error {
        ReadError::Incomplete { .. } => "incomplete",
        ReadError::TooLong { .. } => "too long",
        ReadError::NotUtf8 { .. } => "not UTF-8",
        other => panic!("{other}"),
    }
}

async fn read<R: PollRead>(reader: &mut BufReader<R>, part: &Part) -> Result<Vec<u8>, ReadError> {
    match part {
        Part::Until(separators) => {
            let separators: Vec<&[u8]> = separators.iter().map(|it| &**it).collect();
            reader.read_until_any(&separators).await.map(<[u8]>::to_vec)
        }
        Part::Line => {
            let line = reader.read_line().await?;
            Ok(line.unwrap_or_default().as_bytes().to_vec())
        }
        Part::Exactly(len) => reader.read_exactly(*len).await.map(<[u8]>::to_vec),
        Part::Some(room) => {
            let mut buffer = vec![0; *room];
            let n = reader.read(&mut buffer).await?;
            buffer.truncate(n);
            Ok(buffer)
        }
        Part::ToEnd(limit) => {
            let mut all = Vec::new();
            match reader.read_to_end(&mut all, *limit).await {
                Ok(n) => assert_eq!(n, all.len()),
                Err(error) => {
                    assert_eq!(all.len(), *limit, "{error}");
                    return Err(error);
                }
            }
            Ok(all)
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => Just(b'a'),
        2 => Just(b'\n'),
        2 => Just(b'\r'),
        1 => any::<u8>(),
    ];
    vec(byte, 0..400)
}

proptest! {
    /// R119, R121, R122, S3: each part is what it is in the bytes, or the error that it should be; after an
    /// error the bytes are still there, and a future that is dropped loses none.
    #[test]
    fn parts_are_those_of_the_bytes(
        bytes in text(),
        sizes in vec(1..50usize, 1..6),
        limit in 1..150usize,
        parts in vec((part(), any::<bool>()), 1..20),
    ) {
        let mut reader = BufReader::with_limit(Pieces::new(&bytes, &sizes), limit);
        readily::run(async {
            let mut at = 0;
            for (part, is_dropped) in &parts {
                if *is_dropped {
                    // Read to the end it would lose what is in its vector: that is the caller's.
                    if !matches!(part, Part::ToEnd(_) | Part::Some(_)) {
                        let is_pending = poll_once(&mut pin!(read(&mut reader, part))).is_pending();
                        if !is_pending {
                            let all = reader.get_ref();
                            at = all.at - reader.buffer().len();
                            continue;
                        }
                    }
                }
                let left = &bytes[at..];
                let outcome = read(&mut reader, part).await;
                match (expected(part, left, limit), outcome) {
                    (Ok((_, 0)), Ok(some)) if matches!(part, Part::Some(_)) => {
                        assert!(left.starts_with(&some));
                        let Part::Some(room) = part else { unreachable!() };
                        assert_eq!(some.is_empty(), *room == 0 || left.is_empty());
                        at += some.len();
                    }
                    (Ok((part, len)), Ok(read)) => {
                        assert_eq!(read, part);
                        at += len;
                    }
                    (Err(expected), Err(error)) => {
                        assert_eq!(name(&error), expected, "{part:?} of {left:?}");
                        if let Part::ToEnd(limit) = part {
                            at += limit;
                        }
                    }
                    (expected, read) => panic!("{part:?} of {left:?}: {expected:?} and {read:?}"),
                }
                assert!(bytes[at..].starts_with(reader.buffer()), "the bytes are kept");
                assert!(reader.buffer().len() <= limit);
                assert_eq!(reader.get_ref().at, at + reader.buffer().len());
            }
        })
        .unwrap();
    }

    /// S3: over TCP, on each kernel, with any faults.
    #[test]
    fn lines_arrive_on_each_kernel(faults in faults(), lines in vec("[a-z]{0,300}", 0..60)) {
        for system in KERNELS {
            let mut sim = SimLoop::on(system, faults.clone());
            let sent = lines.clone();
            let received = sim.run(async move {
                let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
                let addr = listener.local_addr().unwrap();
                let (ours, theirs) = gather((TcpStream::connect(addr), listener.accept())).await;
                let (ours, (theirs, _)) = (ours.unwrap(), theirs.unwrap());
                let sender = spawn(async move {
                    for line in &sent {
                        ours.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
                    }
                    ours.shutdown(Shutdown::Write).unwrap();
                });
                let (mut reader, mut received) = (BufReader::new(theirs), Vec::new());
                while let Some(line) = reader.read_line().await.unwrap() {
                    received.push(line.to_owned());
                }
                sender.await.unwrap();
                received
            });
            prop_assert_eq!(&received.unwrap(), &lines);
        }
    }
}
