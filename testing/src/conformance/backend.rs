//! The kernel under a poller as the conformance tests use it: makes descriptors, and operates on them.
//!
//! A test asks for a pipe and does not know which kernel makes it. So each test is written once, for the
//! system, for the simulated kernel, and for any other. A backend has more operations than a loop needs of a
//! kernel ([`VirtualKernel`](readily::spi::VirtualKernel)), because tests do more with descriptors than
//! programs do. An operation that has to succeed panics on an error, with the line of the test.
//!
//! In the notes: "what the operating system offers" (N2).

use readily::clock::Clock;
use readily::spi::FdRef;
use std::any::Any;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::RawFd;

/// A kernel that makes non-blocking descriptors of every kind for the tests.
///
/// Implementations are [`SystemBackend`](super::SystemBackend) and the simulated
/// [`Kernel`](crate::Kernel). To test a poller over another kernel, implement this trait for that
/// kernel and use `Fixture::on(kernel, poller)`.
///
/// # Examples
///
/// ```
/// use readily_testing::Kernel;
/// use readily_testing::conformance::{Backend, SystemBackend};
///
/// let backends: [&dyn Backend; 2] = [&SystemBackend, &Kernel::new()];
/// for backend in backends {
///     let (reader, writer) = backend.pipe()?;
///     writer.put(b"a");
///     assert_eq!(reader.take(1), b"a");
///     assert!(reader.read(&mut [0]).is_err(), "no byte is left, and a read does not block");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[allow(clippy::missing_errors_doc)] // each fails as the system's call does
pub trait Backend {
    /// Makes two connected stream sockets.
    fn pair(&self) -> io::Result<(TestFd, TestFd)>;

    /// Makes a pipe: the end for reading and the end for writing.
    fn pipe(&self) -> io::Result<(TestFd, TestFd)>;

    /// Makes a TCP listener, and returns its address too.
    fn listener(&self) -> io::Result<(TestFd, SocketAddr)>;

    /// Makes a TCP socket that has begun to connect.
    fn connect(&self, addr: SocketAddr) -> io::Result<TestFd>;

    /// Makes two connected TCP sockets: the client, and the accepted one.
    fn tcp(&self) -> io::Result<(TestFd, TestFd)> {
        let (listener, addr) = self.listener()?;
        let client = self.connect(addr)?;
        Ok((client, listener.accept()?))
    }

    /// Makes two connected datagram sockets, the second of which must be closed first.
    fn datagrams(&self) -> io::Result<(TestFd, TestFd)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes a TCP socket that has not been connected.
    fn unconnected(&self) -> io::Result<TestFd>;

    /// Opens files that pollers refuse: a regular file and, if the kernel has one, a directory.
    fn unpollable(&self) -> io::Result<Vec<TestFd>>;

    /// Returns a closed descriptor number that no other test uses, for [`TestFd::renumbered`].
    fn free_number(&self) -> RawFd;

    /// Raises the limit of open descriptors to a thousand, if it is lower.
    fn allow_many(&self) -> io::Result<()> {
        Ok(())
    }

    /// The clock of the pollers' timeouts.
    fn clock(&self) -> Box<dyn Clock>;

    /// Stops virtual time until the returned guard is dropped. Otherwise it advances when nothing is
    /// ready, and a wait would end before another thread can notify the poller.
    fn hold(&self) -> Box<dyn Any> {
        Box::new(())
    }

    /// Whether this is the system's kernel, with processes and devices.
    fn is_the_systems(&self) -> bool {
        false
    }
}

/// A descriptor of a [`Backend`], closed when it is dropped.
#[allow(clippy::missing_errors_doc)] // each fails as the system's call does
pub trait BackendFd: fmt::Debug {
    /// Borrows the descriptor for the operations that programs use.
    fn any(&self) -> FdRef<'_>;

    /// Accepts a connection.
    fn accept(&self) -> io::Result<TestFd>;

    /// Makes another descriptor of the same open file (`dup(2)`).
    fn duplicate(&self) -> io::Result<TestFd>;

    /// Makes another descriptor of the same open file with this number, which must be free.
    fn renumbered(&self, number: RawFd) -> io::Result<TestFd>;

