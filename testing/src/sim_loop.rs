//! A loop on a kernel in memory. A test runs it, steps it, moves its time, and reads its trace.

#[cfg(feature = "proptest")]
use super::tracing_poller::PollerTrace;
use super::transcript::Transcript;
use crate::sim::{Faults, Kernel, Personality};
use readily::event_loop::CloseReport;
use readily::io::TcpStream;
use readily::poll::Poller;
use readily::spi::{self, VirtualKernel};
use readily::{Error, EventLoop, LoopHandle, PanicPolicy, Runner};
use std::io;
use std::ops::Deref;
use std::time::Duration;

/// An event loop whose descriptors, time and faults are those of a [`Kernel`] in memory.
///
/// `TcpListener::bind`, `TcpStream::connect`, `sleep` and the rest work on it as on any loop. Time
/// passes only while nothing else can happen. The panic policy is [`PanicPolicy::Propagate`], so a
/// failed assertion in a callback or in a detached task fails the test. A `SimLoop` dereferences to
/// [`LoopHandle`].
///
/// # Examples
///
/// A server and its client. The client waits for an hour between two writes, which takes no real time:
///
/// ```
/// use readily::io::{TcpListener, TcpStream};
/// use readily_testing::SimLoop;
/// use readily::{gather, sleep};
/// use std::time::Duration;
///
/// let mut sim = SimLoop::new(7);
/// let (received, ()) = sim.run(async {
///     let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
///     let addr = listener.local_addr().unwrap();
///     let server = async {
///         let (stream, _peer) = listener.accept().await.unwrap();
///         let mut buffer = [0; 6];
///         stream.read_exact(&mut buffer).await.unwrap();
///         buffer
///     };
///     let client = async {
///         let stream = TcpStream::connect(addr).await.unwrap();
///         stream.write_all(b"one").await.unwrap();
///         sleep(Duration::from_secs(3600)).await;
///         stream.write_all(b"two").await.unwrap();
///     };
///     gather((server, client)).await
/// })?;
/// assert_eq!(&received, b"onetwo");
/// assert_eq!(sim.elapsed(), Duration::from_secs(3600));
/// assert!(sim.trace().contains("on to the limit, 3600.000000000"));
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Debug)]
pub struct SimLoop {
    runner: Runner,
    kernel: Kernel,
    /// The number of turns since the invariants of the loop were checked: see [`is_check_due`].
    unchecked: usize,
    /// The calls that the loop makes to its poller.
    #[cfg(feature = "proptest")]
    poller_trace: PollerTrace,
}

/// Returns the system whose kqueue has this name; `None` for other pollers.
fn personality_of<E>(name: Result<&str, E>) -> Option<Personality> {
    match name.ok()? {
        "kqueue-apple" => Some(Personality::Apple),
        "kqueue-freebsd" => Some(Personality::FreeBsd),
        "kqueue-netbsd" => Some(Personality::NetBsd),
        _ => None,
    }
}

