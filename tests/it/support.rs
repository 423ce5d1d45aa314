//! What the tests share: a guard against hanging, pairs of sockets, a log, a process.
//!
//! A test that waits for ever has no output, and a test that aborts ends all others. So a guarded
//! test runs again in a process of its own, as its only test, where a watchdog ends it if it makes no
//! progress; the other tests go on. Tests that count resources of the whole process do the same,
//! where no other test opens descriptors meanwhile.

use readily::poll::Poller;
use readily::poll::poll2::PollPoller;
use readily::{Cx, Error, EventLoop, LoopHandle, PanicPolicy, Runner, gather};
use readily::{io, spi};
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a watch looks whether its test makes progress.
const WINDOW: Duration = Duration::from_secs(60);
/// Seconds instead of [`WINDOW`]: for a machine that has nothing else to do.
const PATIENCE: &str = "READILY_IT_PATIENCE";
/// The processor time of a test that does not end: many times what any of them needs.
const SPINS: Duration = Duration::from_secs(30);
/// Where the system does not report processor times, so many windows are all that a test has.
const BLIND: u32 = 5;
/// Set to have the same everywhere, for tests that are expected to fail: one that waits for what does not
/// come may turn its loop meanwhile, and look as if it made progress.
const IS_BLIND: &str = "READILY_IT_BLIND";

/// Set in a process that a test has started to run itself in.
const ALONE: &str = "READILY_IT_ALONE";
/// The same for a test that is watched there.
const WATCHED: &str = "READILY_IT_WATCHED";

/// Runs the test that it is called in again, in a process of its own, and watches it there. A test
/// that hangs is ended, and is the only one that fails.
macro_rules! guard {
    () => {
        match $crate::support::watched() {
            Some(guard) => guard,
            None => return,
        }
    };
}
pub(crate) use guard;

/// Until this is dropped, the process is aborted if it makes no progress.
pub(crate) struct Guard {
    _done: Sender<()>,
}

/// See [`guard!`]: `None` in the process of all tests, where there is nothing left to do.
pub(crate) fn watched() -> Option<Guard> {
    runs_alone_as(WATCHED, None).then(|| {
        let patience = std::env::var(PATIENCE)
            .ok()
            .and_then(|seconds| seconds.parse().ok());
        watch(patience.map_or(WINDOW, Duration::from_secs))
    })
}

/// A thread that is not joined looks once in each window whether the test makes progress.
pub(crate) fn watch(window: Duration) -> Guard {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let (done, is_done) = channel::<()>();
    std::thread::spawn(move || {
        // Not asked before the first window is over: tests compare the numbers of their descriptors.
        let is_blind = std::env::var_os(IS_BLIND).is_some();
        let (mut windows, mut before) = (0, Duration::ZERO);
        while is_done.recv_timeout(window) == Err(RecvTimeoutError::Timeout) {
            windows += 1;
            let now = if is_blind { None } else { used() };
            if let Some(how) = verdict(before, now, windows, window, is_ready_to_run) {
                // Not by `eprintln`, which the harness would keep to itself.
                let _ = writeln!(std::io::stderr(), "the test {test} hangs: {how}");
                end_processes();
                std::process::abort();
            }
            before = now.unwrap_or_default();
        }
    });
    Guard { _done: done }
}

/// Whether a test hangs, by the processor time that it had used a window ago, and has now. A machine
/// that has other work gives less of it, or none, and the test takes longer; it still makes progress.
fn verdict(
    before: Duration,
    now: Option<Duration>,
    windows: u32,
    window: Duration,
    is_ready: impl FnOnce() -> bool,
) -> Option<&'static str> {
    match now {
        Some(now) if now > SPINS => Some("it does not come to an end"),
        // A loop that turns now and then, and waits for what does not come, uses less than that.
        Some(now) if now.saturating_sub(before) < window / 100 => {
            (!is_ready()).then_some("it waits, and nothing comes")
        }
        Some(_) => None,
        None => (windows >= BLIND).then_some("it takes too long"),
    }
}

/// The processor time of this process, all its threads, and the processes that it has started.
fn used() -> Option<Duration> {
    let others: Duration = processes()
        .iter()
        .filter_map(|id| used_by(&id.to_string()))
        .sum();
    Some(used_by("self")? + others)
}

/// In user space and in the kernel; `None` where there is no `/proc`, or no such process.
fn used_by(process: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind its name, which may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_millis(ticks * 10)) // USER_HZ is 100 everywhere
}