    /// Closes a connection with a reset instead of an end of file.
    fn reset(self: Box<Self>) -> io::Result<()>;

    /// Sends one byte of urgent data.
    fn send_urgent(&self) -> io::Result<()>;
}

/// A non-blocking descriptor of any kernel, closed when it is dropped.
///
/// # Panics
///
/// All methods that return no `Result` panic if the kernel returns an error.
#[derive(Debug)]
pub struct TestFd(Box<dyn BackendFd>);

impl TestFd {
    /// Makes a `TestFd` of a non-blocking descriptor.
    #[must_use]
    pub fn new(fd: impl BackendFd + 'static) -> Self {
        Self(Box::new(fd))
    }

    /// Borrows the descriptor, for operations that `TestFd` does not have.
    #[must_use]
    pub fn any(&self) -> FdRef<'_> {
        self.0.any()
    }

    /// The number of the descriptor, which pollers use.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.any().raw()
    }

    /// Makes another descriptor of the same open file.
    #[must_use]
    #[track_caller]
    pub fn duplicate(&self) -> Self {
        self.0.duplicate().expect("a descriptor number is free")
    }

    /// Makes another descriptor of the same open file with this number, which must be free: see
    /// [`Fixture::free_number`](super::Fixture::free_number).
    #[must_use]
    #[track_caller]
    pub fn renumbered(&self, number: RawFd) -> Self {
        let made = self.0.renumbered(number);
        made.expect("the number is free and below the limit")
    }

    /// Accepts a connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no connection is waiting.
    pub fn accept(&self) -> io::Result<Self> {
        self.0.accept()
    }

    /// Writes all of `bytes` in one call.
    #[track_caller]
    pub fn put(&self, bytes: &[u8]) {
        let n = self.write(bytes).expect("the buffer has room");
        assert_eq!(n, bytes.len(), "the buffer has room for all bytes");
    }

    /// Reads `len` bytes in one call.
    #[track_caller]
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let n = self.read(&mut bytes).expect("bytes have arrived");
        assert_eq!(n, len, "all bytes have arrived");
        bytes
    }

    /// Whether a read returns the end of file.
    #[must_use]
    #[track_caller]
    pub fn is_at_its_end(&self) -> bool {
        self.read(&mut [0]).expect("a read does not fail") == 0
    }

    /// Reads once.
    ///
    /// # Errors
    ///
    /// As `read(2)`; `WouldBlock` if no byte has arrived.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.any().read(buffer)
    }

    /// Writes once.
    ///
    /// # Errors
    ///
    /// As `write(2)`; `WouldBlock` if the buffer is full.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.any().write(bytes)
    }

    /// Reads until `WouldBlock` or the end of file, and returns the count of bytes.
    pub fn drain(&self) -> usize {
        let (mut buffer, mut sum) = (vec![0; 65_536], 0);
        while let Ok(n @ 1..) = self.read(&mut buffer) {
            sum += n;
        }
        sum
    }

    /// Writes until `WouldBlock`, and returns the count of bytes.
    pub fn fill(&self) -> usize {
        let (bytes, mut sum) = (vec![0; 65_536], 0);
        while let Ok(n @ 1..) = self.write(&bytes) {
            sum += n;
        }
        sum
    }

    /// Shuts down one or both directions of a socket.
    #[track_caller]
    pub fn shutdown(&self, how: Shutdown) {
        self.any().shutdown(how).expect("the socket is connected");
    }

    /// Takes the pending error of a socket.
    #[must_use]
    #[track_caller]
    pub fn take_error(&self) -> Option<io::Error> {
        self.any().take_error().expect("the descriptor is a socket")
    }

    /// Whether a socket has a peer.
    #[must_use]
    #[track_caller]
    pub fn is_connected(&self) -> bool {
        self.any()
            .is_connected()
            .expect("the descriptor is a socket")
    }

    /// Closes a connection with a reset instead of an end of file.
    #[track_caller]
    pub fn reset(self) {
        self.0.reset().expect("the descriptor is a socket");
    }

    /// Sends one byte of urgent data.
    #[track_caller]
    pub fn send_urgent(&self) {
        self.0.send_urgent().expect("the socket is connected");
    }
}
