//! A loop on a kernel in memory, and what a test does with it: run, step, move the time, read the
//! trace.

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

/// A loop whose descriptors, time and faults are those of a [`Kernel`] in memory.
///
/// `TcpListener::bind`, `TcpStream::connect`, `sleep` and the rest work on it as they do
/// everywhere; time passes only where nothing else can happen. Its policy is
/// [`PanicPolicy::Propagate`], so that an assertion that fails in a callback or a detached task
/// fails the test. Dereferences to [`LoopHandle`].
///
/// # Examples
///
/// A server and its client, an hour of waiting between two words, in no time:
///
/// ```
/// use readily::io::{TcpListener, TcpStream};
/// use readily_testing::SimLoop;
/// use readily::{gather, sleep};
/// use std::time::Duration;
///
/// let mut sim = SimLoop::new(7);
/// let (heard, ()) = sim.run(async {
///     let listener = TcpListener::bind(([127, 0, 0, 1], 0)).unwrap();
///     let addr = listener.local_addr().unwrap();
///     let server = async {
///         let (stream, _peer) = listener.accept().await.unwrap();
///         let mut words = [0; 6];
///         stream.read_exact(&mut words).await.unwrap();
///         words
///     };
///     let client = async {
///         let stream = TcpStream::connect(addr).await.unwrap();
///         stream.write_all(b"one").await.unwrap();
///         sleep(Duration::from_secs(3600)).await;
///         stream.write_all(b"two").await.unwrap();
///     };
///     gather((server, client)).await
/// })?;
/// assert_eq!(&heard, b"onetwo");
/// assert_eq!(sim.elapsed(), Duration::from_secs(3600));
/// assert!(sim.trace().contains("on to the limit, 3600.000000000"));
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Debug)]
pub struct SimLoop {
    runner: Runner,
    kernel: Kernel,
    /// Turns since the books of the loop were looked through: see [`is_check_due`].
    unchecked: usize,
    /// What the loop asks of its poller.
    #[cfg(feature = "proptest")]
    poller_trace: PollerTrace,
}

/// The system whose kqueue a name stands for, and that is there in memory; none for other pollers.
fn named<E>(name: Result<&str, E>) -> Option<Personality> {
    match name.ok()? {
        "kqueue-apple" => Some(Personality::Apple),
        "kqueue-freebsd" => Some(Personality::FreeBsd),
        "kqueue-netbsd" => Some(Personality::NetBsd),
        _ => None,
    }
}

