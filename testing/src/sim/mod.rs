//! A small kernel in memory: descriptors, their readiness, and pollers with the rules of epoll and
//! kqueue.
//!
//! It is a model, not a script: buffers hold bytes, peers close and reset, descriptor numbers are
//! reused, and the reports of a poller follow from that, as in the kernel of a system. The conformance
//! suite ([`conformance`](crate::conformance)) tests it and the real kernels with the same promises. It
//! also does what these cannot: time that moves by itself, faults on request, the same order of events
//! for the same seed.
//!
//! The rules are those of Linux: `fs/eventpoll.c` for the order of reports; TCP, Unix sockets and pipes
//! for readiness. In the notes this is one more selector ([N2]).
//!
//! A kernel, its descriptors and its pollers share one `Rc`, and stay on one thread. No operation
//! blocks: one that would wait returns `WouldBlock`.
//!
//! [N2]: https://docs.rs/readily/latest/readily/book/index.html#n2

mod children;
mod faults;
mod fd;
mod hosts;
mod kernel_impl;
mod knotes;
mod kqueue;
mod net;
mod open_files;
mod poller;
mod process;
mod streams;
mod table;
mod virtual_wait;
mod watch_list;
mod workers;

use self::children::Children;
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

pub use self::children::SimChild;
pub use self::faults::Faults;
pub use self::fd::Fd;
pub use self::kqueue::SimKqueue;
pub use self::poller::SimPoller;
pub(super) use self::virtual_wait::SimNotifier;
pub use readily_sys::kq_abi::Personality;

/// A kernel in memory, with its descriptors, clock and faults. Clones share one kernel.
///
/// # Examples
///
/// ```
/// use readily_testing::Kernel;
///
/// let kernel = Kernel::new();
/// let (here, there) = kernel.pair()?;
/// assert_eq!(there.write(b"hello")?, 5);
/// let mut buffer = [0; 8];
/// assert_eq!(here.read(&mut buffer)?, 5);
/// assert!(here.read(&mut buffer).is_err(), "there are no more bytes, and `read` does not wait");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Kernel {
    table: Rc<RefCell<Table>>,
    children: Rc<Children>,
    clock: Manual,
    hosts: Rc<RefCell<hosts::Hosts>>,
    /// The descriptor of the system that all descriptors of this kernel return where one is needed.
    placeholder: Rc<Placeholder>,
}

impl Kernel {
    /// The lowest descriptor number of a kernel in memory. The system's own descriptors have far lower
    /// numbers, so the two cannot be confused.
    pub const FIRST_NUMBER: i32 = 1_000_000_000;

    /// The default limit of descriptors of a kernel. See [`Kernel::set_limit`].
    pub const DEFAULT_LIMIT: usize = 65_536;

