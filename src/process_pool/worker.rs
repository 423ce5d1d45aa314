//! The worker's side: the program, started again, which runs jobs and nothing else.
//!
//! A worker has no loop. It reads a call from its socket, runs the job, writes the result, and reads
//! again. A second thread waits for the end of the program that started it, so that a worker that is in
//! the middle of a job ends with it (B11).
//!
//! The socket is descriptor 0 when the worker starts. It moves to a number of its own, which no child of a
//! job inherits, and `/dev/null` takes its place: what a job prints or reads cannot disturb the
//! protocol (B10).
//!
//! In the notes: the process pool (N3, N6).

use super::frame::{Build, FrameBuffer, Kind, Refusal, Setup, VERSION, WriteError, write_frame};
use super::jobs::{CallError, JobTable};
use super::wire::{Wire, WireError, decode_whole};
use crate::event_loop::panics::{catch, drop_quietly};
use crate::event_loop::stderr::message;
use readily_sys::errno;
use readily_sys::poll::PollSet;
use readily_sys::worker::{StandardStream, exit_now, limit_memory, replace_standard_stream};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{env, process, thread};

/// The only argument of a worker.
pub(super) const ARGUMENT: &str = "--readily-worker";

/// The errors of a system that has too few threads or descriptors, or too little memory, for now.
const SHORTAGES: [i32; 4] = [errno::EAGAIN, errno::ENOMEM, errno::EMFILE, errno::ENFILE];

/// The exit status of a worker that could not start.
const CANNOT_START: u8 = 71;

/// What a pool must know of its program to start it again.
pub(super) struct Program {
    pub(super) build: Build,
    /// The path of the executable; on Linux a name that leads to the file of this process, even if
    /// another has its path by now (B9).
    pub(super) path: PathBuf,
}

/// Set by [`init`].
static PROGRAM: OnceLock<Result<Program, io::ErrorKind>> = OnceLock::new();

/// The program, if [`init`] was called in it.
pub(super) fn program() -> Option<&'static Result<Program, io::ErrorKind>> {
    PROGRAM.get()
}

/// Runs the jobs of a [`ProcessPool`](super::ProcessPool) if this process is one of its workers, and then never
/// returns. In any other process this stores what a pool needs to start the program again, and returns.
///
/// Call it at the top of `main`: a worker is the same program, started again, and must not run the rest of `main`.
/// `jobs` is the table that the pools of this program use.
///
/// # Examples
///
/// ```
/// use readily::jobs;
/// use readily::process_pool::{self, JobTable};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// const JOBS: JobTable = jobs![square];
///
/// fn main() {
///     process_pool::init(JOBS);
///     // …
/// }
/// ```
#[doc(alias = "freeze_support")]
pub fn init(jobs: JobTable) {
    let program = PROGRAM.get_or_init(|| Program::new(jobs).map_err(|error| error.kind()));
    let mut arguments = env::args_os().skip(1);
    let is_worker = arguments.next().is_some_and(|first| first == ARGUMENT);
    if is_worker && arguments.next().is_none() {
        let error = match program {
            Ok(program) => serve(jobs, program.build),
            Err(kind) => io::Error::from(*kind),
        };
        // Standard error may be closed, and `eprintln!` would panic then.
        let _ = writeln!(io::stderr(), "a readily worker could not start: {error}");
        exit_now(CANNOT_START);
    }
}

impl Program {
    fn new(jobs: JobTable) -> io::Result<Self> {
        let path = match cfg!(any(target_os = "linux", target_os = "android")) {
            true => PathBuf::from("/proc/self/exe"),
            false => env::current_exe()?,
        };
        let build = Build {
            version: VERSION,
            jobs: jobs.sum(),
            file: file_id(&path.metadata()?),
        };
        Ok(Self { build, path })
    }
}

fn file_id(file: &Metadata) -> [u64; 4] {
    [file.dev(), file.ino(), file.len(), file.mtime() as u64]
}

/// The parts of the worker's state that its two threads share. Both are sequentially consistent: of the
/// end of the program, and of the begin of a job, at least one thread sees the other's.
struct Shared {
    /// A job is running.
    is_busy: AtomicBool,
    /// The program that started this worker has gone.
    is_orphan: AtomicBool,
}

/// Runs jobs until the program ends or closes the socket. Returns only if the worker cannot start.
fn serve(jobs: JobTable, build: Build) -> io::Error {
    static SHARED: Shared = Shared {
        is_busy: AtomicBool::new(false),
        is_orphan: AtomicBool::new(false),
    };
    let mut worker = match Worker::start(jobs) {
        Ok(worker) => worker,
        Err(error) => return error,
    };
    if let Err(error) = worker.set_up(&SHARED) {
        let refusal = Refusal {
            text: error.to_string(),
            code: error.raw_os_error().filter(|code| SHORTAGES.contains(code)),
        };
        let _ = worker.send(Kind::Refused, |out| refusal.encode(out));
        return error;
    }
    // If the program has gone, the next read finds that.
    let _ = worker.send(Kind::Ready, |out| build.encode(out));
    worker.run_jobs(&SHARED)
}

