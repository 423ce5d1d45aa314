//! A socket of the system or of another kernel, for the coroutine layer.
//!
//! The system's calls read and write, and the standard library's types return addresses and set options
//! ([`with_std`]); a descriptor of another kernel (one in memory, for example) does the same. The loop on
//! which a socket is made decides which of the two it is, and the code above [`Socket`] does not see the
//! difference.

use super::watched::Io;
use crate::event_loop::{BACKLOG, Error, FdState, WeakHandle, listen_tcp};
use crate::poll::{FdOwned, FdRef, VirtualFd, VirtualKernel};
use readily_sys::socket::datagram::{self, Datagram};
use readily_sys::socket::{self, Kind, local, pass_fds};
use readily_sys::{SocketAddress, StdSocket, with_std};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{self, Shutdown, SocketAddr};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// A socket of either kernel, of any kind.
#[derive(Debug)]
pub(super) enum Socket {
    System(OwnedFd),
    Virtual(Rc<dyn VirtualFd>),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd_ref().as_fd()
    }
}

impl Io for Socket {
    fn fd_ref(&self) -> FdRef<'_> {
        match self {
            Self::System(socket) => FdRef::System(socket.as_fd()),
            Self::Virtual(fd) => FdRef::Virtual(&**fd),
        }
    }
}

impl Socket {
    /// What is known of a socket that the loop has not made: no operation on a descriptor of another
    /// kernel ever waits.
    pub(super) fn fd_state(&self) -> FdState {
        match self {
            Self::System(_) => FdState::Unknown,
            Self::Virtual(_) => FdState::NonBlocking,
        }
    }

    /// The system's socket; `None` if it is another kernel's.
    pub(super) fn into_system(self) -> Option<OwnedFd> {
        match self {
            Self::System(socket) => Some(socket),
            Self::Virtual(_) => None,
        }
    }

    /// For a socket that the loop has not made.
    pub(super) fn check_stream(&self) -> io::Result<()> {
        let fd = self.fd_ref();
        match fd.kind() {
            Kind::Stream => Ok(()),
            _ => Err(Error::NotStream { fd: fd.raw() }.into_io()),
        }
    }

