//! Record and replay: the run of a loop on the system's kernel is written to a file, and repeated from that
//! file without a kernel.
//!
//! A loop makes the same calls when it gets the same input: the events of its poller, the readings of the
//! clock, the result of each operation with the bytes that were read, and the messages of other threads. A
//! [`Recorder`] passes the calls of a loop on to the system and writes the results down; a [`Replayer`] takes the
//! place of the kernel and returns the recorded results. The callbacks are those of the program, and run in
//! the same order. The jobs of thread pools run in the replay, too, and each has ended when it had ended in the
//! recording. A failure that happens once a month on a distant machine happens in every replay, in a
//! debugger or in a test.
//!
//! A recording does *not* contain input that bypasses the loop: files, the environment, memory that the
//! program shares with other threads, random numbers, the order of a `HashMap`. A program that depends on
//! such input may behave differently in the replay. The replayer then reports the first difference and its
//! position, and every later operation fails with that error: a made-up result would hide the difference.
//!
//! Recorder and replayer are a [`VirtualKernel`](readily::spi::VirtualKernel) with a poller and a clock, so the
//! loop has no code for either.

mod cursor;
mod format;
mod recorder;
mod replayer;

use crate::fnv;
use readily::clock::Monotonic;
use readily::poll::default_poller;
use readily::{Error, EventLoop};
use std::io::Write;

pub use recorder::Recorder;
pub use replayer::Replayer;

/// Makes a loop on the system's kernel whose input is recorded to `sink`.
///
/// Sockets made by the loop are recorded, and so is each owned descriptor that is passed to the loop.
/// An [`Async`](readily::io::Async) around a foreign type reads from its descriptor without the
/// loop, so that the bytes cannot be recorded; such a source is refused with
/// [`Error::BadDescriptor`].
///
/// # Errors
///
/// As [`EventLoop::new`].
///
/// # Examples
///
/// ```
/// use readily::Runner;
/// use readily_testing::{record, replay};
/// use std::time::Duration;
/// # use std::cell::RefCell;
/// # use std::rc::Rc;
/// # use std::io::{self, Write};
/// # #[derive(Clone, Default)]
/// # struct Memory(Rc<RefCell<Vec<u8>>>);
/// # impl Write for Memory {
/// #     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { self.0.borrow_mut().write(bytes) }
/// #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
/// # }
///
/// /// Sleeps, and returns how long that took.
/// async fn program() -> Duration {
///     let begin = readily::WeakHandle::current().unwrap().with(|handle| handle.fresh_now());
///     readily::sleep(Duration::from_millis(2)).await;
///     let end = readily::WeakHandle::current().unwrap().with(|handle| handle.fresh_now());
///     end.unwrap() - begin.unwrap()
/// }
///
/// let file = Memory::default(); // or a file
/// let (event_loop, recorder) = record(file.clone())?;
/// let took = Runner::from(event_loop).run(program())?;
/// recorder.finish()?;
///
/// let (event_loop, replayer) = replay(file.0.take())?;
/// assert_eq!(Runner::from(event_loop).run(program())?, took); // to the nanosecond
/// replayer.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn record(sink: impl Write + 'static) -> Result<(EventLoop, Recorder), Error> {
    let recorder = Recorder::new(sink);
    let poller = recorder.poller(default_poller::default()?);
    let clock = recorder.clock(Box::new(Monotonic::new()));
    Ok((EventLoop::with(poller, clock)?, recorder))
}

/// Makes a loop whose input comes from `recording`, and the replayer that checks each operation.
///
/// The replay waits for nothing but the messages of the program's other threads. The first operation
/// that differs from the recording fails, and so does every operation after it. A truncated recording
/// is replayed up to its end; a corrupt byte in its last, incomplete chunk may go unnoticed.
///
/// Both loops begin with [`PanicPolicy::Isolate`](readily::PanicPolicy::Isolate): if a program sets
/// another policy on the recorded loop, it must set the same on the replayed one.
///
/// # Errors
///
/// [`Error::Io`] around [`ReplayError::NotARecording`], or around [`ReplayError::Corrupt`] if a byte of the
/// recording has changed; as [`EventLoop::new`].
pub fn replay(recording: impl Into<Vec<u8>>) -> Result<(EventLoop, Replayer), Error> {
    let replayer = Replayer::new(recording.into()).map_err(std::io::Error::other)?;
    let event_loop = EventLoop::with(replayer.poller(), replayer.clock())?;
    Ok((event_loop, replayer))
}

/// The first difference between a replay and its recording, or the reason why the replay stopped.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bytes are not a recording, or have another version of the format.
    #[error("not a recording, or one of another version")]
    NotARecording,
    /// The recording ends before the program does. It may have been truncated.
    #[error("the recording ends before the program does")]
    Ends,
    /// An entry is not valid, or a chunk does not match its checksum: a byte has changed.
    #[error("the recording is corrupt at byte {at}")]
    Corrupt {
        /// The offset in the recording.
        at: usize,
    },
    /// The operation of the program is not the next one in the recording.
    #[error("entry {entry} of the recording is {recorded}, but the replay did {done}")]
    Other {
        /// The number of the entry, counted from zero.
        entry: u64,
        /// The operation in the recording.
        recorded: String,
        /// The operation in the replay.
        done: String,
    },
    /// Another thread sent a message in the recording, and in the replay no message arrived in time: see
    /// [`Replayer::set_real_timeout`](Replayer::set_real_timeout).
    #[error("at entry {entry} another thread sent a message, but in the replay no thread has")]
    NothingSent {
        /// The number of the entry, counted from zero.
        entry: u64,
    },
    /// The program ended before its recording did.
    #[error("the program has ended after entry {entry}, before the recording does")]
    EndsEarly {
        /// The number of entries that were replayed.
        entry: u64,
    },
}

/// A checksum: of a chunk, and of the bytes of each write, which a replay must write again.
fn checksum(bytes: &[u8]) -> i64 {
    fnv::sum(bytes.iter().copied()).into()
}
