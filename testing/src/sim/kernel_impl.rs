//! The kernel in memory behind the seam where operations meet their kernel, and as a test inspects it.
//!
//! Nothing is decided here: each method of the seam hands on to the one of its name. A test that knows what
//! holds of a descriptor can tell whether a poller's report was true. An inspection changes nothing: no
//! report and no random choice.
//!
//! In the notes it is one more thing that the selector stands on (N2).

use super::open_files::Body;
use super::streams::State;
use super::{Faults, Fd, Kernel, os, watch_list};
use readily::Readiness;
use readily::event_loop::Descriptor;
use readily::io::TcpStream;
use readily::spi::{VirtualFd, VirtualKernel};
use readily_sys::errno::EBADF;
use readily_sys::socket;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;

impl Fd {
    /// Makes a stream of this end of a connection, on the loop that runs here: see
    /// [`TcpStream::from_kernel`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::from_kernel`].
    #[track_caller]
    pub fn into_stream(self) -> io::Result<TcpStream> {
        TcpStream::from_kernel(Rc::new(self))
    }

    /// Returns this descriptor as a loop registers it, for a callback or a test that goes on using it.
    #[must_use]
    pub fn shared(self: &Rc<Self>) -> Rc<dyn VirtualFd> {
        Rc::clone(self) as Rc<dyn VirtualFd>
    }
}

impl From<Fd> for Descriptor {
    fn from(fd: Fd) -> Self {
        let fd: Rc<dyn VirtualFd> = Rc::new(fd);
        fd.into()
    }
}

impl VirtualKernel for Kernel {
    fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Rc<dyn VirtualFd>> {
        Ok(Rc::new(Kernel::listen(self, addr, backlog)?))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>> {
        Ok(Rc::new(Kernel::connect(self, addr)?))
    }

    fn identity(&self) -> Option<usize> {
        Some(Rc::as_ptr(&self.table).addr())
    }
}

impl VirtualFd for Fd {
    fn raw(&self) -> RawFd {
        Fd::number(self)
    }

    fn kernel_identity(&self) -> Option<usize> {
        self.kernel().identity()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.placeholder()
    }

    fn kind(&self) -> socket::Kind {
        Fd::kind(self)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Fd::read(self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Fd::write(self, bytes)
    }

    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)> {
        let (fd, peer) = Fd::accept(self)?;
        Ok((Rc::new(fd), peer))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        Fd::shutdown(self, how)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Fd::take_error(self)
    }

    fn is_connected(&self) -> io::Result<bool> {
        Fd::is_connected(self)
    }

    fn readiness(&self) -> io::Result<Readiness> {
        let looked = self.kernel().inspect(Fd::number(self));
        looked.map(|(holds, _)| holds).ok_or_else(|| os(EBADF))
    }

    fn is_unconnected(&self) -> io::Result<bool> {
        let found = self.with_endpoint(|end| end.is_socket() && end.state == State::Unconnected);
        Ok(found.unwrap_or(false))
    }

    fn bytes_available(&self) -> io::Result<usize> {
        Ok(Fd::unread(self))
    }

    fn peek(&self) -> io::Result<bool> {
        // Urgent data is a fact here and no byte: nothing stands behind it.
        Ok(Fd::unread(self) > 0)
    }

    fn facts(&self) -> io::Result<Readiness> {
        let holds = self.kernel().inspect(self.number());
        holds.map(|(facts, _)| facts).ok_or_else(|| os(EBADF))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Fd::local_addr(self)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Fd::peer_addr(self)
    }

    fn set_nodelay(&self, _nodelay: bool) -> io::Result<()> {
        Ok(()) // nothing is delayed in memory
    }
}

impl Kernel {
    /// Its faults as they are now.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.table.borrow().faults.clone()
    }

    /// Whether the last wait of a poller looked, and found nothing. One that was ended early has
    /// not looked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.borrow().idle
    }

    /// What holds of the descriptor with this number, whoever asks for it, and how many bytes lie
    /// unread there; `None` if there is no such descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::Readiness;
    /// use readily_testing::sim::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let (here, there) = kernel.pair()?;
    /// there.write(b"hello")?;
    /// let both = Readiness::READ | Readiness::WRITE;
    /// assert_eq!(kernel.inspect(here.number()), Some((both, 5)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn inspect(&self, number: i32) -> Option<(Readiness, usize)> {
        let now_ns = self.now_ns();
        let mut table = self.table.borrow_mut();
        let file = table.file(number).ok()?;
        let holds = watch_list::from_epoll(table.bits(file, now_ns));
        let unread = match &table.at(file).body {
            Body::Endpoint(end) => end.input.len(),
            _ => 0,
        };
        Some((holds, unread))
    }
}