/// Whether one of the threads that [`used`] counts is ready to run, other than this one. With a low
/// priority on a busy machine it may get no processor for minutes.
fn is_ready_to_run() -> bool {
    let this = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let mut ids = processes().clone();
    ids.push(std::process::id());
    let threads = ids.iter().flat_map(|id| {
        let threads = std::fs::read_dir(format!("/proc/{id}/task"));
        threads.into_iter().flatten().flatten()
    });
    let mut others = threads.filter(|thread| !thread.path().ends_with(&this));
    others.any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('R'))
    })
}

#[test]
fn a_test_hangs_if_it_uses_no_processor_time_or_too_much() {
    let ms = Duration::from_millis;
    let judge = |before, now, windows, is_ready: bool| {
        verdict(ms(before), now, windows, ms(1000), || is_ready).is_some()
    };
    let hangs = |before, now, windows| judge(before, now, windows, false);
    assert!(!judge(500, Some(ms(500)), 1, true), "it gets no processor");
    assert!(judge(30_000, Some(ms(30_010)), 1, true));
    assert!(!hangs(0, Some(ms(10)), 1));
    assert!(!hangs(500, Some(ms(510)), 100), "slow, but it goes on");
    assert!(hangs(500, Some(ms(509)), 1));
    assert!(hangs(500, Some(ms(500)), 1));
    assert!(hangs(30_000, Some(ms(30_010)), 1));
    assert!(!hangs(29_000, Some(ms(30_000)), 1));
    assert!(!hangs(0, None, BLIND - 1) && hangs(0, None, BLIND));
    if cfg!(target_os = "linux") {
        let before = used_by("self").unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| while !is_ready_to_run() {});
            while used_by("self").unwrap() == before {
                std::hint::black_box(0);
            }
        });
    }
}

/// Whether this process was started by a test to run itself in.
pub(crate) fn runs_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs the calling test in a process of its own, with at most `descriptors` open ones.
/// Returns `false` in the parent, where the child has done all there is to do.
pub(crate) fn is_alone(descriptors: Option<u32>) -> bool {
    runs_alone_as(ALONE, descriptors)
}

fn runs_alone_as(what: &str, descriptors: Option<u32>) -> bool {
    let test = std::thread::current()
        .name()
        .expect("a test has a name")
        .to_owned();
    if std::env::var_os(what).is_some_and(|alone| *alone == *test) {
        return true;
    }
    let output = Process::output(&mut command_as(what, &test, descriptors));
    if std::env::args().any(|argument| argument == "--nocapture") {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
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

/// For a process that is about to abort: no destructor will run.
fn end_processes() {
    for number in processes().drain(..) {
        let mut kill = Command::new("kill");
        let _ = kill.args(["-KILL", &number.to_string()]).status();
    }
}

/// A process that ends with its owner: when this is dropped, also in a panic, and when a guard
/// ends the tests. It prints into a pipe of ours, so that one that was left over would not keep the
/// output of the tests open.
pub(crate) struct Process {
    pub(crate) child: Child,
    reader: Option<JoinHandle<Vec<u8>>>,
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
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        });
        let reader = Some(reader);
        Self { child, reader }
    }

    /// Waits for the process to end: its exit status, and its standard error.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Vec<u8>) {
        let status = self.child.wait().expect("it is ours");
        let number = self.child.id();
        processes().retain(|&other| other != number);
        let reader = self.reader.take().map(JoinHandle::join);
        (
            status,
            reader.map_or_else(Vec::new, |reader| reader.expect("it reads")),
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
        let (_, stderr) = self.wait();
        if std::thread::panicking() && !stderr.is_empty() {
            eprintln!("standard error: {}", String::from_utf8_lossy(&stderr));
        }
    }
}

/// Leaves an odd number of descriptors. A connection with both ends here takes two, so that the
/// last client then waits to be accepted.
pub(crate) fn leave_odd() -> Option<File> {
    let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    all.pop().filter(|_| all.len() % 2 == 1)
}

/// How to run one test of this binary in a process of its own.
pub(crate) fn command(test: &str, descriptors: Option<u32>) -> Command {
    command_as(ALONE, test, descriptors)
}