struct Worker {
    /// The number of this process.
    id: u32,
    jobs: JobTable,
    socket: UnixStream,
    received: FrameBuffer,
    /// The frame that is being sent.
    sending: Vec<u8>,
    /// The largest body of a frame.
    limit: usize,
}

impl Worker {
    /// Takes the socket, and gives the standard streams to the jobs.
    fn start(jobs: JobTable) -> io::Result<Self> {
        let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        let file = File::from(socket);
        if !file.metadata()?.file_type().is_socket() {
            let text = "standard input is not the socket of a process pool";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let null = File::open("/dev/null")?;
        replace_standard_stream(StandardStream::Input, null.as_fd())?;
        Ok(Self {
            id: process::id(),
            jobs,
            socket: OwnedFd::from(file).into(),
            received: FrameBuffer::default(),
            sending: Vec::new(),
            limit: 0,
        })
    }

    /// Reads the settings, applies them, and starts the second thread.
    fn set_up(&mut self, shared: &'static Shared) -> io::Result<()> {
        let setup = match self.receive()? {
            Some((Kind::Setup, body)) => decode_whole::<Setup>(&body).map_err(io::Error::other)?,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        self.limit = usize::try_from(setup.limit).unwrap_or(usize::MAX);
        let socket = self.socket.as_raw_fd();
        thread::Builder::new()
            .name("readily-worker".into())
            .spawn(move || watch_for_end(socket, shared))?;
        // Last: an allocation of the lines above should not fail for it.
        setup.memory.map_or(Ok(()), limit_memory)
    }

    /// Runs one job after the other.
    fn run_jobs(&mut self, shared: &Shared) -> ! {
        loop {
            let call = match self.receive() {
                Ok(Some((Kind::Call, body))) => body,
                // The program has closed the socket: no more jobs. Destructors of `static`s and buffers
                // of the standard library run.
                Ok(None) => process::exit(0),
                Ok(Some(_)) | Err(_) => process::exit(i32::from(CANNOT_START)),
            };
            shared.is_busy.store(true, SeqCst);
            if shared.is_orphan.load(SeqCst) {
                process::exit(0);
            }
            let sent = self.run_job(&call);
            shared.is_busy.store(false, SeqCst);
            if sent.is_err() {
                process::exit(0); // the program has gone
            }
        }
    }

    /// Runs one job, and sends its end.
    fn run_job(&mut self, call: &[u8]) -> io::Result<()> {
        answer_call(&self.jobs, self.limit, call, &mut self.sending)?;
        if process::id() != self.id {
            exit_now(0); // a child that the job has forked, and that has returned from it as well
        }
        self.flush()
    }

    fn send(
        &mut self,
        kind: Kind,
        body: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
    ) -> io::Result<()> {
        let written = write_frame(&mut self.sending, kind, self.limit, body);
        written.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = self.socket.write_all(&self.sending);
        self.sending.clear();
        // A large result should not stay allocated while the worker is idle (R126).
        self.sending.shrink_to(64 * 1024);
        sent
    }

    /// Reads the next frame; `None` if the socket is closed.
    fn receive(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.received.next(self.limit) {
                Ok(Some((kind, body))) => return Ok(Some((kind, body.to_vec()))),
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            match self.socket.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(len) => self.received.extend(&bytes[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A program that ends with unread results resets the socket.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Runs the job of a call, and appends its answer to `out`, which is empty.
pub(super) fn answer_call(
    jobs: &JobTable,
    limit: usize,
    call: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut argument = call;
    let Ok((call, number)) = <(u64, u32)>::decode(&mut argument) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let Some(job) = jobs.get(number) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let ended = catch(|| {
        write_frame(out, Kind::Done, limit, |out| {
            call.encode(out).map_err(CallError::Result)?;
            job.run(argument, out)
        })
    });
    let (kind, text) = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(WriteError::TooLong(len))) => {
            let text = format!("the result has {len} bytes, more than the pool's limit");
            (Kind::NotSent, text)
        }
        Ok(Err(WriteError::Body(CallError::Argument(error)))) => (
            Kind::NotSent,
            format!("the argument cannot be decoded: {error}"),
        ),
        Ok(Err(WriteError::Body(CallError::Result(error)))) => (
            Kind::NotSent,
            format!("the result cannot be encoded: {error}"),
        ),
        Err(payload) => {
            let text = message(&payload);
            drop_quietly(payload);
            (Kind::Panicked, text)
        }
    };
    out.clear(); // a panic leaves half a frame
    let written = write_frame(out, kind, limit, |out| (call, text).encode(out));
    written.map_err(|_: WriteError<WireError>| io::ErrorKind::InvalidData.into())
}

/// The second thread: waits until the program has closed its end of the socket, which its end does, too.
/// Then a job that runs is cut off. A worker without a job finds the end by itself.
fn watch_for_end(socket: RawFd, shared: &Shared) {
    let mut sockets = PollSet::new();
    sockets.push(socket, 0); // a hangup is reported unasked
    while !matches!(sockets.wait(None), Ok(reported) if reported > 0) {}
    shared.is_orphan.store(true, SeqCst);
    if shared.is_busy.load(SeqCst) {
        exit_now(0);
    }
}
