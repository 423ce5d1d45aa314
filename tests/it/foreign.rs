//! A third kernel, neither the system's nor the simulated one: all layers above run on it.
//!
//! It keeps the system's sockets under numbers of its own, from zero, so that each of them is also
//! the number of another file of the system: code that confuses the two is found.

use crate::support::guard;
use readily::event_loop::Accepted;
use readily::io::{TcpListener, TcpStream};
use readily::poll::poll2::PollPoller;
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::spi::{FdOwned, FdRef, VirtualFd, VirtualKernel};
use readily::{Closures, Error, EventLoop, Interest, Readiness, Runner, Trigger};
use readily_sys::{errno, socket};
use readily_testing::Kernel;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Maps the numbers of this kernel to those of the system.
type Numbers = Rc<RefCell<Vec<Option<RawFd>>>>;

#[derive(Clone, Default)]
struct Third(Numbers);

#[derive(Debug)]
struct ThirdFd {
    numbers: Numbers,
    number: usize,
    fd: OwnedFd,
}

impl Third {
    fn keep(numbers: &Numbers, fd: OwnedFd) -> Rc<dyn VirtualFd> {
        let number = numbers.borrow().len();
        numbers.borrow_mut().push(Some(fd.as_raw_fd()));
        let numbers = Rc::clone(numbers);
        Rc::new(ThirdFd {
            numbers,
            number,
            fd,
        })
    }

    fn real(&self, number: RawFd) -> io::Result<RawFd> {
        let real = usize::try_from(number).ok();
        let real = real.and_then(|number| self.0.borrow().get(number).copied().flatten());
        real.ok_or_else(|| io::Error::from_raw_os_error(errno::EBADF))
    }
}

impl Drop for ThirdFd {
    fn drop(&mut self) {
        self.numbers.borrow_mut()[self.number] = None;
    }
}

impl ThirdFd {
    fn any(&self) -> FdRef<'_> {
        FdRef::System(self.fd.as_fd())
    }
}

impl VirtualKernel for Third {
    fn listen(&self, addr: SocketAddr, backlog: usize) -> io::Result<Rc<dyn VirtualFd>> {
        let backlog = i32::try_from(backlog).unwrap();
        Ok(Self::keep(&self.0, socket::listen_tcp(&addr, backlog)?))
    }

    fn connect(&self, addr: SocketAddr) -> io::Result<Rc<dyn VirtualFd>> {
        Ok(Self::keep(&self.0, socket::connect_tcp(&addr)?))
    }

    fn identity(&self) -> Option<usize> {
        Some(Rc::as_ptr(&self.0).addr())
    }
}

impl VirtualFd for ThirdFd {
    fn raw(&self) -> RawFd {
        RawFd::try_from(self.number).unwrap()
    }
    fn kernel_identity(&self) -> Option<usize> {
        Some(Rc::as_ptr(&self.numbers).addr())
    }
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
    fn kind(&self) -> socket::Kind {
        self.any().kind()
    }
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.any().read(buffer)
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.any().write(bytes)
    }
    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)> {
        match self.any().accept()? {
            (FdOwned::System(fd), peer) => Ok((Third::keep(&self.numbers, fd), peer)),
            (FdOwned::Virtual(fd), peer) => Ok((fd, peer)),
        }
    }
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.any().shutdown(how)
    }
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.any().take_error()
    }
    fn is_connected(&self) -> io::Result<bool> {
        self.any().is_connected()
    }
    fn readiness(&self) -> io::Result<Readiness> {
        self.any().readiness()
    }
    fn bytes_available(&self) -> io::Result<usize> {
        self.any().bytes_available()
    }
    fn peek(&self) -> io::Result<bool> {
        self.any().peek()
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        net::TcpStream::from(self.fd.try_clone()?).local_addr()
    }
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        net::TcpStream::from(self.fd.try_clone()?).peer_addr()
    }
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        net::TcpStream::from(self.fd.try_clone()?).set_nodelay(nodelay)
    }
}

struct ThirdPoller {
    kernel: Third,
    inner: PollPoller,
}

