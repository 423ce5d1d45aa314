//! What the promises are tried with: descriptors of every kind, and waits with a guard.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use readily::clock::Clock;
use readily::poll::portable::PollPoller;
use readily::poll::sim::{self, Fd, Hold, Kernel};
use readily::poll::{Event, Interest, Poller, Readiness, Trigger};
use readily_sys::socket;

/// Long enough for a machine under load; whoever needs it has failed.
pub const GUARD: Duration = Duration::from_secs(20);

/// What is ready now.
pub fn now(poller: &mut dyn Poller) -> Vec<Event> {
    let mut events = Vec::new();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    each_once(&events);
    events
}

/// The next events: at least one.
pub fn next(poller: &mut dyn Poller) -> Vec<Event> {
    let mut events = Vec::new();
    // An early return is allowed, but not often.
    for _ in 0..1000 {
        poller.wait(&mut events, Some(GUARD)).unwrap();
        if !events.is_empty() {
            break;
        }
    }
    assert!(!events.is_empty(), "no event within {GUARD:?}");
    each_once(&events);
    events
}

/// The next event, which is the only one, and for `token`.
pub fn next_for(poller: &mut dyn Poller, token: u64) -> Readiness {
    let events = next(poller);
    assert_eq!(
        events.iter().map(|e| e.token).collect::<Vec<_>>(),
        [token],
        "{events:?}"
    );
    events[0].ready
}

/// Waits until everything in `wanted` has been reported for `token`, which may take several
/// events where the facts come about one after the other.
pub fn until(poller: &mut dyn Poller, token: u64, wanted: Readiness) -> Readiness {
    let mut all = Readiness::NONE;
    while !all.contains(wanted) {
        all |= next_for(poller, token);
    }
    all
}

/// The tokens of the next waits, until there are `count` of them: a poller may serve in small
/// batches, but none may be left out for long.
pub fn tokens(poller: &mut dyn Poller, count: usize) -> HashSet<u64> {
    let mut tokens = HashSet::new();
    for _ in 0..count {
        if tokens.len() < count {
            tokens.extend(next(poller).iter().map(|e| e.token));
        }
    }
    tokens
}

fn each_once(events: &[Event]) {
    let tokens: HashSet<_> = events.iter().map(|e| e.token).collect();
    assert_eq!(
        tokens.len(),
        events.len(),
        "two events for one registration: {events:?}"
    );
}

/// Asks anew where this poller wants it.
pub fn rearm(poller: &mut dyn Poller, fd: RawFd, token: u64, direction: Interest) {
    if poller.rearms().contains(direction) {
        poller.rearm(fd, token, direction).unwrap();
    }
}

/// A poller, and the kernel whose descriptors it watches: the system's, or one in memory.
pub struct World {
    poller: Box<dyn Poller>,
    kernel: Option<Kernel>,
}

impl World {
    /// The system's own kernel.
    pub fn of_the_system(poller: impl Poller + 'static) -> Self {
        Self {
            poller: Box::new(poller),
            kernel: None,
        }
    }

    /// A kernel in memory.
    pub fn in_memory(kernel: &Kernel, poller: impl Poller + 'static) -> Self {
        Self {
            poller: Box::new(poller),
            kernel: Some(kernel.clone()),
        }
    }

    /// A kernel in memory, of which some promises cannot be asked: those about processes.
    pub fn is_in_memory(&self) -> bool {
        self.kernel.is_some()
    }

    /// What time it is there, counted from some moment.
    #[allow(clippy::disallowed_methods)]
    pub fn time(&self) -> Duration {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        match &self.kernel {
            Some(kernel) => Duration::from_nanos(kernel.clock().now_ns()),
            // The promises are about real time.
            None => Instant::now() - *BEGIN.get_or_init(Instant::now),
        }
    }

    /// In memory, where time would go on when nothing is ready: holds it still, so that what
    /// comes from another thread is waited for.
    pub fn hold(&self) -> Option<Hold> {
        self.kernel.as_ref().map(Kernel::hold)
    }

    fn both(ends: io::Result<(Fd, Fd)>) -> (End, End) {
        let (one, two) = ends.unwrap();
        (End::Memory(one), End::Memory(two))
    }

    pub fn pair(&self) -> (End, End) {
        if let Some(kernel) = &self.kernel {
            return Self::both(kernel.pair());
        }
        let (left, right) = UnixStream::pair().unwrap();
        (End::socket(left), End::socket(right))
    }

    pub fn tcp(&self) -> (End, End) {
        let (listener, addr) = self.listener();
        let client = self.connect(addr);
        if self.kernel.is_none() {
            // Over there it takes a moment until it has arrived.
            let mut here = PollPoller::new().unwrap();
            here.register(listener.number(), 1, Interest::READ, Trigger::Level)
                .unwrap();
            next_for(&mut here, 1);
        }
        let server = listener.accept().unwrap();
        (client, server)
    }

