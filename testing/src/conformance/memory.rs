//! The kernel in memory as a ground for the promises.
//!
//! Its descriptors can do by themselves what the promises need, so there is nothing here but
//! their names; it is also the pattern for a kernel of somebody else's. Its time goes on by
//! itself when nothing is ready, and can be held.

use super::End;
use super::ground::{Descriptor, Ground};
use crate::sim::{FIRST_NUMBER, Fd, Kernel};
use readily::clock::Clock;
use readily::poll::FdRef;
use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

fn both((one, two): (Fd, Fd)) -> (End, End) {
    (End::new(one), End::new(two))
}

impl Ground for Kernel {
    fn pair(&self) -> io::Result<(End, End)> {
        Kernel::pair(self).map(both)
    }

    fn pipe(&self) -> io::Result<(End, End)> {
        Kernel::pipe(self).map(both)
    }

    fn listener(&self) -> io::Result<(End, SocketAddr)> {
        let listener = self.listen(SocketAddr::from(([127, 0, 0, 1], 0)), 16)?;
        let addr = listener.local_addr()?;
        Ok((End::new(listener), addr))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<End> {
        Kernel::connect(self, addr).map(End::new)
    }

    fn datagrams(&self) -> io::Result<(End, End)> {
        Kernel::datagrams(self).map(both)
    }

    fn unconnected(&self) -> io::Result<End> {
        Kernel::unconnected(self).map(End::new)
    }

    fn unpollable(&self) -> io::Result<Vec<End>> {
        Ok(vec![End::new(self.file(b"content")?)])
    }

    fn free_number(&self) -> RawFd {
        // Each test has a kernel of its own.
        FIRST_NUMBER + 4000
    }

    fn clock(&self) -> Box<dyn Clock> {
        Box::new(Kernel::clock(self))
    }

    fn hold(&self) -> Box<dyn Any> {
        Box::new(Kernel::hold(self))
    }
}

impl Descriptor for Fd {
    fn any(&self) -> FdRef<'_> {
        FdRef::Virtual(self)
    }

    fn accept(&self) -> io::Result<End> {
        Ok(End::new(Fd::accept(self)?.0))
    }

    fn twin(&self) -> io::Result<End> {
        self.try_clone().map(End::new)
    }

    fn renumbered(&self, number: RawFd) -> io::Result<End> {
        Fd::renumbered(self, number).map(End::new)
    }

    fn reset(self: Box<Self>) -> io::Result<()> {
        Fd::reset(*self);
        Ok(())
    }

    fn send_urgent(&self) -> io::Result<()> {
        Fd::send_urgent(self)
    }
}
