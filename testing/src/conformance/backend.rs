//! What a poller stands on, as the promises need it: the kernel whose descriptors it watches, and what a
//! promise does with one of them.
//!
//! A promise asks for a pipe without knowing which kernel makes it. So it is written once, for the system,
//! for the kernel in memory, and for any other. This is more than a loop asks of a kernel
//! ([`VirtualKernel`](readily::spi::VirtualKernel)): tests do to descriptors what programs do not. What has to
//! succeed panics here otherwise, with the line of the promise.
//!
//! Not in the notes; it is "what the operating system offers" of N2, from a test's side.

use readily::clock::Clock;
use readily::spi::FdRef;
use std::any::Any;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::RawFd;

/// A kernel that makes descriptors of every kind. None of them ever waits.
///
/// There are two: [`SystemBackend`](super::SystemBackend), and the
/// [`Kernel`](crate::sim::Kernel) in memory. A third is written by whoever has a kernel
/// of his own; his poller is then tried on `Fixture::on(his_kernel, his_poller)`.
///
/// # Examples
///
/// ```
/// use readily_testing::Kernel;
/// use readily_testing::conformance::{Backend, SystemBackend};
///
/// let grounds: [&dyn Backend; 2] = [&SystemBackend, &Kernel::new()];
/// for ground in grounds {
///     let (reader, writer) = ground.pipe()?;
///     writer.put(b"a");
///     assert_eq!(reader.take(1), b"a");
///     assert!(reader.read(&mut [0]).is_err(), "there is no more, and it does not wait");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[allow(clippy::missing_errors_doc)] // each fails as the system's call does
pub trait Backend {
    /// Two connected stream sockets.
    fn pair(&self) -> io::Result<(TestFd, TestFd)>;

    /// A pipe: its reading and its writing end.
    fn pipe(&self) -> io::Result<(TestFd, TestFd)>;

    /// A TCP listener, and its address.
    fn listener(&self) -> io::Result<(TestFd, SocketAddr)>;

    /// A TCP socket that has begun to connect.
    fn connect(&self, addr: SocketAddr) -> io::Result<TestFd>;

    /// Two connected TCP sockets: who connected, and who was accepted.
    fn tcp(&self) -> io::Result<(TestFd, TestFd)> {
        let (listener, addr) = self.listener()?;
        let client = self.connect(addr)?;
        Ok((client, listener.accept()?))
    }

    /// Two connected datagram sockets, the second of which is to be closed first.
    fn datagrams(&self) -> io::Result<(TestFd, TestFd)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A TCP socket that has not been connected.
    fn unconnected(&self) -> io::Result<TestFd>;

    /// What pollers refuse: a regular file, and where there is one a directory.
    fn unpollable(&self) -> io::Result<Vec<TestFd>>;

    /// A number that leads nowhere, and that nobody else will use, for
    /// [`TestFd::renumbered`].
    fn free_number(&self) -> RawFd;

    /// Allows a thousand descriptors, where fewer are usual.
    fn allow_many(&self) -> io::Result<()> {
        Ok(())
    }

    /// The clock by which waits of its pollers last.
    fn clock(&self) -> Box<dyn Clock>;

    /// Holds the time still for as long as the guard lives, where it would go on by itself when
    /// nothing is ready: so that what comes from another thread is waited for.
    fn hold(&self) -> Box<dyn Any> {
        Box::new(())
    }

    /// Whether it is the system's own, with processes and devices.
    fn is_the_systems(&self) -> bool {
        false
    }
}

/// A descriptor of a [`Backend`], closed when it is dropped.
#[allow(clippy::missing_errors_doc)] // each fails as the system's call does
pub trait BackendFd: fmt::Debug {
    /// It, for the operations that programs use too.
    fn any(&self) -> FdRef<'_>;

    /// Accepts a connection.
    fn accept(&self) -> io::Result<TestFd>;

    /// Another descriptor for the same open file (`dup(2)`).
    fn duplicate(&self) -> io::Result<TestFd>;

    /// Another descriptor for the same open file, under this number, which is free.
    fn renumbered(&self, number: RawFd) -> io::Result<TestFd>;

