//! A worker, as the program sees it: a child process and the socket to it.
//!
//! In the notes: the process pool (N3, N6).

use super::error::{JobError, StartError};
use super::frame::{Build, FrameBuffer, Kind, Refusal, Setup, write_frame};
use super::options::Options;
use super::wire::{Wire, decode_whole};
use super::worker::{ARGUMENT, Program};
use crate::combine::select::{Either, select};
use crate::io::{Async, Direction};
use crate::process::{ChildHandle, Command};
use crate::signal::Signal;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

/// A process that runs one job at a time.
pub(super) struct WorkerProcess {
    child: ChildHandle,
    socket: Async<UnixStream>,
    received: FrameBuffer,
    /// The largest body of a frame.
    limit: usize,
    /// Whether it is in the middle of something: if it is dropped then, it is killed.
    is_busy: bool,
}

/// How a worker has answered a call.
pub(super) enum Answer {
    /// The encoded result.
    Done(Vec<u8>),
    Panicked(String),
    NotSent(String),
}

/// A frame from a worker, with its body.
type Frame = (Kind, Vec<u8>);

/// Why a worker gave no answer. It is not used again.
enum Broken {
    /// It has ended; with this status, unless other code has taken it.
    Ended(Option<ExitStatus>),
    /// The socket has failed, or has brought something else than an answer.
    Socket(String),
}

impl WorkerProcess {
    /// Starts the program again as a worker, and waits until it is ready. `keep` gets the process.
    pub(super) async fn start(
        program: &Program,
        options: &Options,
        keep: impl FnOnce(ChildHandle),
    ) -> Result<Self, StartError> {
        let system = |error: io::Error| StartError::Spawn(error.into());
        let (ours, theirs) = UnixStream::pair().map_err(system)?;
        let mut command = Command::new(&program.path);
        command.arg(ARGUMENT).stdin(OwnedFd::from(theirs));
        options.set_streams(&mut command);
        let socket = Async::new(ours).map_err(system)?;
        let child = command.spawn().map_err(StartError::Spawn)?.handle();
        drop(command); // it has the worker's end of the socket
        keep(child.clone());
        let mut worker = Self {
            child,
            socket,
            received: FrameBuffer::default(),
            limit: options.frame_limit,
            is_busy: true,
        };
        match worker.shake_hands(&program.build, options).await {
            Ok(()) => Ok(worker),
            Err(error) => {
                worker.kill().await;
                Err(error)
            }
        }
    }

    /// Sends the settings, and checks which program has answered.
    async fn shake_hands(&mut self, build: &Build, options: &Options) -> Result<(), StartError> {
        let setup = Setup {
            limit: self.limit as u64,
            memory: options.memory_limit,
        };
        let mut frame = Vec::new();
        let written = write_frame(&mut frame, Kind::Setup, self.limit, |out| setup.encode(out));
        written.expect("the settings are a few bytes");
        match self.exchange(&frame).await {
            Ok((Kind::Ready, body)) if decode_whole::<Build>(&body).as_ref() == Ok(build) => Ok(()),
            Ok((Kind::Ready, _)) => Err(StartError::OtherBuild),
            Ok((Kind::Refused, body)) => Err(match decode_whole(&body) {
                Ok(Refusal {
                    code: Some(code), ..
                }) => StartError::Spawn(io::Error::from_raw_os_error(code).into()),
                Ok(Refusal { text, .. }) => StartError::Refused(text),
                Err(error) => StartError::Refused(error.to_string()),
            }),
            Ok(_) => Err(StartError::Refused("it is no worker".into())),
            Err(Broken::Ended(status)) => Err(StartError::Ended(status)),
            Err(Broken::Socket(text)) => Err(StartError::Refused(text)),
        }
    }

    /// Whether the process still lives, as far as the system knows.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a call, and waits for its end. After an error the worker is of no use, and has ended.
    ///
    /// # Cancellation
    ///
    /// The worker must be killed: it is in the middle of a job, or of a frame.
    pub(super) async fn call(&mut self, frame: &[u8], number: u64) -> Result<Answer, JobError> {
        let broken = match self.exchange(frame).await {
            Ok(frame) => match answer_of(&frame, number) {
                Some(answer) => return Ok(answer),
                None => Broken::Socket("a frame that is no answer to the call".into()),
            },
            Err(broken) => broken,
        };
        self.kill().await;
        Err(match broken {
            Broken::Ended(status) => JobError::WorkerDied(status),
            Broken::Socket(text) => JobError::BadAnswer(text),
        })
    }

