//! Any value with a descriptor, for coroutines.
//!
//! In asyncio a program uses `add_reader` and a Future for this.

use super::pollable::Pollable;
use super::watched::{Direction, Io};
use crate::event_loop::FdState;
use crate::poll::FdRef;
use readily_sys::nonblocking;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::panic::Location;
use std::task::{Context, Poll};

/// A descriptor of the system.
pub(super) struct System<T>(pub(super) T);

impl<T: AsFd + 'static> Io for System<T> {
    fn fd_ref(&self) -> FdRef<'_> {
        FdRef::System(self.0.as_fd())
    }
}

/// Any value with a descriptor, for coroutines: waits until it is ready, and runs operations on it.
///
/// Several tasks may wait at once, for reading and for writing; an event wakes all that wait for its direction, and
/// each tries its operation again.
///
/// - [`Async::io`], and [`Async::read_with`] and [`Async::write_with`] for one direction each, wait and run an
///   operation in one call.
/// - To wait and to run the operation in two calls, use [`Async::readable`] or [`Async::writable`], and then
///   [`Async::try_io`], which notes a `WouldBlock` of the operation.
/// - If references to the value implement [`Read`](std::io::Read) or [`Write`](std::io::Write), as those to
///   [`std::fs::File`] and [`std::os::unix::net::UnixStream`] do, the `Async` has [`read`](Async::read) and
///   [`write`](Async::write), and can be used with [`BufReader`](super::BufReader),
///   [`BufWriter`](super::BufWriter) and [`copy`](super::copy()).
///
/// An `Async` dereferences to the wrapped value. It does not notice a `WouldBlock` of the operations that are called
/// on that value directly; the next wait then asks the kernel, which is one more system call.
///
/// # `O_NONBLOCK`
///
/// The descriptor is made non-blocking until the `Async` is dropped. If it was blocking, `O_NONBLOCK` is
/// cleared then: code that goes on using a duplicate must set it again. A file that was non-blocking before stays
/// non-blocking ([`LoopHandle::register`](crate::LoopHandle::register)). Each operation of an `Async` checks the flag
/// first, because another process that shares the open file may clear it. An operation that is called on the
/// dereferenced value does not check it, and may block the loop if the flag was cleared.
///
/// # Files that are always ready
///
/// Regular files, directories, disks, and devices such as `/dev/null` have no readiness to wait for. They are not
/// registered, and their `O_NONBLOCK` is not touched: [`is_always_ready`](Async::is_always_ready) returns true, each
/// wait ends at once, and each operation runs at once. After [`BUDGET`](crate::task::BUDGET) operations the task
/// yields, and a read or write transfers at most 64 KiB, so that other tasks run while one task reads a large file.
/// But an operation on a disk or a network file system may block the whole loop until the device answers: for large
/// files, use [`run_blocking`](crate::run_blocking).
///
/// # Examples
///
/// ```
/// use readily::io::{Async, Direction};
/// use std::net::UdpSocket;
///
/// readily::run(async {
///     let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
///     let ours = Async::new(ours)?;
///     theirs.send_to(b"one", ours.local_addr()?)?;
///     let mut packet = [0; 16];
///     // Waits, tries, and waits again if it was a false alarm.
///     let n = ours.read_with(|socket| socket.recv(&mut packet)).await?;
///     assert_eq!(&packet[..n], b"one");
///     // Or one after the other: all that have come by now.
///     theirs.send_to(b"two", ours.local_addr()?)?;
///     theirs.send_to(b"three", ours.local_addr()?)?;
///     ours.readable().await?;
///     while let Ok(n) = ours.try_io(Direction::Read, |socket| socket.recv(&mut packet)) {
///         println!("{} bytes", n);
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "AsyncFd")]
#[doc(alias = "Source")]
pub struct Async<T: AsFd + 'static> {
    pub(super) source: Pollable<System<T>>,
}