impl SimLoop {
    /// Makes a loop without faults. The seed decides the order of descriptors and of tasks that are
    /// ready at the same time (see [`shuffle_ready`](readily::spi::shuffle_ready)).
    ///
    /// # Panics
    ///
    /// If no memory is left.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut faults = Faults::seeded(seed);
        faults.shuffle = true;
        Self::with(faults)
    }

    /// Makes a loop with these faults. Its poller follows the rules of epoll, unless the environment
    /// variable `READILY_POLLER` (see [`default`](readily::poll::default_poller::default)) names the
    /// kqueue of a system; then it is that kqueue, in memory.
    ///
    /// # Panics
    ///
    /// If no memory is left.
    #[must_use]
    pub fn with(faults: Faults) -> Self {
        Self::on(
            personality_of(std::env::var("READILY_POLLER").as_deref()),
            faults,
        )
    }

    /// Makes a loop with these faults, over the kqueue of `system` in memory.
    ///
    /// # Panics
    ///
    /// If no memory is left.
    #[must_use]
    pub fn with_kqueue(faults: Faults, system: Personality) -> Self {
        Self::on(Some(system), faults)
    }

    /// Makes a loop with these faults, over the kqueue of `system`, or with the rules of epoll for
    /// `None`. For tests that run on both.
    ///
    /// # Panics
    ///
    /// If no memory is left.
    #[must_use]
    pub fn on(system: Option<Personality>, faults: Faults) -> Self {
        let kernel = Kernel::with(faults);
        let poller: Box<dyn Poller> = match system {
            None => Box::new(kernel.poller()),
            Some(system) => Box::new(kernel.kqueue(system)),
        };
        Self::over(kernel, poller)
    }

    /// Makes a loop over a poller of the caller, which must be based on `kernel`.
    ///
    /// The poller may be one that is under test, or one with a planted bug that a test should find.
    ///
    /// # Panics
    ///
    /// If the poller is based on another kernel, or on that of the system: see [`Poller::kernel`]. If
    /// no memory is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::sleep;
    /// use readily_testing::{Kernel, Personality, SimLoop};
    /// use std::time::Duration;
    ///
    /// let kernel = Kernel::new();
    /// let poller = kernel.kqueue(Personality::NetBsd);
    /// let mut sim = SimLoop::over(kernel, Box::new(poller));
    /// sim.run(sleep(Duration::from_secs(1)))?;
    /// assert_eq!(sim.elapsed(), Duration::from_secs(1));
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn over(kernel: Kernel, poller: Box<dyn Poller>) -> Self {
        // On another kernel the poller would wait for ever, and the time of this one would not move.
        let identity = poller.kernel().and_then(|kernel| kernel.identity());
        assert_eq!(
            identity,
            kernel.identity(),
            "the poller is based on another kernel"
        );
        kernel.record();
        let seed = kernel.seed();
        #[cfg(feature = "proptest")]
        let (poller, poller_trace) = PollerTrace::around(poller);
        let event_loop = EventLoop::with(poller, Box::new(kernel.clock()));
        let event_loop = event_loop.expect("a loop in memory needs no system resources");
        spi::shuffle_ready(&event_loop, seed);
        event_loop.set_panic_policy(PanicPolicy::Propagate);
        Self {
            runner: event_loop.into(),
            kernel,
            unchecked: 0,
            #[cfg(feature = "proptest")]
            poller_trace,
        }
    }

    /// Counts one turn, and checks the invariants of the loop if that is due.
    pub(super) fn check_after_a_turn(&mut self) {
        self.unchecked += 1;
        if is_check_due(self.unchecked, self.registered() + self.armed_timers()) {
            self.unchecked = 0;
            spi::check_invariants(self);
        }
    }

    #[cfg(feature = "proptest")]
    pub(super) fn poller_trace(&self) -> &PollerTrace {
        &self.poller_trace
    }

    /// Starts a transcript, in which a test logs the events of this loop. See [`Transcript`].
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        Transcript::of(self)
    }

    /// Closes the loop, and reports what was still open. See [`EventLoop::close`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::close`].
    pub fn close(self) -> CloseReport {
        self.runner.close()
    }

    /// Sets how long, in real time, the loop waits for another thread while nothing else can happen.
    /// The default is ten seconds. See [`SimLoop::run`].
    pub fn set_real_timeout(&mut self, real_timeout: Duration) {
        self.kernel.set_real_timeout(real_timeout);
    }

    /// Runs `future` until it completes, however much virtual time that takes.
    ///
    /// When nothing can happen any more, for instance because two tasks wait for each other, only
    /// another thread can continue the run. The loop waits for that in real time, up to
    /// [`SimLoop::set_real_timeout`], and then the run ends with an error.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] of the kind `TimedOut`, with the last lines of the trace, if nothing can
    /// happen any more. Else as [`Runner::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use readily_testing::SimLoop;
    /// use std::time::Duration;
    ///
    /// let mut sim = SimLoop::new(1);
    /// sim.set_real_timeout(Duration::from_millis(10));
    /// let never = sim.run(std::future::pending::<()>());
    /// assert!(never.unwrap_err().to_string().contains("nothing can happen any more"));
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Runner::run`].
    #[track_caller]
    pub fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        self.runner.run(future)
    }

    /// Returns how much virtual time has passed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        use readily::clock::Clock;
        Duration::from_nanos(self.kernel.clock().now_ns())
    }

    /// Returns the trace: the events that each wait reported, and why the time moved or did not.
    ///
    /// The same seed gives the same trace. A line `[]` is a wait without events. Only waits write lines,
    /// so a test that moves the clock itself adds none. The trace keeps the last MiB of lines, or as much
    /// as [`SimLoop::limit_trace`] allows, and begins with the number of lines that were dropped.
    #[must_use]
    pub fn trace(&self) -> String {
        self.kernel.trace()
    }

    /// Limits the trace to its last `bytes`; 0 turns the trace off. For runs of millions of turns.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily_testing::SimLoop;
    ///
    /// let mut sim = SimLoop::new(1);
    /// sim.limit_trace(9);
    /// for _ in 0..100 {
    ///     sim.event_loop().turn_now()?;
    /// }
    /// assert_eq!(sim.trace(), "(97 lines before this are not kept)\n[]\n[]\n[]\n");
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn limit_trace(&mut self, bytes: usize) {
        self.kernel.record_last(bytes);
    }

    /// Returns the kernel of the loop, which makes descriptors of all kinds and has the faults.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Returns the event loop.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        self.runner.event_loop()
    }

    /// Returns the two ends of a connection, for tests of a protocol from both sides.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENOMEM`, if the faults have them.
    pub fn duplex(&mut self) -> io::Result<(TcpStream, TcpStream)> {
        let (one, two) = self.kernel.tcp()?;
        let _here = self.runner.event_loop().enter();
        Ok((one.into_stream()?, two.into_stream()?))
    }
}

impl Deref for SimLoop {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.runner
    }
}

/// Whether the invariants of a loop with `entries` entries are due for a check, `turns` turns after the
/// last one. Those of a small loop are checked after each turn. For a large loop the cost would be
/// quadratic, so the checks are spaced to cost each turn a few entries on average.
fn is_check_due(turns: usize, entries: usize) -> bool {
    turns >= entries / 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariants_are_checked_after_each_turn_of_a_small_loop_and_cost_a_large_one_little() {
        assert!(is_check_due(1, 0) && is_check_due(1, 63));
        let (mut turns, mut checked) = (0, 0);
        for _ in 0..100_000 {
            turns += 1;
            if is_check_due(turns, 100_000) {
                (turns, checked) = (0, checked + 100_000);
            }
        }
        assert!(checked > 0, "some turns check");
        assert!(checked <= 33 * 100_000, "{checked}");
    }
}
