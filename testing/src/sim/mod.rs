//! A small kernel in memory: descriptors, their readiness, and a poller with epoll's rules.
//!
//! It is a model, not a script: bytes lie in buffers, peers close and reset, numbers are used
//! again, and what a poller reports follows from that as it does in the system's own kernel. So
//! it can be held against the real ones, promise by promise (`testing::conformance`), and then
//! stand in for them where they cannot go: time that moves by itself, faults on request, the
//! same order of things for the same seed.
//!
//! The rules are those of Linux: of `fs/eventpoll.c` for who is reported when, of TCP, Unix
//! sockets and pipes for what is ready. In the notes this is one more selector ([N2]).
//!
//! Everything is one thread's: a kernel, its descriptors and its pollers are clones of one
//! `Rc`. Nothing in it ever blocks; what would wait gives `WouldBlock`.
//!
//! [N2]: https://docs.rs/readily/latest/readily/book/index.html#n2

mod faults;
mod fd;
mod kernel_impl;
mod knotes;
mod net;
mod open_files;
mod poller;
mod queue;
mod streams;
mod table;
mod virtual_wait;
mod watch_list;

use self::open_files::{Body, Datagrams, Listener};
use self::streams::{Endpoint, Kind};
use self::table::Table;
use readily::clock::{Clock, Manual};
use readily::spi::Placeholder;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

pub use self::faults::Faults;
pub use self::fd::Fd;
pub use self::poller::SimPoller;
pub use self::queue::SimQueue;
pub(super) use self::virtual_wait::SimNotifier;
pub use readily_sys::kq_abi::Personality;

/// The first number that a kernel in memory gives out. The system's own descriptors stay far
/// below, so that neither can be taken for the other.
pub const FIRST_NUMBER: i32 = 1_000_000_000;

/// As many descriptors a kernel has, until it is told otherwise.
pub const DESCRIPTORS: usize = 65_536;

/// A kernel in memory. Clones are the same kernel.
///
/// # Examples
///
/// ```
/// use readily_testing::sim::Kernel;
///
/// let kernel = Kernel::new();
/// let (here, there) = kernel.pair()?;
/// assert_eq!(there.write(b"hello")?, 5);
/// let mut buffer = [0; 8];
/// assert_eq!(here.read(&mut buffer)?, 5);
/// assert!(here.read(&mut buffer).is_err(), "there is no more, and it does not wait");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Kernel {
    table: Rc<RefCell<Table>>,
    clock: Manual,
    /// What stands where a descriptor of the system is asked for.
    placeholder: Rc<Placeholder>,
}

