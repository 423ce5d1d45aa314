//! Record and replay: a run of a real loop, written down, and played again as often as one likes.
//!
//! What is seen once a month on a machine far away can be seen again on one's own, with a debugger,
//! and with the test that keeps it from coming back. The tape has what the loop was told: the
//! poller's reports, readings of the clock, the outcome of each operation with the bytes that were
//! read, and what other threads sent. It does *not* have what a program learns otherwise: from
//! files, from the environment, from memory that it shares with other threads, from a random
//! number or the order of a `HashMap`. A program that goes by those may do something else in the
//! replay, and is told so.

use readily::clock::Monotonic;
use readily::event_loop::{Error, EventLoop};
use readily::poll::default_poller;
use std::io::Write;

use crate::tape::{Recorder, Replayer};

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

/// A loop that is told what the one was told that wrote `tape`, and the replayer, which knows
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
/// [`Error::Io`] around [`Diverged::NotATape`](crate::Diverged::NotATape), or around
/// [`Diverged::Spoilt`](crate::Diverged::Spoilt) if a byte of the tape
/// has changed; as [`EventLoop::new`].
pub fn replay(tape: impl Into<Vec<u8>>) -> Result<(EventLoop, Replayer), Error> {
    let replayer = Replayer::new(tape.into()).map_err(std::io::Error::other)?;
    let event_loop = EventLoop::with(replayer.poller(), replayer.clock())?;
    Ok((event_loop, replayer))
}
