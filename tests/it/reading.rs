//! The buffered reader on real connections: its limit, its memory, and streams that misbehave.
//!
//! Invariants: S3.

use crate::support::{bytes, connection, guard, strict_run};
use readily::io::{BufReader, PollRead, ReadError, TcpStream};
use readily::spawn;
use readily_testing::poll_once;
use std::io::{self, ErrorKind, Write};
use std::net;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};

/// A reader on our end, and theirs of the standard library.
async fn reader(limit: usize) -> (BufReader<TcpStream>, net::TcpStream) {
    let (ours, theirs) = connection().await;
    (BufReader::with_limit(ours, limit), theirs)
}

/// S3: the timer or the event that ends the other branch of a select drops the read.
#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    let _guard = guard!();
    strict_run(async {
        let (mut reader, mut theirs) = reader(100).await;
        for byte in b"a line" {
            theirs.write_all(&[*byte]).unwrap();
            reader.get_ref().readable().await.unwrap();
            assert!(poll_once(&mut pin!(reader.read_line())).is_pending());
        }
        theirs.write_all(b"\nnext").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), Some("a line"));
        assert!(poll_once(&mut pin!(reader.read_exactly(10))).is_pending());
        theirs.write_all(b" ones\n").unwrap();
        assert_eq!(reader.read_exactly(10).await.unwrap(), b"next ones\n");
    })
    .unwrap();
}

/// R119: the peer sends, and never a line.
#[test]
fn a_line_without_an_end_is_an_error_at_the_limit_and_the_server_goes_on() {
    let _guard = guard!();
    strict_run(async {
        const LIMIT: usize = 10_000;
        let (mut reader, mut theirs) = reader(LIMIT).await;
        let sent = bytes(1 << 20, 3);
        let sent: Vec<u8> = sent.into_iter().filter(|byte| *byte != b'\n').collect();
        let sender = std::thread::spawn(move || {
            // It may be cut off.
            let _ = theirs.write_all(&sent);
        });
        let error = reader.read_line().await.unwrap_err();
        assert!(
            matches!(error, ReadError::TooLong { limit: LIMIT }),
            "{error}"
        );
        assert_eq!(reader.buffer().len(), LIMIT);
        // The error stays until the bytes are consumed.
        assert!(reader.read_line().await.is_err());
        assert_eq!(io::Error::from(error).kind(), ErrorKind::FileTooLarge);
        drop(reader);
        sender.join().unwrap();
    })
    .unwrap();
}

/// R122.
#[test]
fn a_line_that_is_not_utf8_stays_and_can_be_skipped() {
    let _guard = guard!();
    strict_run(async {
        let (mut reader, mut theirs) = reader(100).await;
        theirs.write_all(b"good\r\nb\xffd\nnext\n").unwrap();
        drop(theirs);
        assert_eq!(reader.read_line().await.unwrap(), Some("good"));
        let Err(ReadError::NotUtf8 { len }) = reader.read_line().await else {
            panic!("it is not UTF-8");
        };
        assert_eq!(&reader.buffer()[..len], b"b\xffd\n");
        reader.consume(len);
        assert_eq!(reader.read_line().await.unwrap(), Some("next"));
        assert_eq!(reader.read_line().await.unwrap(), None);
    })
    .unwrap();
}

#[test]
fn an_end_in_the_middle_is_an_error_that_keeps_the_bytes() {
    let _guard = guard!();
    strict_run(async {
        let (mut reader, mut theirs) = reader(100).await;
        theirs.write_all(b"abc").unwrap();
        drop(theirs);
        let error = reader.read_exactly(5).await.unwrap_err();
        assert!(matches!(error, ReadError::Incomplete { read: 3 }));
        assert_eq!(io::Error::from(error).kind(), ErrorKind::UnexpectedEof);
        let error = reader.read_until(b"x").await.unwrap_err();
        assert!(matches!(error, ReadError::Incomplete { read: 3 }));
        // A last line needs no end.
        assert_eq!(reader.read_line().await.unwrap(), Some("abc"));
        assert!(matches!(
            reader.read_exactly(101).await,
            Err(ReadError::TooLong { limit: 100 })
        ));
    })
    .unwrap();
}

#[test]
fn an_error_of_the_stream_is_that_of_the_read() {
    let _guard = guard!();
    strict_run(async {
        let (mut reader, theirs) = reader(100).await;
        crate::support::reset(theirs);
        let Err(ReadError::Io(error)) = reader.read_line().await else {
            panic!("the connection was reset");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

/// A stream that returns more than the buffer has room for.
struct Boasts;

impl PollRead for Boasts {
    fn poll_read(&mut self, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len() + 1))
    }
}

/// R125: a panic with a reason, and no byte that was not read.
#[test]
fn a_stream_that_returns_more_than_it_was_given_is_named() {
    let read = || readily::run(async { BufReader::new(Boasts).read_line().await.map(|_| ()) });
    let payload = catch_unwind(AssertUnwindSafe(read)).unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("a stream says that it has read 8193 bytes into 8192"),
        "{message}"
    );
}

#[test]
fn two_tasks_talk_in_lines_over_the_halves_of_a_connection() {
    let _guard = guard!();
    strict_run(async {
        let (reader, theirs) = reader(100).await;
        let (read, mut write) = TcpStream::from_std(theirs).unwrap().into_split();
        let echo = spawn(async move {
            let mut reader = BufReader::new(read);
            while let Ok(line) = reader.read_until(b"\n").await {
                write.write_all(line).await.unwrap();
            }
        });
        let mut ours = reader;
        for n in 0..100 {
            ours.get_ref()
                .write_all(format!("line {n}\n").as_bytes())
                .await
                .unwrap();
            assert_eq!(ours.read_line().await.unwrap(), Some(&*format!("line {n}")));
        }
        ours.get_ref().shutdown(net::Shutdown::Write).unwrap();
        assert_eq!(ours.read_line().await.unwrap(), None);
        echo.await.unwrap();
    })
    .unwrap();
}