#[allow(unsafe_code)]
fn command_as(what: &str, test: &str, descriptors: Option<u32>) -> Command {
    let limit = descriptors.map_or(String::new(), |n| format!("ulimit -n {n}; "));
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("it runs"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(what, test)
        .stdin(Stdio::null());
    // `nohup` and a shell's `&` leave some of them ignored, and then a test waits for ever.
    let resets = || {
        for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            // SAFETY: sets an action; no handler is involved.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: it makes system calls only, which a child may after `fork`.
    unsafe { command.pre_exec(resets) };
    command
}

/// The usual loop, and one whose poller is level-triggered underneath.
pub(crate) const LOOPS: [fn() -> EventLoop; 2] = [strict_loop, || {
    let clock = Box::new(readily::clock::Monotonic::new());
    EventLoop::with(Box::new(PollPoller::new().unwrap()), clock).unwrap()
}];

/// Runs a test on each of [`LOOPS`].
pub(crate) fn on_each_loop(test: impl AsyncFn()) {
    for make in LOOPS {
        Runner::from(make()).run(test()).expect("a loop");
    }
}

/// A connection: our end on the loop of the caller, theirs blocking.
pub(crate) async fn connection() -> (io::TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let (ours, theirs) = gather((io::TcpStream::connect(addr), async { listener.accept() })).await;
    (ours.expect("it listens"), theirs.expect("it is there").0)
}

/// Two ends of a TCP connection, both blocking.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let ours = TcpStream::connect(addr).expect("the loopback connects");
    let (theirs, _) = listener.accept().expect("it is there");
    (ours, theirs)
}

/// Writes to a connection until nothing more goes in, for a peer that takes nothing. It does not
/// block afterwards.
pub(crate) fn fill(stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).expect("a flag");
    let (mut sent, mut in_vain) = (0, 0);
    // The kernel may move what is under way, and have room once more.
    while in_vain < 50 {
        match (&*stream).write(&[0; 1 << 16]) {
            Ok(n) => (sent, in_vain) = (sent + n, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => in_vain += 1,
            Err(error) => panic!("writing: {error}"),
        }
        std::thread::yield_now();
    }
    sent
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a port");
    let addr = listener.local_addr().expect("it is bound");
    (listener, addr)
}

/// A listener whose queue is full, with what fills it: a connection to its address stays under way.
pub(crate) fn full_listener() -> ((socket2::Socket, TcpStream), SocketAddr) {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let first = TcpStream::connect(addr).unwrap();
    ((full, first), addr)
}

/// An address without a listener.
pub(crate) fn unused_addr() -> SocketAddr {
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
        spi::check_invariants(event_loop);
    }
}

/// Turns `turns` times without sleeping: for what must *not* happen.
pub(crate) fn turn_times(event_loop: &mut EventLoop, turns: u32) {
    for _ in 0..turns {
        event_loop.turn_now().expect("the loop turns");
        spi::check_invariants(event_loop);
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

/// The wall clock, which belongs to no loop.
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
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

/// Whether the open file behind a descriptor is non-blocking.
pub(crate) fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    let number = fd.as_raw_fd();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).expect("it is open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.expect("/proc has the flags").trim();
    i32::from_str_radix(flags, 8).expect("a number") & libc::O_NONBLOCK != 0
}

/// How many descriptors a process has open.
pub(crate) fn descriptors_of(process: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .expect("/proc is mounted")
        .count()
}

/// Keeps what the loop would print, as text.
pub(crate) fn collect_unhandled(handle: &LoopHandle) -> Log {
    let log = Log::default();
    let copy = log.clone();
    handle.on_unhandled(move |unhandled| copy.note(unhandled));
    log
}

/// Writes, then reads exactly `expected`, blocking.
pub(crate) fn ask(stream: &mut TcpStream, question: &[u8], expected: &[u8]) {
    stream.write_all(question).expect("it is connected");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, expected);
}

/// A loop that propagates panics: an assertion that fails in a callback fails the test.
pub(crate) fn strict_loop() -> EventLoop {
    let event_loop = EventLoop::new().expect("there are descriptors");
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    event_loop
}

/// The same for coroutines.
pub(crate) fn strict_runner() -> Runner {
    strict_loop().into()
}

/// [`readily::run`] with a loop that propagates the panic of any task.
#[track_caller]
pub(crate) fn strict_run<F: Future>(future: F) -> Result<F::Output, Error> {
    let event_loop = EventLoop::new()?;
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    let mut runner = Runner::from(event_loop);
    let output = runner.run(future);
    runner.close();
    output
}

/// A loop whose time stands still until the test moves it.
pub(crate) fn manual_loop() -> (EventLoop, readily::clock::Manual) {
    let clock = readily::clock::Manual::new();
    let poller: Box<dyn Poller> =
        readily::poll::default_poller::default().expect("there are descriptors");
    let event_loop =
        EventLoop::with(poller, Box::new(clock.clone())).expect("there are descriptors");
    event_loop.set_panic_policy(PanicPolicy::Propagate);
    (event_loop, clock)
}