    /// Makes a kernel without descriptors and without faults, with its clock at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Faults::none())
    }

    /// Makes a kernel with faults.
    #[must_use]
    pub fn with(faults: Faults) -> Self {
        Self {
            table: Rc::new(RefCell::new(Table::new(faults))),
            children: Rc::default(),
            clock: Manual::new(),
            hosts: Rc::default(),
            placeholder: Rc::default(),
        }
    }

    /// Returns the clock of this kernel. Its pollers move it, and so may a test.
    #[must_use]
    pub fn clock(&self) -> Manual {
        self.clock.clone()
    }

    /// Makes a poller with the rules of epoll for the descriptors of this kernel. There may be several.
    #[must_use]
    pub fn poller(&self) -> SimPoller {
        SimPoller::new(self)
    }

    /// Limits the number of open descriptors, as `RLIMIT_NOFILE` does.
    pub fn set_limit(&self, limit: usize) {
        self.table.borrow_mut().limit = limit;
    }

    /// Returns how many descriptors are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.table.borrow().open()
    }

    /// Replaces the faults of this kernel.
    pub fn set_faults(&self, faults: Faults) {
        self.table.borrow_mut().faults = faults;
    }

    /// Returns a seed for other random choices of the same test; `None` if the faults shuffle nothing.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        let faults = &mut self.table.borrow_mut().faults;
        // A copy, so that this call does not change later choices.
        let mut rng = faults.rng().clone();
        faults.shuffle.then(|| rng.below(usize::MAX) as u64)
    }

    /// Returns how many system calls could have failed so far: see [`Faults::fails`].
    #[must_use]
    pub fn syscalls(&self) -> u64 {
        self.table.borrow().faults.syscalls()
    }

    /// Makes two connected stream sockets, as `socketpair(2)` does.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn pair(&self) -> io::Result<(Fd, Fd)> {
        self.make_two(|table| table.connected(Kind::Pair))
    }

    /// Makes a pipe, and returns its reading and its writing end.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn pipe(&self) -> io::Result<(Fd, Fd)> {
        self.make_two(Table::pipe)
    }

    /// Makes two connected TCP sockets.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn tcp(&self) -> io::Result<(Fd, Fd)> {
        self.make_two(|table| table.connected(Kind::Tcp))
    }

    /// Makes two connected datagram sockets.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn datagrams(&self) -> io::Result<(Fd, Fd)> {
        self.make_two(|table| {
            let one = table.add(Body::Datagrams(Datagrams::default()));
            let two = table.add(Body::Datagrams(Datagrams::to(one)));
            table.datagrams(one).peer = Some(two);
            (one, two)
        })
    }

    /// Makes a TCP socket that is not connected.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn unconnected(&self) -> io::Result<Fd> {
        self.make_one(|table| Ok(table.add(Body::Endpoint(Endpoint::new(Kind::Tcp)))))
    }

    /// Makes a TCP listener with room for `backlog` connections. Port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `EADDRINUSE`.
    pub fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Fd> {
        self.make_one(|table| {
            let addr = table.bind(addr)?;
            let file = table.add(Body::Listener(Listener::new(addr, backlog)));
            table.bound.insert(addr, file);
            Ok(file)
        })
    }

    /// Begins to connect to `addr`. The poller reports the end of the attempt.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<Fd> {
        self.make_one(|table| Ok(table.connect(addr)))
    }

    /// Makes a regular file with this content, which cannot be polled.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn file(&self, content: &[u8]) -> io::Result<Fd> {
        let content = content.to_vec();
        self.make_one(|table| Ok(table.add(Body::Regular { content, at: 0 })))
    }

    /// Makes a timer, as `timerfd_create(2)` does: see [`Fd::set_timer`].
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn timer(&self) -> io::Result<Fd> {
        self.make_one(|table| Ok(table.add(Body::Timer { due_ns: None })))
    }

    /// Makes a counter, as `eventfd(2)` does, which is readable while it is not zero.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn notifier(&self) -> io::Result<Fd> {
        self.make_one(|table| Ok(table.add(Body::Notifier { count: 0 })))
    }

    /// Stops the time until the guard is dropped. A wait without events then waits in real time for a
    /// notification by another thread: see [`Kernel::set_real_timeout`].
    #[must_use = "dropping the guard lets the time move again"]
    pub fn pause_time(&self) -> PauseGuard {
        self.table.borrow_mut().pauses += 1;
        PauseGuard {
            kernel: self.clone(),
        }
    }

    fn make_one(&self, make: impl FnOnce(&mut Table) -> io::Result<u64>) -> io::Result<Fd> {
        let mut table = self.table.borrow_mut();
        table.faults.count_call()?;
        table.check_limit(1)?;
        let file = make(&mut table)?;
        Ok(Fd::new(self, table.assign_number(file)))
    }

    fn make_two(&self, make: impl FnOnce(&mut Table) -> (u64, u64)) -> io::Result<(Fd, Fd)> {
        let mut table = self.table.borrow_mut();
        table.faults.count_call()?;
        table.check_limit(2)?;
        let (one, two) = make(&mut table);
        let numbers = (table.assign_number(one), table.assign_number(two));
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

/// Stops the time of a kernel until it is dropped. See [`Kernel::pause_time`].
#[derive(Debug)]
pub struct PauseGuard {
    kernel: Kernel,
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        self.kernel.table.borrow_mut().pauses -= 1;
    }
}

/// Makes the error with this `errno`.
fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
