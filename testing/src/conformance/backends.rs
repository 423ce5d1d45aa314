//! The two backends of the conformance tests: the system's kernel, and the simulated kernel.
//!
//! The system's backend uses the standard library where it can, and `readily-sys` for the rest. The tests of
//! one binary run in parallel in one process, so a descriptor number that has to be closed is far above the
//! numbers that the system assigns, and is used by one test only. The simulated kernel has all operations
//! already, so that its backend only passes the calls on, and is the pattern for another kernel. Its time
//! advances when nothing is ready, unless a guard stops it.
//!
//! In the notes: "what the operating system offers" (N2).

use super::backend::{Backend, BackendFd};
use super::{Fixture, TestFd};
use crate::for_tests;
use crate::sim::{Fd, Kernel};
use readily::clock::{Clock, Monotonic};
use readily::poll::poll2::PollPoller;
use readily::spi::FdRef;
use readily::{Interest, Trigger};
use readily_sys::socket;
use std::any::Any;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

/// The backend of the kernel that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemBackend;

/// The descriptors that may be open at one time, with one running test for each processor.
const DESCRIPTORS: u32 = 4096;

/// The highest of the numbers that [`Backend::free_number`] returns.
const FREE: i32 = 4000;

impl Backend for SystemBackend {
    fn pair(&self) -> io::Result<(TestFd, TestFd)> {
        let (left, right) = UnixStream::pair()?;
        left.set_nonblocking(true)?;
        right.set_nonblocking(true)?;
        Ok((
            TestFd::new(OwnedFd::from(left)),
            TestFd::new(OwnedFd::from(right)),
        ))
    }

    fn pipe(&self) -> io::Result<(TestFd, TestFd)> {
        let (reader, writer) = for_tests::pipe()?;
        Ok((TestFd::new(reader), TestFd::new(writer)))
    }

    fn listener(&self) -> io::Result<(TestFd, SocketAddr)> {
        let listener = socket::listen_tcp(&SocketAddr::from(([127, 0, 0, 1], 0)), 16)?;
        let listener = TcpListener::from(listener);
        let addr = listener.local_addr()?;
        Ok((TestFd::new(OwnedFd::from(listener)), addr))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<TestFd> {
        Ok(TestFd::new(socket::connect_tcp(&addr)?))
    }

    fn tcp(&self) -> io::Result<(TestFd, TestFd)> {
        let (listener, addr) = self.listener()?;
        let client = self.connect(addr)?;
        // On some systems the connection does not arrive at once.
        let mut fixture = Fixture::new(PollPoller::new()?);
        fixture.register(listener.number(), 1, Interest::READ, Trigger::Level);
        fixture.next_for(1);
        Ok((client, listener.accept()?))
    }

    fn datagrams(&self) -> io::Result<(TestFd, TestFd)> {
        let bound = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (here, there) = (bound()?, bound()?);
        here.connect(there.local_addr()?)?;
        there.connect(here.local_addr()?)?;
        for socket in [&here, &there] {
            socket.set_nonblocking(true)?;
        }
        let ends = [here, there].map(|socket| TestFd::new(OwnedFd::from(socket)));
        Ok(ends.into())
    }

    fn unconnected(&self) -> io::Result<TestFd> {
        Ok(TestFd::new(for_tests::unconnected_tcp()?))
    }

    fn unpollable(&self) -> io::Result<Vec<TestFd>> {
        let (file, directory) = (File::open(std::env::current_exe()?)?, File::open("/")?);
        let ends = [file, directory].map(|file| TestFd::new(OwnedFd::from(file)));
        Ok(ends.into())
    }

    fn free_number(&self) -> RawFd {
        static NEXT: AtomicI32 = AtomicI32::new(FREE);
        NEXT.fetch_sub(1, Ordering::Relaxed)
    }

    fn allow_many(&self) -> io::Result<()> {
        for_tests::allow_descriptors(DESCRIPTORS)
    }

    fn clock(&self) -> Box<dyn Clock> {
        Box::new(Monotonic::new())
    }

    fn is_the_systems(&self) -> bool {
        true
    }
}

impl BackendFd for OwnedFd {
    fn any(&self) -> FdRef<'_> {
        FdRef::System(self.as_fd())
    }

    fn accept(&self) -> io::Result<TestFd> {
        Ok(TestFd::new(socket::accept(self.as_fd())?.0))
    }

    fn duplicate(&self) -> io::Result<TestFd> {
        Ok(TestFd::new(self.try_clone()?))
    }

    fn renumbered(&self, number: RawFd) -> io::Result<TestFd> {
        for_tests::allow_descriptors(DESCRIPTORS)?;
        Ok(TestFd::new(for_tests::duplicate_at(self.as_fd(), number)?))
    }

    fn reset(self: Box<Self>) -> io::Result<()> {
        for_tests::reset(*self)
    }

    fn send_urgent(&self) -> io::Result<()> {
        for_tests::send_urgent(self.as_fd())
    }
}

fn both((one, two): (Fd, Fd)) -> (TestFd, TestFd) {
    (TestFd::new(one), TestFd::new(two))
}

impl Backend for Kernel {
    fn pair(&self) -> io::Result<(TestFd, TestFd)> {
        Kernel::pair(self).map(both)
    }

    fn pipe(&self) -> io::Result<(TestFd, TestFd)> {
        Kernel::pipe(self).map(both)
    }

    fn listener(&self) -> io::Result<(TestFd, SocketAddr)> {
        let listener = self.listen(SocketAddr::from(([127, 0, 0, 1], 0)), 16)?;
        let addr = listener.local_addr()?;
        Ok((TestFd::new(listener), addr))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<TestFd> {
        Kernel::connect(self, addr).map(TestFd::new)
    }

    fn datagrams(&self) -> io::Result<(TestFd, TestFd)> {
        Kernel::datagrams(self).map(both)
    }

    fn unconnected(&self) -> io::Result<TestFd> {
        Kernel::unconnected(self).map(TestFd::new)
    }

    fn unpollable(&self) -> io::Result<Vec<TestFd>> {
        Ok(vec![TestFd::new(self.file(b"content")?)])
    }

    fn free_number(&self) -> RawFd {
        // Each test has a kernel of its own.
        Kernel::FIRST_NUMBER + 4000
    }

    fn clock(&self) -> Box<dyn Clock> {
        Box::new(Kernel::clock(self))
    }

    fn hold(&self) -> Box<dyn Any> {
        Box::new(Kernel::pause_time(self))
    }
}

impl BackendFd for Fd {
    fn any(&self) -> FdRef<'_> {
        FdRef::Virtual(self)
    }

    fn accept(&self) -> io::Result<TestFd> {
        Ok(TestFd::new(Fd::accept(self)?.0))
    }

    fn duplicate(&self) -> io::Result<TestFd> {
        self.try_clone().map(TestFd::new)
    }

    fn renumbered(&self, number: RawFd) -> io::Result<TestFd> {
        Fd::renumbered(self, number).map(TestFd::new)
    }

    fn reset(self: Box<Self>) -> io::Result<()> {
        Fd::reset(*self);
        Ok(())
    }

    fn send_urgent(&self) -> io::Result<()> {
        Fd::send_urgent(self)
    }
}
