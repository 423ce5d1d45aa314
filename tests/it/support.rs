//! What the tests share: a guard against hanging, pairs of sockets, a log, a process.
//!
//! A test that waits for ever tells nothing; a guard that aborts the process names it. Tests
//! that count what belongs to the whole process run again in a process of their own, as the
//! only test of it, where no other test opens descriptors meanwhile.

use readily::poll::Poller;
use readily::{Cx, Error, EventLoop, Local, PanicPolicy, Runner};
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(15);

/// For tests that move megabytes between processes, on a machine that does other things too.
const MUCH_PATIENCE: Duration = Duration::from_secs(90);

/// Set in a process that a test has started to run itself in.
const ALONE: &str = "READILY_IT_ALONE";

/// Until this is dropped, time runs; when it has run out, the process aborts.
pub(crate) struct Guard {
    _done: Sender<()>,
}

/// Guards the test that calls it: a thread that nobody joins watches over it.
pub(crate) fn guard() -> Guard {
    guard_for(PATIENCE)
}

/// The same with more patience.
pub(crate) fn patient_guard() -> Guard {
    guard_for(MUCH_PATIENCE)
}

pub(crate) fn guard_for(patience: Duration) -> Guard {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let (done, is_done) = channel::<()>();
    std::thread::spawn(move || {
        if is_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            // Not by `eprintln`, which the harness would keep to itself.
            let _ = writeln!(std::io::stderr(), "the test {test} hangs");
            end_processes();
            std::process::abort();
        }
    });
    Guard { _done: done }
}

/// Whether this process was started by a test to run itself in.
pub(crate) fn runs_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs the calling test in a process of its own, with at most `descriptors` open ones.
/// Returns `false` in the parent, where the child has done all there is to do.
pub(crate) fn is_alone(descriptors: Option<u32>) -> bool {
    let test = std::thread::current()
        .name()
        .expect("a test has a name")
        .to_owned();
    if std::env::var_os(ALONE).is_some_and(|alone| *alone == *test) {
        return true;
    }
    let output = command(&test, descriptors)
        .output()
        .expect("the test binary runs");
    assert!(
        output.status.success(),
        "{test}, in a process of its own: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    false
}

/// The numbers of the processes that tests have started here, and that have not ended.
fn processes() -> MutexGuard<'static, Vec<u32>> {
    static PROCESSES: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For who is about to abort: no destructor will run.
fn end_processes() {
    for number in processes().drain(..) {
        let mut kill = Command::new("kill");
        let _ = kill.args(["-KILL", &number.to_string()]).status();
    }
}

/// A process that ends with its owner: when this is dropped, also in a panic, and when a guard
/// ends the tests. What it prints it prints to us, so that one that was left over would keep
/// nobody who reads what the tests print.
pub(crate) struct Process {
    pub(crate) child: Child,
    told: Option<JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts it; its standard output is to be read, or taken.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Under the lock, or a guard might come in between.
        let mut running = processes();
        let mut child = command.spawn().expect("the program is there");
        running.push(child.id());
        drop(running);
        let mut stderr = child.stderr.take().expect("it is piped");
        let told = std::thread::spawn(move || {
            let mut told = Vec::new();
            stderr.read_to_end(&mut told).expect("a pipe can be read");
            told
        });
        let told = Some(told);
        Self { child, told }
    }

    /// Waits for its end: how it ended, and what it told its standard error.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Vec<u8>) {
        let status = self.child.wait().expect("it is ours");
        let number = self.child.id();
        processes().retain(|&other| other != number);
        let told = self.told.take().map(JoinHandle::join);
        (
            status,
            told.map_or_else(Vec::new, |told| told.expect("it reads")),
        )
    }

    /// Runs a program that ends by itself.
    pub(crate) fn output(command: &mut Command) -> Output {
        let mut process = Self::start(command);
        let mut stdout = Vec::new();
        let mut output = process.child.stdout.take().expect("it is piped");
        output.read_to_end(&mut stdout).expect("a pipe can be read");
        let (status, stderr) = process.wait();
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let (_, told) = self.wait();
        if std::thread::panicking() && !told.is_empty() {
            eprintln!("it told: {}", String::from_utf8_lossy(&told));
        }
    }
}

/// Leaves an odd number of descriptors. A connection with both ends here takes two, so that the
/// last client then waits for somebody to accept it.
pub(crate) fn leave_odd() -> Option<File> {
    let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    all.pop().filter(|_| all.len() % 2 == 1)
}