impl Poller for ThirdPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.inner.register(self.kernel.real(fd)?, token, i, t)
    }
    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.inner.modify(self.kernel.real(fd)?, token, i, t)
    }
    fn rearm(&mut self, fd: RawFd, token: u64, i: Interest) -> io::Result<()> {
        self.inner.rearm(self.kernel.real(fd)?, token, i)
    }
    fn rearm_interest(&self) -> Interest {
        self.inner.rearm_interest()
    }
    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.inner.remove(self.kernel.real(fd)?)
    }
    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        self.inner.wait(events, timeout)
    }
    fn notifier(&self) -> Arc<dyn Notify> {
        self.inner.notifier()
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        Some(Rc::new(self.kernel.clone()))
    }
}

fn runner(kernel: &Third) -> Runner {
    let poller = ThirdPoller {
        kernel: kernel.clone(),
        inner: PollPoller::new().unwrap(),
    };
    Runner::builder().poller(poller).build().unwrap()
}

const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// R183: what the loop makes itself, and what is handed to it.
#[test]
fn servers_and_streams_run_on_a_kernel_that_is_neither_the_systems_nor_ours() {
    let _guard = guard!();
    let kernel = Third::default();
    let ours = kernel.listen(ANYWHERE.into(), 16).unwrap();
    let addr = ours.local_addr().unwrap();
    let mut runner = runner(&kernel);
    let echoed = runner.run(async move {
        let listener = TcpListener::from_kernel(ours).unwrap();
        let server = readily::spawn(async move {
            let (stream, _peer) = listener.accept().await.unwrap();
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
        });
        let begun = kernel.connect(addr).unwrap();
        let stream = TcpStream::from_kernel(begun).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        stream.write_all(b"third").await.unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.unwrap();
        server.await.unwrap();
        let bound = TcpListener::bind(ANYWHERE).unwrap();
        let addr = bound.local_addr().unwrap();
        let (accepted, connected) =
            readily::gather((bound.accept(), TcpStream::connect(addr))).await;
        drop((accepted.unwrap(), connected.unwrap()));
        word
    });
    assert_eq!(&echoed.unwrap(), b"third");
}

/// R183: callbacks, too, and with a client of the system's.
#[test]
fn callbacks_run_on_such_a_kernel() {
    let _guard = guard!();
    let kernel = Third::default();
    let listener = kernel.listen(ANYWHERE.into(), 16).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut runner = runner(&kernel);
    let echo = |_: &readily::Cx<'_>, _: &Accepted| {
        Some(Closures::new().on_read(|cx| {
            let mut bytes = [0; 16];
            while let Ok(n @ 1..) = cx.read(&mut bytes) {
                cx.write(&bytes[..n]).unwrap();
            }
        }))
    };
    runner.listen(listener, echo).unwrap();
    let client = std::thread::spawn(move || {
        let mut client = net::TcpStream::connect(addr).unwrap();
        client.write_all(b"hello").unwrap();
        let mut echoed = [0; 5];
        client.read_exact(&mut echoed).unwrap();
        echoed
    });
    while !client.is_finished() {
        runner
            .event_loop()
            .turn(Some(Duration::from_millis(1)))
            .unwrap();
    }
    assert_eq!(&client.join().unwrap(), b"hello");
}

/// R183: a number means another file on each kernel, so it alone registers nothing.
#[test]
fn a_descriptor_of_another_kernel_is_refused_whatever_its_number() {
    let _guard = guard!();
    let (third, other) = (Third::default(), Third::default());
    let make = |kernel: &Third| kernel.listen(ANYWHERE.into(), 16).unwrap();
    // Both have the number zero in their kernels, which is the system's standard input.
    let (strange, own) = (make(&third), make(&other));
    assert_eq!((strange.raw(), own.raw()), (0, 0));
    let refused = |event_loop: &EventLoop, fd: &Rc<dyn VirtualFd>| {
        let answer = event_loop.register(Rc::clone(fd), Interest::READ, Closures::new());
        matches!(answer.unwrap_err().error, Error::BadDescriptor { fd: 0 })
    };
    assert!(refused(&EventLoop::new().unwrap(), &strange));
    assert!(refused(runner(&other).event_loop(), &strange));
    // Two kernels in memory are two, too.
    let (one, two) = (Kernel::new(), Kernel::new());
    let ((here, _there), (_here, _there_too)) = (one.pair().unwrap(), two.pair().unwrap());
    let clock = Box::new(two.clock());
    let event_loop = EventLoop::with(Box::new(two.poller()), clock).unwrap();
    let answer = event_loop.register(here, Interest::READ, Closures::new());
    assert!(matches!(
        answer.unwrap_err().error,
        Error::BadDescriptor { .. }
    ));
}
