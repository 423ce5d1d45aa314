//! What a poller stands on: the kernel whose descriptors it watches, as the promises need it.
//!
//! A promise asks for a pipe and is not told whose it is. So it is written once, for the system,
//! for our kernel in memory, and for a kernel that neither is. This is more than a loop asks of
//! a kernel ([`VirtualKernel`](readily::poll::VirtualKernel)): tests do to descriptors what programs do not.

use super::End;
use readily::clock::Clock;
use readily::poll::FdRef;
use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

/// A kernel that makes descriptors of every kind. None of them ever waits.
///
/// There are two: [`TheSystem`](super::TheSystem), and the
/// [`Kernel`](crate::sim::Kernel) in memory. A third is written by whoever has a kernel
/// of his own; his poller is then tried on `World::on(his_kernel, his_poller)`.
///
/// # Examples
///
/// ```
/// use readily_testing::Kernel;
/// use readily_testing::conformance::{Ground, TheSystem};
///
/// let grounds: [&dyn Ground; 2] = [&TheSystem, &Kernel::new()];
/// for ground in grounds {
///     let (reader, writer) = ground.pipe()?;
///     writer.put(b"a");
///     assert_eq!(reader.take(1), b"a");
///     assert!(reader.read(&mut [0]).is_err(), "there is no more, and it does not wait");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[allow(clippy::missing_errors_doc)] // each fails as the system's call does
pub trait Ground {
    /// Two connected stream sockets.
    fn pair(&self) -> io::Result<(End, End)>;

    /// A pipe: its reading and its writing end.
    fn pipe(&self) -> io::Result<(End, End)>;

    /// A TCP listener, and its address.
    fn listener(&self) -> io::Result<(End, SocketAddr)>;

    /// A TCP socket that has begun to connect.
    fn connect(&self, addr: SocketAddr) -> io::Result<End>;

    /// Two connected TCP sockets: who connected, and who was accepted.
    fn tcp(&self) -> io::Result<(End, End)> {
        let (listener, addr) = self.listener()?;
        let client = self.connect(addr)?;
        Ok((client, listener.accept()?))
    }

    /// Two connected datagram sockets, the second of which is to be closed first.
    fn datagrams(&self) -> io::Result<(End, End)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A TCP socket that has not been connected.
    fn unconnected(&self) -> io::Result<End>;

    /// What pollers refuse: a regular file, and where there is one a directory.
    fn unpollable(&self) -> io::Result<Vec<End>>;

    /// A number that leads nowhere, and that nobody else will use, for
    /// [`End::renumbered`].
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

/// A descriptor of a [`Ground`], closed when it is dropped.
#[allow(clippy::missing_errors_doc)] // each fails as the system's call does
pub trait Descriptor: fmt::Debug {
    /// It, for the operations that programs use too.
    fn any(&self) -> FdRef<'_>;

    /// Accepts a connection.
    fn accept(&self) -> io::Result<End>;

    /// Another descriptor for the same open file (`dup(2)`).
    fn twin(&self) -> io::Result<End>;

    /// Another descriptor for the same open file, under this number, which is free.
    fn renumbered(&self, number: RawFd) -> io::Result<End>;

    /// Closes a connection with a reset instead of an end.
    fn reset(self: Box<Self>) -> io::Result<()>;

    /// Sends one byte out of band.
    fn send_urgent(&self) -> io::Result<()>;
}