impl SimLoop {
    /// A loop without faults, where what is ready at the same time comes in an order of the seed:
    /// descriptors, and tasks (see [`shuffle_ready`](readily::spi::shuffle_ready)).
    ///
    /// # Panics
    ///
    /// If there is no memory for a loop.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut faults = Faults::seeded(seed);
        faults.shuffle = true;
        Self::with(faults)
    }

    /// Makes a loop with these faults. Its poller has epoll's rules, unless the variable
    /// `READILY_POLLER` names the kqueue of a system (see
    /// [`poll::default_poller::default`](readily::poll::default_poller::default)); then it is that kqueue, in memory.
    ///
    /// # Panics
    ///
    /// If there is no memory for a loop.
    #[must_use]
    pub fn with(faults: Faults) -> Self {
        Self::on(named(std::env::var("READILY_POLLER").as_deref()), faults)
    }

    /// The same over the project's kqueue poller, on a kqueue as of this system.
    ///
    /// # Panics
    ///
    /// If there is no memory for a loop.
    #[must_use]
    pub fn with_kqueue(faults: Faults, system: Personality) -> Self {
        Self::on(Some(system), faults)
    }

    /// One of the two: over a poller with epoll's rules where there is no `system`, else over the
    /// kqueue of it. For tests that try both.
    ///
    /// # Panics
    ///
    /// If there is no memory for a loop.
    #[must_use]
    pub fn on(system: Option<Personality>, faults: Faults) -> Self {
        let kernel = Kernel::with(faults);
        let poller: Box<dyn Poller> = match system {
            None => Box::new(kernel.poller()),
            Some(system) => Box::new(kernel.kqueue(system)),
        };
        Self::over(kernel, poller)
    }

    /// The same over a poller of the caller's, that stands on `kernel`: one that is to be tried,
    /// or one with a bug that was planted, to see whether a test finds it.
    ///
    /// # Panics
    ///
    /// If the poller stands on another kernel, or on that of the system: see
    /// [`Poller::kernel`]. If there is no memory for a loop.
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
        // It would wait for what never comes, and the time of this kernel would stand still.
        let stands_on = poller.kernel().and_then(|kernel| kernel.identity());
        assert_eq!(
            stands_on,
            kernel.identity(),
            "the poller stands on another kernel"
        );
        kernel.record();
        let seed = kernel.seed();
        #[cfg(feature = "proptest")]
        let (poller, poller_trace) = PollerTrace::around(poller);
        let event_loop = EventLoop::with(poller, Box::new(kernel.clock()));
        let event_loop = event_loop.expect("a loop in memory takes memory only");
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

    /// Looks through the books of the loop, if that is due after one more turn.
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

    /// Begins a story: what happens on this loop, told by whoever makes it happen. See [`Transcript`].
    #[must_use]
    pub fn transcript(&self) -> Transcript {
        Transcript::of(self)
    }

    /// Closes the loop, and says what was still there. See [`EventLoop::close`].
    ///
    /// # Panics
    ///
    /// As [`EventLoop::close`].
    pub fn close(self) -> CloseReport {
        self.runner.close()
    }

    /// Waits so long, in real time, for what another thread may have to say where nothing else can
    /// happen; ten seconds unless told otherwise. See [`SimLoop::run`].
    pub fn set_real_timeout(&mut self, real_timeout: Duration) {
        self.kernel.set_real_timeout(real_timeout);
    }

    /// Drives `future` to its end, through as much time as it takes.
    ///
    /// Where nothing can happen any more, as two tasks wait for each other or nobody writes what is
    /// read, only another thread could help. It is waited for with patience
    /// ([`SimLoop::set_real_timeout`]), in real time, and then the run ends with an error.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] of the kind `TimedOut`, with the last lines of the trace, if nothing can
    /// happen any more. As [`Runner::run`].
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

    /// How much time has gone by.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        use readily::clock::Clock;
        Duration::from_nanos(self.kernel.clock().now_ns())
    }

    /// What has happened, a line for each: what was reported, and why the time moved or did not.
    /// The same seed gives the same trace, byte for byte. A line `[]` is a wait that looked, and
    /// found nothing.
    ///
    /// Only waits write lines. Where a test moves the clock by hand, there is none: the next one has
    /// another time. The last MiB of lines is kept, or as much as [`SimLoop::limit_trace`] says; what
    /// came before is counted in a line of its own.
    #[must_use]
    pub fn trace(&self) -> String {
        self.kernel.trace()
    }

    /// Keeps only the last `bytes` of the trace from here on; 0 turns the trace off. For runs of
    /// millions of turns.
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

    /// Its kernel: descriptors of all kinds, and faults.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The loop itself.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        self.runner.event_loop()
    }

    /// Two ends of a connection, for a protocol that is to be tried from both sides.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`: where the faults say so.
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

/// Whether the books of a loop with so many entries are looked through again, so many turns after
/// the last time. A small one's are after each turn. For a large one that would make a run of as
/// many turns quadratic, so it costs each turn a few entries on the average.
fn is_check_due(turns: usize, entries: usize) -> bool {
    turns >= entries / 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_looked_through_after_each_turn_of_a_small_loop_and_cost_a_large_one_little() {
        assert!(is_check_due(1, 0) && is_check_due(1, 63));
        let (mut turns, mut looked_at) = (0, 0);
        for _ in 0..100_000 {
            turns += 1;
            if is_check_due(turns, 100_000) {
                (turns, looked_at) = (0, looked_at + 100_000);
            }
        }
        assert!(looked_at > 0, "at times they are");
        assert!(looked_at <= 33 * 100_000, "{looked_at}");
    }
}
