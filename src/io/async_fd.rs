//! Anything with a descriptor, for coroutines.
//!
//! In asyncio a program has `add_reader` for this, and a future of its own.

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

/// Any value with a descriptor, for coroutines: waits, and operations that wait. Several tasks may wait at once, in both
/// directions; each is woken, and tries.
///
/// [`Async::io`], and [`Async::read_with`] and [`Async::write_with`] for one direction each, wait and try in one call.
/// To do the two separately, wait with [`Async::readable`] and try with [`Async::try_io`], which sees a `WouldBlock`.
/// What can be read and written by reference, as [`std::fs::File`] and [`std::os::unix::net::UnixStream`] can, has
/// [`read`](Async::read) and [`write`](Async::write), and works below [`BufReader`](super::BufReader),
/// [`BufWriter`](super::BufWriter) and [`copy`](super::copy()). An `Async` dereferences to the wrapped value, whose own
/// operations it does not see; after one of those the next wait asks the kernel, which is one system call more.
///
/// # `O_NONBLOCK`
///
/// The descriptor is made non-blocking until the `Async` is dropped. If it was blocking, `O_NONBLOCK` is
/// cleared then: a duplicate that is used on must set it again. A file that was non-blocking before is left
/// alone ([`LoopHandle::register`](crate::LoopHandle::register)). Each operation of an `Async` checks the flag
/// first, because another process that shares the open file may clear it. An
/// operation through the dereferenced value relies on the flag, and may block the loop if it was cleared.
///
/// # Files that are always ready
///
/// Regular files, directories, disks, and devices such as `/dev/null` have no readiness to wait for. They are not
/// registered, and their `O_NONBLOCK` is not touched: [`is_always_ready`](Async::is_always_ready) returns true,
/// each wait ends at once, and each operation runs at once. After [`BUDGET`](crate::task::BUDGET) operations the task
/// yields, and a read or write transfers at most 64 KiB, so that a task which reads a large file leaves other
/// tasks their turn. An operation on a disk or a network file system may block the whole loop all the same, until the
/// device answers: for large files, use [`run_blocking`](crate::run_blocking).
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
    /// Registers `io` with the loop that is running here, and makes it non-blocking; unless it is always ready.
    ///
    /// # Errors
    ///
    /// `io::Error` around an [`Error`](crate::Error), with its [kind](crate::Error::kind): no loop is running
    /// here ([`NoLoop`](crate::Error::NoLoop)), the descriptor is registered already
    /// ([`AlreadyRegistered`](crate::Error::AlreadyRegistered)), is not open
    /// ([`BadDescriptor`](crate::Error::BadDescriptor)), or is a socket without a connection that was begun
    /// ([`NotConnected`](crate::Error::NotConnected)). `io` is dropped.
    #[track_caller]
    pub fn new(io: T) -> io::Result<Self> {
        let source = Pollable::new(System(io), FdState::Unknown, Location::caller())?;
        Ok(Self { source })
    }

    /// The wrapped value, whose own operations are not seen here: see [`Async::try_io`].
    pub fn get_ref(&self) -> &T {
        &self.source.0
    }

    /// Whether no operation ever waits: this is a regular file, a directory, a disk, or a device such as `/dev/null`.
    /// See [above](Async#files-that-are-always-ready).
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
    /// A report since the last wait or operation ends this wait at once. Without one, and if no
    /// `WouldBlock` was seen since, the kernel is asked: so after another wait, this one ends at once
    /// as long as there is something to read.
    ///
    /// # Errors
    ///
    /// If the loop has been closed ([`Error::Closed`](crate::Error::Closed)), or is another than the one that runs
    /// here ([`Error::OtherLoop`](crate::Error::OtherLoop)).
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

    /// Polls for a read being worth trying, as [`Async::readable`]. Of several tasks that poll, the one that polled last
    /// is woken.
    ///
    /// # Errors
    ///
    /// As [`Async::readable`].
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source.poll_ready(cx, Direction::Read)
    }

    /// Polls for a write being worth trying, as [`Async::poll_readable`] does for a read.
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
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost, as there.
    pub async fn read_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Read, operation).await
    }

    /// Runs an operation that writes, as [`Async::io`] with [`Direction::Write`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost, as there.
    pub async fn write_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.io(Direction::Write, operation).await
    }

    /// Runs `operation` until it gives something other than `WouldBlock` (or `Interrupted`),
    /// waiting before each try until it is worth trying, as [`Async::readable`] does. In a row
    /// of calls, each but the first asks the kernel. To take all that has come, [`Async::try_io`] is
    /// cheaper. `operation` may also loop by itself, and return `Ok` once it has met `WouldBlock`.
    /// `O_NONBLOCK` is checked before each run, as [`Async::try_io`] does.
    ///
    /// On a file that is always ready, `operation` runs once, and its `WouldBlock` is the result.
    ///
    /// # Errors
    ///
    /// What `operation` gives, that of `fcntl(2)`, or as [`Async::readable`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: `operation` has either run to its end, and this has returned, or it
    /// has done nothing.
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

    /// Runs `operation` now, without waiting; again only if a signal interrupted it (`Interrupted`).
    /// After a `WouldBlock` the next wait lasts until the kernel reports something new.
    ///
    /// `O_NONBLOCK` is checked before each run, and set again if another process has cleared it. It is restored
    /// when the registration ends ([`Async`]); after the loop was closed it is not checked.
    ///
    /// # Errors
    ///
    /// The error of `operation`, or that of `fcntl(2)`; or the system's error if the poller must rearm after a `WouldBlock`
    /// ([`rearm_interest`](crate::spi::rearm_interest)) and cannot.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let operation = |System(io): &System<T>| self.operate(io, &mut operation);
        self.source.try_io(direction, operation)
    }

    /// Runs an operation of the user's, which would wait if the shared open file was made blocking (R130).
    /// Where nothing is registered, and after the registration, the flag is not the loop's.
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

/// Operations on the thing itself are not seen here: see [`Async::try_io`].
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
