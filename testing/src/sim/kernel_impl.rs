//! The implementation of [`VirtualKernel`] and [`VirtualFd`] by the kernel in memory, and its inspection by
//! tests.
//!
//! Each method of the two traits calls the one of the same name. A test inspects a descriptor to check
//! whether the report of a poller was true. An inspection has no side effect: it changes no report and no
//! random choice.
//!
//! In the notes this is one more kernel below the selector (N2).

use super::open_files::Body;
use super::streams::State;
use super::{Faults, Fd, Kernel, os, watch_list};
use readily::Readiness;
use readily::event_loop::Descriptor;
use readily::io::TcpStream;
use readily::spi::{
    BlockingJobs, VirtualFd, VirtualKernel, VirtualProcess, WorkerFate, WorkerStep,
};
use readily_sys::errno::EBADF;
use readily_sys::socket;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::process::Command;
use std::rc::Rc;

impl Fd {
    /// Converts this end of a connection into a [`TcpStream`] of the current loop: see
    /// [`TcpStream::from_kernel`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::from_kernel`].
    #[track_caller]
    pub fn into_stream(self) -> io::Result<TcpStream> {
        TcpStream::from_kernel(Rc::new(self))
    }

    /// Returns a shared reference that a loop can register, for a test that goes on using the descriptor.
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

    fn lookup_host(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Kernel::lookup_host(self, name)
    }

    fn pair(&self) -> io::Result<(Rc<dyn VirtualFd>, Rc<dyn VirtualFd>)> {
        let (one, other) = Kernel::pair(self)?;
        Ok((Rc::new(one), Rc::new(other)))
    }

    fn blocking_jobs(&self) -> BlockingJobs {
        self.table.borrow().blocking_jobs
    }

    fn worker_fate(&self, step: WorkerStep) -> Option<WorkerFate> {
        let workers = self.table.borrow().workers.clone();
        Some(workers.fate(step))
    }

    fn start_child(
        &self,
        command: &Command,
        piped: [bool; 3],
    ) -> Option<io::Result<VirtualProcess>> {
        self.start(command, piped)
    }

    fn hold_time(&self, hold: bool) {
        let pauses = &mut self.table.borrow_mut().pauses;
        match hold {
            true => *pauses += 1,
            false => *pauses -= 1,
        }
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

    fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut bytes = vec![0; room];
        let n = Fd::read(self, &mut bytes)?;
        let mut left = &bytes[..n];
        for buffer in buffers {
            let (here, rest) = left.split_at(left.len().min(buffer.len()));
            buffer[..here.len()].copy_from_slice(here);
            left = rest;
        }
        Ok(n)
    }

    fn read_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut table = self.kernel().table.borrow_mut();
        let file = table.file(self.number())?;
        let room = self.apply_faults(&mut table, file, buffer.len())?;
        table.peek(file, &mut buffer[..room])
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Fd::write(self, bytes)
    }

    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers: Vec<_> = buffers.iter().map(|buffer| &**buffer).collect();
        Fd::write(self, &buffers.concat())
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
        let state = self.kernel().inspect(Fd::number(self));
        state.map(|(facts, _)| facts).ok_or_else(|| os(EBADF))
    }

    fn is_unconnected(&self) -> io::Result<bool> {
        let is_so = self.with_endpoint(|end| end.is_socket() && end.state == State::Unconnected);
        Ok(is_so.unwrap_or(false))
    }

    fn bytes_available(&self) -> io::Result<usize> {
        Ok(Fd::bytes_available(self))
    }

    fn peek(&self) -> io::Result<bool> {
        // Urgent data is a flag here and not a byte, so it has no place among the bytes.
        Ok(Fd::bytes_available(self) > 0)
    }

    fn facts(&self) -> io::Result<Readiness> {
        let state = self.kernel().inspect(self.number());
        state.map(|(facts, _)| facts).ok_or_else(|| os(EBADF))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Fd::local_addr(self)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Fd::peer_addr(self)
    }

    fn set_nodelay(&self, _nodelay: bool) -> io::Result<()> {
        Ok(()) // there is no delay in memory
    }
}

impl Read for &Fd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Fd::read(self, buffer)
    }
}

impl Write for &Fd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Fd::write(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kernel {
    /// Returns a copy of the present faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.table.borrow().faults.clone()
    }

    /// Whether the last wait of a poller found no event. A wait that a fault has ended early does not
    /// count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.borrow().idle
    }

    /// Returns the readiness of a descriptor, and how many bytes it has unread; `None` if there is no
    /// descriptor with this number.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::Readiness;
    /// use readily_testing::Kernel;
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
        let facts = watch_list::from_epoll(table.bits(file, now_ns));
        let unread = match &table.at(file).body {
            Body::Endpoint(end) => end.input.len(),
            _ => 0,
        };
        Some((facts, unread))
    }
}