    /// Calls the system directly, because the standard library's call is not inlined.
    #[inline]
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::recv(fd.as_fd(), buffer),
            Self::Virtual(fd) => fd.read(buffer),
        }
    }

    pub(super) fn read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::recv_uninit(fd.as_fd(), buffer),
            Self::Virtual(fd) => {
                let mut bytes = vec![0; buffer.len()];
                let n = fd.read(&mut bytes)?;
                for (to, from) in buffer.iter_mut().zip(&bytes[..n]) {
                    to.write(*from);
                }
                Ok(n)
            }
        }
    }

    pub(super) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::recv_vectored(fd.as_fd(), buffers),
            Self::Virtual(fd) => fd.read_vectored(buffers),
        }
    }

    /// The least that a transfer of these buffers moves if the kernel has as much: the system looks at
    /// the first [`IOV_MAX`](socket::IOV_MAX) of them, and another kernel perhaps only at one.
    pub(super) fn room(&self, buffers: &[impl Deref<Target = [u8]>]) -> usize {
        let mut lens = buffers.iter().map(|buffer| buffer.len());
        match self {
            Self::System(_) => lens.take(socket::IOV_MAX).sum(),
            Self::Virtual(_) => lens.find(|len| *len > 0).unwrap_or(0),
        }
    }

    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::recv_peek(fd.as_fd(), buffer),
            Self::Virtual(fd) => fd.read_peek(buffer),
        }
    }

    pub(super) fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::send_vectored(fd.as_fd(), buffers),
            Self::Virtual(fd) => fd.write_vectored(buffers),
        }
    }

    #[inline]
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::System(fd) => socket::send(fd.as_fd(), bytes),
            Self::Virtual(fd) => fd.write(bytes),
        }
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.fd_ref().take_error()
    }

    pub(super) fn is_connected(&self) -> io::Result<bool> {
        self.fd_ref().is_connected()
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.fd_ref().shutdown(how)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd_ref().local_addr()
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.fd_ref().peer_addr()
    }

    pub(super) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::System(fd) => {
                with_std(fd.as_fd(), |tcp: &net::TcpStream| tcp.set_nodelay(nodelay))
            }
            Self::Virtual(fd) => fd.set_nodelay(nodelay),
        }
    }

    /// The system's descriptor, for what another kernel does not have.
    fn system(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::System(fd) => Ok(fd.as_fd()),
            Self::Virtual(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The socket as the standard library's, for its addresses and options.
    pub(super) fn with_std<S: StdSocket, R>(
        &self,
        operation: impl FnOnce(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        with_std(self.system()?, operation)
    }

    pub(super) fn peer_cred(&self) -> io::Result<local::PeerCred> {
        local::peer_cred(self.system()?)
    }

    pub(super) fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        pass_fds::send_fds(self.system()?, bytes, fds)
    }

    pub(super) fn recv_fds(
        &self,
        buffer: &mut [u8],
        limit: usize,
    ) -> io::Result<pass_fds::Received> {
        pass_fds::recv_fds(self.system()?, buffer, limit)
    }

    pub(super) fn recv_datagram<A: SocketAddress>(
        &self,
        buffer: &mut [u8],
        keep: bool,
    ) -> io::Result<Datagram<A>> {
        datagram::recv(self.system()?, buffer, keep)
    }

    pub(super) fn send_datagram<A: SocketAddress>(
        &self,
        bytes: &[u8],
        to: &A,
    ) -> io::Result<usize> {
        datagram::send_to(self.system()?, bytes, to)
    }

    /// For a socket that the loop has not made.
    pub(super) fn check_datagram(&self) -> io::Result<()> {
        let fd = self.fd_ref();
        match fd.kind() {
            Kind::Datagram => Ok(()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// For a socket that the loop has not made.
    pub(super) fn check_listening(&self) -> io::Result<()> {
        let fd = self.fd_ref();
        match fd.kind() {
            Kind::Listener => Ok(()),
            _ => Err(Error::NotListening { fd: fd.raw() }.into_io()),
        }
    }

    /// A connection, and the address of its peer, if that is one of the internet.
    pub(super) fn accept(&self) -> io::Result<(Self, Option<SocketAddr>)> {
        Ok(match self.fd_ref().accept()? {
            (FdOwned::System(fd), peer) => (Self::System(fd), peer),
            (FdOwned::Virtual(fd), peer) => (Self::Virtual(fd), peer),
        })
    }
}

/// The kernel of the loop that runs here; `None` where that is the system's.
pub(super) fn kernel() -> Option<Rc<dyn VirtualKernel>> {
    let here = WeakHandle::current()?;
    here.with(|handle| handle.kernel().cloned()).flatten()
}

/// The system's socket as the loop that runs here has it: see [`VirtualKernel::import`].
pub(super) fn import(socket: impl Into<OwnedFd>) -> Socket {
    let Some(kernel) = kernel() else {
        return Socket::System(socket.into());
    };
    match kernel.import(socket.into()) {
        Ok(fd) => Socket::Virtual(fd),
        Err(fd) => Socket::System(fd),
    }
}

/// The system's socket for a loop on the system's kernel: only that has paths, abstract names and datagrams.
pub(super) fn of_the_system(make: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Socket> {
    match kernel() {
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
        None => make().map(Socket::System),
    }
}

/// Two streams that are connected to each other, on the kernel of the loop that runs here.
pub(super) fn pair() -> io::Result<(Socket, Socket)> {
    if let Some(kernel) = kernel() {
        match kernel.pair() {
            // One that watches the system's sockets may have none of its own.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            made => return made.map(|(one, other)| (Socket::Virtual(one), Socket::Virtual(other))),
        }
    }
    let (one, other) = local::stream_pair()?;
    Ok((import(one), import(other)))
}

/// Begins to connect, on the kernel of the loop that runs here.
pub(super) fn connect(addr: SocketAddr) -> io::Result<Socket> {
    match kernel() {
        Some(kernel) => Ok(Socket::Virtual(kernel.connect(addr)?)),
        None => Ok(Socket::System(socket::connect_tcp(&addr)?)),
    }
}

/// Listens, on the kernel of the loop that runs here.
pub(super) fn listen(addr: SocketAddr) -> io::Result<Socket> {
    match kernel() {
        Some(kernel) => {
            let backlog = usize::try_from(BACKLOG).unwrap_or(1);
            Ok(Socket::Virtual(kernel.listen(addr, backlog)?))
        }
        None => Ok(Socket::System(listen_tcp(addr)?.into())),
    }
}