    /// Closes a connection with a reset instead of an end.
    fn reset(self: Box<Self>) -> io::Result<()>;

    /// Sends one byte out of band.
    fn send_urgent(&self) -> io::Result<()>;
}

/// An open descriptor of any kernel, closed when it is dropped. Nothing done with it ever waits.
///
/// # Panics
///
/// All methods that return no `Result`, where the kernel refuses.
#[derive(Debug)]
pub struct TestFd(Box<dyn BackendFd>);

impl TestFd {
    /// Of a descriptor, which is non-blocking.
    #[must_use]
    pub fn new(fd: impl BackendFd + 'static) -> Self {
        Self(Box::new(fd))
    }

    /// It, borrowed, for operations that are not here.
    #[must_use]
    pub fn any(&self) -> FdRef<'_> {
        self.0.any()
    }

    /// Its number, by which pollers know it.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.any().raw()
    }

    /// Another descriptor for the same open file.
    #[must_use]
    #[track_caller]
    pub fn duplicate(&self) -> Self {
        self.0.duplicate().expect("there is a number left")
    }

    /// Another descriptor for the same open file, under this number, which is free: see
    /// [`Fixture::free_number`](super::Fixture::free_number).
    #[must_use]
    #[track_caller]
    pub fn renumbered(&self, number: RawFd) -> Self {
        let made = self.0.renumbered(number);
        made.expect("the number is free, and not beyond the limit")
    }

    /// Accepts a connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none.
    pub fn accept(&self) -> io::Result<Self> {
        self.0.accept()
    }

    /// Writes all of `bytes`, for which there is room.
    #[track_caller]
    pub fn put(&self, bytes: &[u8]) {
        let n = self.write(bytes).expect("there is room to write");
        assert_eq!(n, bytes.len(), "there is room for all of it");
    }

    /// Reads `len` bytes, which are there.
    #[track_caller]
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let n = self.read(&mut bytes).expect("there is something to read");
        assert_eq!(n, len, "all of it is there");
        bytes
    }

    /// Whether a read finds the end.
    #[must_use]
    #[track_caller]
    pub fn is_at_its_end(&self) -> bool {
        self.read(&mut [0]).expect("a read does not fail") == 0
    }

    /// Reads once.
    ///
    /// # Errors
    ///
    /// As `read(2)`; `WouldBlock` if there is nothing.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.any().read(buffer)
    }

    /// Writes once.
    ///
    /// # Errors
    ///
    /// As `write(2)`; `WouldBlock` if there is no room.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.any().write(bytes)
    }

    /// Reads until `WouldBlock` or the end, and says how much that was.
    pub fn drain(&self) -> usize {
        let (mut buffer, mut sum) = (vec![0; 65_536], 0);
        while let Ok(n @ 1..) = self.read(&mut buffer) {
            sum += n;
        }
        sum
    }

    /// Writes until `WouldBlock`, and says how much that was.
    pub fn fill(&self) -> usize {
        let (bytes, mut sum) = (vec![0; 65_536], 0);
        while let Ok(n @ 1..) = self.write(&bytes) {
            sum += n;
        }
        sum
    }

    /// Shuts one or both directions down.
    #[track_caller]
    pub fn shutdown(&self, how: Shutdown) {
        self.any().shutdown(how).expect("it is connected");
    }

    /// Takes the pending error of a socket.
    #[must_use]
    #[track_caller]
    pub fn take_error(&self) -> Option<io::Error> {
        self.any().take_error().expect("it is a socket")
    }

    /// Whether a socket has a peer.
    #[must_use]
    #[track_caller]
    pub fn is_connected(&self) -> bool {
        self.any().is_connected().expect("it is a socket")
    }

    /// Closes a connection with a reset instead of an end.
    #[track_caller]
    pub fn reset(self) {
        self.0.reset().expect("it is a socket");
    }

    /// Sends one byte out of band.
    #[track_caller]
    pub fn send_urgent(&self) {
        self.0.send_urgent().expect("the peer is there");
    }
}