impl<T: AsFd + 'static> Async<T> {
    /// Registers `io` with the current loop, and makes it non-blocking. A file that is
    /// [always ready](Async#files-that-are-always-ready) is neither registered nor changed.
    ///
    /// # Errors
    ///
    /// `io::Error` around an [`Error`](crate::Error), with its [kind](crate::Error::kind): no loop is running
    /// here ([`NoLoop`](crate::Error::NoLoop)), the descriptor is registered already
    /// ([`AlreadyRegistered`](crate::Error::AlreadyRegistered)), is not open or only names a file (`O_PATH`)
    /// ([`BadDescriptor`](crate::Error::BadDescriptor)), or is a stream socket that is neither connected nor connecting
    /// ([`NotConnected`](crate::Error::NotConnected)). `io` is dropped.
    #[track_caller]
    pub fn new(io: T) -> io::Result<Self> {
        let source = Pollable::new(System(io), FdState::Unknown, Location::caller())?;
        Ok(Self { source })
    }

    /// Returns the wrapped value. A `WouldBlock` of its own operations is not noticed here: use [`Async::try_io`].
    pub fn get_ref(&self) -> &T {
        &self.source.0
    }

    /// Whether this is a regular file, a directory, a disk, or a device such as `/dev/null`, whose operations never
    /// wait. See [above](Async#files-that-are-always-ready).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::Async;
    /// use std::fs::File;
    ///
    /// readily::run(async {
    ///     let file = Async::new(File::open("Cargo.toml")?)?;
    ///     assert!(file.is_always_ready());
    ///     let n = file.read(&mut [0; 64]).await?;
    ///     assert_eq!(n, 64);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_always_ready(&self) -> bool {
        self.source.is_always_ready()
    }

    /// Waits until a read is worth trying; the read may still return `WouldBlock`.
    ///
    /// If the kernel has reported the descriptor as readable since the last wait or operation, this wait ends at once.
    /// Otherwise, unless an operation has returned `WouldBlock` since, this asks the kernel. So after another
    /// wait, this one ends at once as long as there is something to read.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) if the loop has been closed;
    /// [`Error::OtherLoop`](crate::Error::OtherLoop) if the current loop is not the one of this `Async`.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        self.source.wait(Direction::Read).await
    }

    /// Waits until a write is worth trying, as [`Async::readable`] does for a read.
    ///
    /// # Errors
    ///
    /// As [`Async::readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        self.source.wait(Direction::Write).await
    }

    /// Polls whether a read is worth trying: [`Async::readable`] for code without `async`. Of several tasks that
    /// poll, only the one that polled last is woken.
    ///
    /// # Errors
    ///
    /// As [`Async::readable`].
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(cx, Direction::Read)
    }

    /// Polls whether a write is worth trying, as [`Async::poll_readable`] does for a read.
    ///
    /// # Errors
    ///
    /// As [`Async::readable`].
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(cx, Direction::Write)
    }

    /// Runs an operation that reads, as [`Async::io`] with [`Direction::Read`].
    ///
    /// # Errors
    ///
    /// As [`Async::io`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost, as by [`Async::io`].
    pub async fn read_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Read, operation).await
    }

    /// Runs an operation that writes, as [`Async::io`] with [`Direction::Write`].
    ///
    /// # Errors
    ///
    /// As [`Async::io`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost, as by [`Async::io`].
    pub async fn write_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Write, operation).await
    }

    /// Waits until `operation` is worth trying, as [`Async::readable`] does, and runs it. Repeats this until
    /// `operation` returns something other than `WouldBlock` or `Interrupted`.
    ///
    /// If this is called repeatedly, each call but the first asks the kernel. To receive everything that has arrived,
    /// [`Async::try_io`] is cheaper; or let `operation` loop by itself, and return `Ok` at the first `WouldBlock`.
    /// `O_NONBLOCK` is checked before each run, as in [`Async::try_io`].
    ///
    /// On a file that is always ready, `operation` runs once, and its `WouldBlock` is the result.
    ///
    /// # Errors
    ///
    /// The error of `operation`, or that of `fcntl(2)`; as [`Async::readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: either `operation` has succeeded and this has returned, or it was not run, or
    /// has returned `WouldBlock`.
    #[doc(alias = "sock_recvfrom")]
    #[doc(alias = "sock_sendto")]
    #[doc(alias = "async_io")]
    pub async fn io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let operation = |System(io): &System<T>| self.operate(io, &mut operation);
        self.source.io(direction, operation).await
    }

    /// Runs `operation` now, without waiting, and again if a signal has interrupted it (`Interrupted`).
    /// After a `WouldBlock` the next wait lasts until the kernel reports a new event.
    ///
    /// `O_NONBLOCK` is checked before each run, and set again if another process has cleared it. It is restored
    /// when the registration ends ([`Async`]); after the loop was closed it is not checked.
    ///
    /// # Errors
    ///
    /// The error of `operation`, or that of `fcntl(2)`. After a `WouldBlock` some pollers must arm the registration
    /// again ([`rearm_interest`](crate::spi::rearm_interest)): the system's error if that fails.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let operation = |System(io): &System<T>| self.operate(io, &mut operation);
        self.source.try_io(direction, operation)
    }

    /// Runs an operation of the program, after a check of `O_NONBLOCK`: if another process has cleared the flag, the
    /// operation would wait (R130). Without a registration the loop must not change the flag.
    pub(super) fn operate<R>(
        &self,
        io: &T,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.source.is_registered() {
            nonblocking::ensure(io.as_fd())?;
        }
        operation(io)
    }
}

/// A `WouldBlock` of the value's own operations is not noticed here: use [`Async::try_io`].
impl<T: AsFd + 'static> Deref for Async<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get_ref()
    }
}

impl<T: AsFd + fmt::Debug + 'static> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async")
            .field("io", &**self)
            .field("ready", &self.source.ready())
            .finish()
    }
}