    /// A pipe: its reading and its writing end.
    pub fn pipe(&self) -> (End, End) {
        if let Some(kernel) = &self.kernel {
            return Self::both(kernel.pipe());
        }
        let mut ends = [-1; 2];
        // SAFETY: `ends` has space for the two numbers that are written.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        let [reader, writer] = ends.map(|fd| {
            // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            socket::set_nonblocking(fd.as_fd()).unwrap();
            End::System(fd)
        });
        (reader, writer)
    }

    pub fn listener(&self) -> (End, SocketAddr) {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = match &self.kernel {
            Some(kernel) => End::Memory(kernel.listen(any, 16).unwrap()),
            None => End::System(socket::listen_tcp(&any, 16).unwrap()),
        };
        let addr = match &listener {
            End::Memory(fd) => fd.local_addr().unwrap(),
            End::System(fd) => TcpListener::from(fd.try_clone().unwrap())
                .local_addr()
                .unwrap(),
        };
        (listener, addr)
    }

    pub fn connect(&self, addr: SocketAddr) -> End {
        match &self.kernel {
            Some(kernel) => End::Memory(kernel.connect(addr).unwrap()),
            None => End::System(socket::connect_tcp(&addr).unwrap()),
        }
    }

    /// A TCP socket that has not been connected.
    #[allow(dead_code)] // the table asks for it, the promises do not
    pub fn unconnected(&self) -> End {
        match &self.kernel {
            Some(kernel) => End::Memory(kernel.unconnected().unwrap()),
            None => {
                let (tcp, ip) = (socket2::Type::STREAM, socket2::Domain::IPV4);
                End::socket(socket2::Socket::new(ip, tcp, None).unwrap())
            }
        }
    }

    /// A regular file, and where there is one a directory.
    pub fn unpollable(&self) -> Vec<End> {
        if let Some(kernel) = &self.kernel {
            return vec![End::Memory(kernel.file(b"content").unwrap())];
        }
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let directory = std::fs::File::open("/").unwrap();
        vec![End::System(file.into()), End::System(directory.into())]
    }

    /// A number that leads nowhere, and that nobody else will use: the tests of one binary run
    /// in parallel, and the system gives out the lowest number that is free.
    pub fn free_number(&self) -> RawFd {
        static NEXT: AtomicI32 = AtomicI32::new(4000);
        match &self.kernel {
            Some(_) => sim::FIRST_NUMBER + 4000,
            None => NEXT.fetch_sub(1, Ordering::Relaxed),
        }
    }
}

impl Deref for World {
    type Target = dyn Poller;

    fn deref(&self) -> &Self::Target {
        &*self.poller
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.poller
    }
}

/// An open descriptor of either kernel. Nothing that is done with it waits.
pub enum End {
    System(OwnedFd),
    Memory(Fd),
}

impl End {
    fn socket(fd: impl Into<OwnedFd>) -> Self {
        let fd = fd.into();
        socket::set_nonblocking(fd.as_fd()).unwrap();
        Self::System(fd)
    }

    pub fn number(&self) -> RawFd {
        match self {
            Self::System(fd) => fd.as_raw_fd(),
            Self::Memory(fd) => fd.number(),
        }
    }

    pub fn try_clone(&self) -> Self {
        match self {
            Self::System(fd) => Self::System(fd.try_clone().unwrap()),
            Self::Memory(fd) => Self::Memory(fd.try_clone().unwrap()),
        }
    }

    /// The same once more, under this number.
    pub fn renumbered(&self, number: RawFd) -> Self {
        let fd = match self {
            Self::System(fd) => fd.as_raw_fd(),
            Self::Memory(fd) => return Self::Memory(fd.renumbered(number).unwrap()),
        };
        allow_many();
        // SAFETY: takes two numbers; the second is nobody's, by the choice of the caller.
        let made = unsafe { libc::dup2(fd, number) };
        assert_eq!(made, number, "{}", io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
        Self::System(unsafe { OwnedFd::from_raw_fd(made) })
    }

    pub fn accept(&self) -> io::Result<Self> {
        Ok(match self {
            Self::System(fd) => Self::System(socket::accept(fd.as_fd())?.0),
            Self::Memory(fd) => Self::Memory(fd.accept()?.0),
        })
    }

    pub fn shutdown(&self, how: Shutdown) {
        match self {
            Self::System(fd) => socket::shutdown(fd.as_fd(), how).unwrap(),
            Self::Memory(fd) => fd.shutdown(how).unwrap(),
        }
    }

    pub fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::System(fd) => socket::take_error(fd.as_fd()).unwrap(),
            Self::Memory(fd) => fd.take_error().unwrap(),
        }
    }

    pub fn is_connected(&self) -> bool {
        match self {
            Self::System(fd) => socket::is_connected(fd.as_fd()).unwrap(),
            Self::Memory(fd) => fd.is_connected().unwrap(),
        }
    }

    /// Closes it with a reset instead of an end.
    pub fn reset(self) {
        let fd = match self {
            Self::System(fd) => fd,
            Self::Memory(fd) => return fd.reset(),
        };
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let len = size_of::<libc::linger>() as libc::socklen_t;
        let (fd, from) = (fd.as_raw_fd(), (&raw const linger).cast());
        // SAFETY: `from` points to `len` bytes of a live local.
        let done = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, from, len) };
        assert_eq!(done, 0);
    }

    /// Sends one byte out of band.
    pub fn send_urgent(&self) {
        let fd = match self {
            Self::System(fd) => fd.as_raw_fd(),
            Self::Memory(fd) => return fd.send_urgent().unwrap(),
        };
        // SAFETY: one byte is read from a constant.
        let n = unsafe { libc::send(fd, [1u8].as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(n, 1);
    }
}

impl Read for &End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            End::System(fd) => socket::read(fd.as_fd(), buffer),
            End::Memory(fd) => fd.read(buffer),
        }
    }
}

impl Write for &End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            End::System(fd) => socket::write(fd.as_fd(), bytes),
            End::Memory(fd) => fd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Allows this process more descriptors than some systems do by default.
pub fn allow_many() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` has space for the structure that is written.
        assert_eq!(
            unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) },
            0
        );
        limit.rlim_cur = limit.rlim_cur.max(4096.min(limit.rlim_max));
        // SAFETY: `limit` is a live local that is only read.
        assert_eq!(
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) },
            0
        );
    });
}
