//! Record and replay: a run of a loop on the system's kernel, written down as it happens, and played again
//! without a kernel.
//!
//! A loop does the same when it gets the same answers: the reports of its poller, the readings of the clock,
//! the result of each operation with the bytes that were read, and what other threads sent. A [`Recorder`]
//! stands between a loop and the system and writes these down; a [`Replayer`] stands in for the kernel and
//! answers from the recording. The callbacks are those of the program, in the same order: a failure that
//! comes once a month on a machine far away comes each time, in a debugger or in a test.
//!
//! A recording does *not* have what a program learns otherwise: from files, from the environment, from
//! memory that it shares with other threads, from a random number or the order of a `HashMap`. A program that
//! depends on those may do something else in the replay. The first difference is then reported, with its
//! place, and every operation from there on fails with it: an invented answer would hide that difference.
//!
//! Both are an [`VirtualKernel`](readily::spi::VirtualKernel) with a poller and a clock, so the loop does not know
//! of them. Not in the notes.

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

/// A loop on the system's own kernel, and the recorder that writes to `sink` what it is told.
///
/// Sockets made by the loop are on tape, and so is an owned descriptor that it is handed. A
/// [`Source`](readily::io::Source) around a type of one's own does its reading itself, where no
/// recorder sees it; so it is refused, as a bad descriptor.
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
/// /// Takes some time, and tells how much.
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

/// A loop that is told what the one was told that wrote `recording`, and the replayer, which knows
/// whether it did the same.
///
/// Nothing is waited for but what other threads of the program send. Where the program does
/// something else, that operation fails, and so does everything after it. A tape that was cut off
/// is played for as long as it lasts; a change in the piece where it ends may then not be noticed.
///
/// Both loops begin with [`PanicPolicy::Isolate`](readily::PanicPolicy::Isolate): if a program sets
/// another policy on the recorded loop, it must set the same on the replayed one.
///
/// # Errors
///
/// [`Error::Io`] around [`ReplayError::NotARecording`], or around [`ReplayError::Corrupt`] if a byte of the tape
/// has changed; as [`EventLoop::new`].
pub fn replay(recording: impl Into<Vec<u8>>) -> Result<(EventLoop, Replayer), Error> {
    let replayer = Replayer::new(recording.into()).map_err(std::io::Error::other)?;
    let event_loop = EventLoop::with(replayer.poller(), replayer.clock())?;
    Ok((event_loop, replayer))
}

/// How a replay differs from its recording, or why it could not go on.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bytes are no recording, or of another version.
    #[error("this is no recording of this version")]
    NotARecording,
    /// The recording ends before the program does. It may have been cut off.
    #[error("the recording ends here, and the program goes on")]
    Ends,
    /// An entry that cannot have been written, or a piece whose sum is another: a byte has changed.
    #[error("the recording makes no sense at byte {at}")]
    Corrupt {
        /// Where in the recording.
        at: usize,
    },
    /// The program did something else.
    #[error("at entry {entry} the recording has {recorded}, and the program does {done}")]
    Other {
        /// Which entry, counted from zero.
        entry: u64,
        /// What is on the tape.
        recorded: String,
        /// What was done in the replay.
        done: String,
    },
    /// Another thread sent something in the recording, and in the replay nothing came in time: see
    /// [`Replayer::set_real_timeout`](Replayer::set_real_timeout).
    #[error("at entry {entry} another thread sent something, and in the replay none does")]
    NothingSent {
        /// Which entry, counted from zero.
        entry: u64,
    },
    /// The program ended before its recording did.
    #[error("the program has ended after entry {entry}, and the recording goes on")]
    EndsEarly {
        /// How many entries were played.
        entry: u64,
    },
}

/// A short sum of what was written, so that a replay which writes something else is found.
fn sum(bytes: &[u8]) -> i64 {
    fnv::sum(bytes.iter().copied()).into()
}
