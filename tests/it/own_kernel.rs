//! A kernel of another crate: what `spi` exports is enough to implement one.
//!
//! It has connections to itself, which return each byte that is written to them. The names come from
//! `readily` and the standard library only.
//!
//! In the notes this is what a selector stands on (N2).

use crate::support::guard;
use readily::io::TcpStream;
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::spi::{FdKind, FdRef, Placeholder, Transfer, VirtualFd, VirtualKernel};
use readily::{EventLoop, Interest, Readiness, Runner, Trigger};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Default)]
struct Echo {
    number: RawFd,
    bytes: RefCell<VecDeque<u8>>,
    over: Cell<bool>,
    placeholder: Placeholder,
}

impl VirtualFd for Echo {
    fn raw(&self) -> RawFd {
        self.number
    }
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.placeholder.as_fd()
    }
    fn kind(&self) -> FdKind {
        FdKind::Stream
    }
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match (
            io::Read::read(&mut *self.bytes.borrow_mut(), buffer)?,
            self.over.get(),
        ) {
            (0, false) => Err(ErrorKind::WouldBlock.into()),
            (n, _) => Ok(n),
        }
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }
    fn accept(&self) -> io::Result<(Rc<dyn VirtualFd>, Option<SocketAddr>)> {
        Err(ErrorKind::InvalidInput.into())
    }
    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        self.over.set(true);
        Ok(())
    }
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }
    fn is_connected(&self) -> io::Result<bool> {
        Ok(true)
    }
    fn readiness(&self) -> io::Result<Readiness> {
        let is_readable = self.over.get() || !self.bytes.borrow().is_empty();
        let read = if is_readable {
            Readiness::READ
        } else {
            Readiness::NONE
        };
        Ok(read | Readiness::WRITE)
    }
    fn bytes_available(&self) -> io::Result<usize> {
        Ok(self.bytes.borrow().len())
    }
    fn peek(&self) -> io::Result<bool> {
        Ok(!self.bytes.borrow().is_empty())
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct EchoKernel(Rc<RefCell<Vec<Weak<Echo>>>>);

impl EchoKernel {
    fn find(&self, fd: RawFd) -> Option<Rc<Echo>> {
        self.0.borrow().get(usize::try_from(fd).ok()?)?.upgrade()
    }
}

impl VirtualKernel for EchoKernel {
    fn listen(&self, _: SocketAddr, _: usize) -> io::Result<Rc<dyn VirtualFd>> {
        Err(ErrorKind::Unsupported.into())
    }
    fn connect(&self, _: SocketAddr) -> io::Result<Rc<dyn VirtualFd>> {
        let mut all = self.0.borrow_mut();
        let number = RawFd::try_from(all.len()).unwrap();
        let echo = Rc::new(Echo {
            number,
            ..Echo::default()
        });
        all.push(Rc::downgrade(&echo));
        Ok(echo)
    }
}

struct EchoNotifier(Mutex<Sender<()>>);

impl Notify for EchoNotifier {
    fn notify(&self) {
        let _ = self.0.lock().unwrap().send(());
    }
}

/// Reports by the level: that is more than an edge, and a loop can bear it.
struct EchoPoller {
    kernel: EchoKernel,
    watched: BTreeMap<RawFd, (u64, Interest)>,
    notifications: Receiver<()>,
    notifier: Arc<EchoNotifier>,
}

impl EchoPoller {
    fn new(kernel: EchoKernel) -> Self {
        let (sender, notifications) = channel();
        Self {
            kernel,
            watched: BTreeMap::new(),
            notifications,
            notifier: Arc::new(EchoNotifier(Mutex::new(sender))),
        }
    }
}

impl Poller for EchoPoller {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, _: Trigger) -> io::Result<()> {
        readily::poll::check_token(token)?;
        self.kernel.find(fd).ok_or(ErrorKind::NotFound)?;
        self.watched.insert(fd, (token, i));
        Ok(())
    }
    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        self.register(fd, token, i, t)
    }
    fn rearm(&mut self, _: RawFd, _: u64, _: Interest) -> io::Result<()> {
        Ok(())
    }
    fn rearm_interest(&self) -> Interest {
        Interest::NONE
    }
    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.watched
            .remove(&fd)
            .map(drop)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }
    fn wait(&mut self, events: &mut Vec<Event>, t: Option<Duration>) -> io::Result<WaitResult> {
        let before = events.len();
        for (&fd, &(token, interest)) in &self.watched {
            let Some(echo) = self.kernel.find(fd) else {
                continue;
            };
            let mut ready = FdRef::Virtual(&*echo).readiness()?;
            if !interest.contains(Interest::WRITE) {
                ready = ready.without(Readiness::WRITE);
            }
            if !ready.is_empty() {
                events.push(Event::new(token, ready));
            }
        }
        let limit = match events.len() > before {
            true => Duration::ZERO,
            false => t.unwrap_or(Duration::from_secs(3600)),
        };
        match self.notifications.recv_timeout(limit) {
            Ok(()) => Ok(WaitResult::new(true)),
            Err(RecvTimeoutError::Timeout) => Ok(WaitResult::new(false)),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the poller has a sender"),
        }
    }
    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        Some(Rc::new(self.kernel.clone()))
    }
}

#[test]
fn a_kernel_can_be_implemented_with_the_names_that_the_crate_exports() {
    let _guard = guard!();
    let poller = EchoPoller::new(EchoKernel::default());
    let clock = readily::clock::Monotonic::new();
    let event_loop = EventLoop::with(Box::new(poller), Box::new(clock)).unwrap();
    let ended = Runner::from(event_loop).run(async {
        let stream = TcpStream::connect(([127, 0, 0, 1], 7)).await?;
        stream.write_all(b"hello").await?;
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"hello");
        stream.shutdown(Shutdown::Write)?;
        stream.read(&mut buffer).await
    });
    assert_eq!(ended.unwrap().unwrap(), 0, "the end");
    // What the loop itself reads and writes by.
    let echo = Echo::default();
    let fd = FdRef::Virtual(&echo);
    let known: Cell<Transfer> = Cell::new(fd.transfer());
    assert_eq!(fd.try_write(b"a", &known).unwrap(), 1);
    assert_eq!(fd.try_read(&mut [0; 2], &known).unwrap(), 1);
}