impl Kernel {
    /// A kernel without descriptors, whose clock stands at zero, and which has no faults.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Faults::none())
    }

    /// A kernel with faults.
    #[must_use]
    pub fn with(faults: Faults) -> Self {
        Self {
            table: Rc::new(RefCell::new(Table::new(faults))),
            clock: Manual::new(),
            placeholder: Rc::default(),
        }
    }

    /// Its time. A poller of this kernel moves it, and so may anybody.
    #[must_use]
    pub fn clock(&self) -> Manual {
        self.clock.clone()
    }

    /// A poller for the descriptors of this kernel. There may be several.
    #[must_use]
    pub fn poller(&self) -> SimPoller {
        SimPoller::new(self)
    }

    /// Allows `limit` descriptors at a time, as `RLIMIT_NOFILE` does.
    pub fn set_limit(&self, limit: usize) {
        self.table.borrow_mut().limit = limit;
    }

    /// How many descriptors are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.table.borrow().open()
    }

    /// From now on these are its faults.
    pub fn set_faults(&self, faults: Faults) {
        self.table.borrow_mut().faults = faults;
    }

    /// A seed for whatever else is to be left to the same chance; `None` where its faults shuffle
    /// nothing.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        let faults = &mut self.table.borrow_mut().faults;
        // Of a copy: to ask changes nothing.
        let mut rng = faults.chance().clone();
        faults.shuffle.then(|| rng.below(usize::MAX) as u64)
    }

    /// How many calls were made that could have failed: see [`Faults::fails`].
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.table.borrow().faults.calls()
    }

    /// Two connected stream sockets, as of `socketpair(2)`.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn pair(&self) -> io::Result<(Fd, Fd)> {
        self.both(|table| table.connected(Kind::Pair))
    }

    /// A pipe: its reading and its writing end.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn pipe(&self) -> io::Result<(Fd, Fd)> {
        self.both(Table::pipe)
    }

    /// Two connected TCP sockets.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn tcp(&self) -> io::Result<(Fd, Fd)> {
        self.both(|table| table.connected(Kind::Tcp))
    }

    /// Two connected datagram sockets.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn datagrams(&self) -> io::Result<(Fd, Fd)> {
        self.both(|table| {
            let one = table.add(Body::Datagrams(Datagrams::default()));
            let two = table.add(Body::Datagrams(Datagrams::to(one)));
            table.datagrams(one).peer = Some(two);
            (one, two)
        })
    }

    /// A TCP socket that has not been connected.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn unconnected(&self) -> io::Result<Fd> {
        self.one(|table| Ok(table.add(Body::Endpoint(Endpoint::new(Kind::Tcp)))))
    }

    /// A TCP listener, with room for `backlog` connections. Port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `EADDRINUSE`.
    pub fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Fd> {
        self.one(|table| {
            let addr = table.bind(addr)?;
            let file = table.add(Body::Listener(Listener::new(addr, backlog)));
            table.bound.insert(addr, file);
            Ok(file)
        })
    }

    /// Begins to connect to `addr`; how it ended, a poller tells.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<Fd> {
        self.one(|table| Ok(table.connect(addr)))
    }

    /// A regular file with this content; it cannot be polled.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn file(&self, content: &[u8]) -> io::Result<Fd> {
        let content = content.to_vec();
        self.one(|table| Ok(table.add(Body::Regular { content, at: 0 })))
    }

    /// A timer, as of `timerfd_create(2)`: see [`Fd::set_timer`].
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn timer(&self) -> io::Result<Fd> {
        self.one(|table| Ok(table.add(Body::Timer { due_ns: None })))
    }

    /// A counter, as of `eventfd(2)`: readable while it is not zero.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn notifier(&self) -> io::Result<Fd> {
        self.one(|table| Ok(table.add(Body::Notifier { count: 0 })))
    }

    /// Holds the time still for as long as the guard lives: a wait that nothing ends then waits
    /// for a ring, in real time, as for another thread's doing: see [`Kernel::set_real_timeout`].
    #[must_use = "dropping the guard lets time go on"]
    pub fn pause_time(&self) -> PauseGuard {
        self.table.borrow_mut().pauses += 1;
        PauseGuard {
            kernel: self.clone(),
        }
    }

    fn one(&self, make: impl FnOnce(&mut Table) -> io::Result<u64>) -> io::Result<Fd> {
        let mut table = self.table.borrow_mut();
        table.faults.call()?;
        table.room_for(1)?;
        let file = make(&mut table)?;
        Ok(Fd::new(self, table.number(file)))
    }

    fn both(&self, make: impl FnOnce(&mut Table) -> (u64, u64)) -> io::Result<(Fd, Fd)> {
        let mut table = self.table.borrow_mut();
        table.faults.call()?;
        table.room_for(2)?;
        let (one, two) = make(&mut table);
        let numbers = (table.number(one), table.number(two));
        Ok((Fd::new(self, numbers.0), Fd::new(self, numbers.1)))
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.table, &other.table)
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("open", &self.open())
            .field("now_ns", &self.now_ns())
            .finish()
    }
}

/// Holds the time of a kernel still. See [`Kernel::pause_time`].
#[derive(Debug)]
pub struct PauseGuard {
    kernel: Kernel,
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        self.kernel.table.borrow_mut().pauses -= 1;
    }
}

/// An error of the system, by its number.
fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