/// How to run one test of this binary in a process of its own.
pub(crate) fn command(test: &str, descriptors: Option<u32>) -> Command {
    let limit = descriptors.map_or(String::new(), |n| format!("ulimit -n {n}; "));
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("it runs"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .stdin(Stdio::null());
    command
}

/// Two ends of a TCP connection, both blocking.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let ours = TcpStream::connect(addr).expect("the loopback connects");
    let (theirs, _) = listener.accept().expect("it is there");
    (ours, theirs)
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a port");
    let addr = listener.local_addr().expect("it is bound");
    (listener, addr)
}

/// An address at which nobody listens.
pub(crate) fn nobody_there() -> SocketAddr {
    listener().1
}

/// A connection that ends with a reset instead of an end of stream.
pub(crate) fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket
        .set_linger(Some(Duration::ZERO))
        .expect("it is a connection");
}

/// Turns until `done`; the guard sees to it that this ends.
pub(crate) fn turn_until(event_loop: &mut EventLoop, mut done: impl FnMut() -> bool) {
    while !done() {
        event_loop
            .turn(Some(Duration::from_millis(20)))
            .expect("the loop turns");
        event_loop.check_invariants();
    }
}

/// Turns `turns` times without sleeping: for what must *not* happen.
pub(crate) fn turn_times(event_loop: &mut EventLoop, turns: u32) {
    for _ in 0..turns {
        event_loop.turn_now().expect("the loop turns");
        event_loop.check_invariants();
    }
}

/// How many turns the loop takes in `time`, if it is let run. A loop that has nothing to do
/// takes one or two; one that spins takes tens of thousands.
pub(crate) fn turns_in(event_loop: &mut EventLoop, time: Duration) -> u64 {
    let before = event_loop.stats().turns;
    let end = event_loop.fresh_now() + time;
    while event_loop.fresh_now() < end {
        let left = end - event_loop.fresh_now();
        event_loop.turn(Some(left)).expect("the loop turns");
    }
    event_loop.stats().turns - before
}

/// The wall clock, which is nobody's loop's.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall() -> Instant {
    Instant::now()
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, what: impl ToString) {
        self.0.borrow_mut().push(what.to_string());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.0.borrow().iter().filter(|one| *one == what).count()
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    pub(crate) fn text(&self) -> String {
        self.0.borrow().join(" ")
    }
}

/// Notes its own destruction.
pub(crate) struct Dropped(pub(crate) Log, pub(crate) &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// Reads all that is there just now: the bytes, and whether the end has come.
pub(crate) fn drain(cx: &Cx<'_>, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match cx.read(&mut buffer) {
            Ok(0) => return true,
            Ok(n) => into.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(error) => panic!("reading: {error}"),
        }
    }
}

/// `len` bytes that do not repeat soon.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A number of places, and how many are left: `Rc<Cell<usize>>` with a name.
#[derive(Clone, Default)]
pub(crate) struct Count(Rc<Cell<usize>>);

impl Count {
    pub(crate) fn add(&self) -> usize {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.get()
    }
}

impl Debug for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.get().fmt(f)
    }
}

/// How many descriptors a process has open.
pub(crate) fn descriptors_of(process: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .expect("/proc is mounted")
        .count()
}

/// Keeps what the loop would print, as text.
pub(crate) fn collect_unhandled(local: &Local) -> Log {
    let log = Log::default();
    let told = log.clone();
    local.on_unhandled(move |unhandled| told.note(unhandled));
    log
}

/// Writes, then reads exactly `expected`, blocking.
pub(crate) fn ask(stream: &mut TcpStream, question: &[u8], expected: &[u8]) {
    stream.write_all(question).expect("it is connected");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, expected);
}

/// A loop out of which panics go: an assertion that fails in a callback fails the test.
pub(crate) fn strict_loop() -> EventLoop {
    let event_loop = EventLoop::new().expect("there are descriptors");
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    event_loop
}

/// The same for coroutines.
pub(crate) fn strict_runner() -> Runner {
    strict_loop().into()
}

/// [`readily::run`] out of which the panic of any task goes.
#[track_caller]
pub(crate) fn strict_run<F: Future>(future: F) -> Result<F::Output, Error> {
    let event_loop = EventLoop::new()?;
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    let mut runner = Runner::from(event_loop);
    let output = runner.run(future);
    runner.close();
    output
}

/// A loop whose time stands still until it is moved.
pub(crate) fn manual_loop() -> (EventLoop, readily::clock::Manual) {
    let clock = readily::clock::Manual::new();
    let poller: Box<dyn Poller> = readily::poll::os::default().expect("there are descriptors");
    let event_loop =
        EventLoop::with(poller, Box::new(clock.clone())).expect("there are descriptors");
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    (event_loop, clock)
}