    /// Whether all that it has sent was asked for.
    pub(super) fn is_clean(&self) -> bool {
        self.received.is_empty()
    }

    /// Kills the process, and those that its job has started, and waits for its end.
    pub(super) async fn kill(&mut self) {
        kill(&self.child).await;
        self.is_busy = false;
    }

    /// Sends a frame and receives one.
    async fn exchange(&mut self, frame: &[u8]) -> Result<Frame, Broken> {
        self.is_busy = true;
        let exchanged = self.transfer(frame).await;
        self.is_busy = false;
        exchanged
    }

    async fn transfer(&mut self, frame: &[u8]) -> Result<Frame, Broken> {
        let Self {
            child,
            socket,
            received,
            limit,
            ..
        } = self;
        let transfer = async {
            // A worker that has ended may have sent its answer before: that is read.
            let _ = write_all(socket, frame).await;
            receive(socket, received, *limit).await
        };
        let first = select((transfer, child.wait())).await;
        match first {
            Either::Left(Ok(Some(frame))) => Ok(frame),
            // B18: the end of the socket is not the end of the process.
            Either::Left(Ok(None)) => Err(Broken::Ended(kill(child).await)),
            Either::Left(Err(text)) => Err(Broken::Socket(text)),
            // B5: what it has sent before its end counts.
            Either::Right(status) => match receive_now(socket, received, *limit) {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => Err(Broken::Ended(status.ok())),
                Err(text) => Err(Broken::Socket(text)),
            },
        }
    }
}

async fn kill(child: &ChildHandle) -> Option<ExitStatus> {
    // Refused if it has ended already.
    let _ = child.signal_group(Signal::KILL);
    child.wait().await.ok()
}

/// A worker that is dropped in the middle of a job would run on to its end, and one that has not become a
/// worker yet might never end.
impl Drop for WorkerProcess {
    fn drop(&mut self) {
        if self.is_busy {
            // Refused if it has ended already.
            let _ = self.child.signal_group(Signal::KILL);
        }
    }
}

/// The answer to the call of this number, if the frame is one.
pub(super) fn answer_of((kind, body): &Frame, number: u64) -> Option<Answer> {
    let mut rest = &body[..];
    if u64::decode(&mut rest) != Ok(number) {
        return None;
    }
    match kind {
        Kind::Done => Some(Answer::Done(rest.to_vec())),
        Kind::Panicked => decode_whole(rest).ok().map(Answer::Panicked),
        Kind::NotSent => decode_whole(rest).ok().map(Answer::NotSent),
        _ => None,
    }
}

async fn write_all(socket: &Async<UnixStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = socket
            .io(Direction::Write, |mut socket| socket.write(bytes))
            .await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Waits for a frame; `None` at the end of the stream.
async fn receive(
    socket: &Async<UnixStream>,
    received: &mut FrameBuffer,
    limit: usize,
) -> Result<Option<Frame>, String> {
    loop {
        if let Some(frame) = next_frame(received, limit)? {
            return Ok(Some(frame));
        }
        let mut bytes = [0; 8 * 1024];
        let read = socket.io(Direction::Read, |mut socket| socket.read(&mut bytes));
        match end_if_reset(read.await)? {
            0 => return Ok(None),
            len => received.extend(&bytes[..len]),
        }
    }
}

/// A frame that has been received already; `None` if there is none.
fn receive_now(
    socket: &Async<UnixStream>,
    received: &mut FrameBuffer,
    limit: usize,
) -> Result<Option<Frame>, String> {
    loop {
        if let Some(frame) = next_frame(received, limit)? {
            return Ok(Some(frame));
        }
        let mut bytes = [0; 8 * 1024];
        match socket.try_io(Direction::Read, |mut socket| socket.read(&mut bytes)) {
            // A process that the worker has started has the other end, and keeps it open.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            read => match end_if_reset(read)? {
                0 => return Ok(None),
                len => received.extend(&bytes[..len]),
            },
        }
    }
}

/// The end of a process resets its socket if it has not read everything.
fn end_if_reset(read: io::Result<usize>) -> Result<usize, String> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        read => read.map_err(|error| error.to_string()),
    }
}

fn next_frame(received: &mut FrameBuffer, limit: usize) -> Result<Option<Frame>, String> {
    match received.next(limit) {
        Ok(frame) => Ok(frame.map(|(kind, body)| (kind, body.to_vec()))),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;
    use std::process::Stdio;

    const LIMIT: usize = 1 << 20;

    /// Runs `script` in a shell, whose standard input is the socket of a worker.
    fn shell(script: &str) -> WorkerProcess {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(OwnedFd::from(theirs));
        command.stdout(Stdio::null()).own_group();
        let child = command.spawn().unwrap().handle();
        WorkerProcess {
            child,
            socket: Async::new(ours).unwrap(),
            received: FrameBuffer::default(),
            limit: LIMIT,
            is_busy: false,
        }
    }

    /// A shell's command that sends `bytes`.
    fn send(bytes: &[u8]) -> String {
        let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
        format!("printf '{octal}' >&0")
    }

    /// The frame of the result 7 of call 5.
    fn answer() -> Vec<u8> {
        let mut frame = Vec::new();
        write_frame(&mut frame, Kind::Done, LIMIT, |out| (5u64, 7u8).encode(out)).unwrap();
        frame
    }

    fn call(script: &str) -> Result<Vec<u8>, JobError> {
        let called = run(async {
            let mut worker = shell(script);
            let called = worker.call(b"call", 5).await;
            if called.is_ok() {
                worker.kill().await;
            }
            called
        });
        called.unwrap().map(|answer| match answer {
            Answer::Done(result) => result,
            Answer::Panicked(text) | Answer::NotSent(text) => panic!("{text}"),
        })
    }

    /// P6, B5.
    #[test]
    fn an_answer_counts_though_its_worker_has_ended() {
        let script = format!("head -c 4 <&0; {}; exit 3", send(&answer()));
        assert_eq!(call(&script).unwrap(), [7]);
        let found = run(async {
            let mut worker = shell(&send(&answer()));
            worker.child.wait().await.unwrap();
            let WorkerProcess {
                socket, received, ..
            } = &mut worker;
            receive_now(socket, received, LIMIT)
        });
        assert!(matches!(found.unwrap(), Ok(Some((Kind::Done, _)))));
    }

    #[test]
    fn half_an_answer_is_none() {
        let half = &answer()[..9];
        let died = call(&format!("{}; exit 3", send(half))).unwrap_err();
        assert!(died.to_string().contains("exit status: 3"), "{died}");
    }

    /// B18: a process that the worker has started keeps the socket open.
    #[test]
    fn a_death_is_seen_though_the_socket_stays_open() {
        let (died, left) = run(async {
            let mut worker = shell("sleep 600 <&0 & echo $! >&0; kill -9 $$");
            let died = worker.child.wait().await;
            let mut text = [0; 32];
            let read = worker
                .socket
                .try_io(Direction::Read, |mut socket| socket.read(&mut text));
            let left = String::from_utf8_lossy(&text[..read.unwrap()])
                .trim()
                .to_owned();
            (died.is_ok() && worker.call(b"call", 5).await.is_err(), left)
        })
        .unwrap();
        let ended = std::process::Command::new("kill").arg(left).status();
        assert!(died && ended.unwrap().success());
    }

    #[test]
    fn a_worker_that_sends_something_else_is_killed() {
        let mut other_call = Vec::new();
        write_frame(&mut other_call, Kind::Done, LIMIT, |out| {
            (6u64, 7u8).encode(out)
        })
        .unwrap();
        for bytes in [b"garbage, and more of it".to_vec(), other_call] {
            let broken = call(&format!("{}; sleep 60", send(&bytes))).unwrap_err();
            assert!(matches!(broken, JobError::BadAnswer(_)), "{broken}");
        }
    }
}
