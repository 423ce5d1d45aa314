//! Two pollers for tests: one that reports the events of a script, and one that filters changes.
//!
//! [`Scripted`] keeps registrations by descriptor, as the kernel does, stores the calls, and
//! returns batches with tokens of any age. [`Gate`] passes each change on to a real poller, unless
//! the test drops the change.

use readily::clock::Manual;
use readily::poll::{Event, Notify, Poller, WaitResult};
use readily::spi::VirtualKernel;
use readily::{EventLoop, Interest, Trigger};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts its notifications.
#[derive(Default)]
pub struct Bell(AtomicUsize);

impl Bell {
    /// Returns the number of notifications since the last call.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Notify for Bell {
    fn notify(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
pub struct Script {
    pub known: BTreeMap<RawFd, (u64, Interest)>,
    pub batches: VecDeque<Vec<Event>>,
    /// The timeout of each wait.
    pub waits: Vec<Option<Duration>>,
    pub notifier: Arc<Bell>,
}

/// The test and the loop have clones of the same poller.
#[derive(Clone, Default)]
pub struct Scripted(pub Rc<RefCell<Script>>);

impl Scripted {
    /// A loop on this poller, with a clock that does not advance.
    pub fn event_loop(&self) -> (EventLoop, Manual) {
        let clock = Manual::new();
        let event_loop = EventLoop::with(Box::new(self.clone()), Box::new(clock.clone()));
        let event_loop = event_loop.unwrap();
        event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
        (event_loop, clock)
    }

    fn known(&self, fd: RawFd) -> io::Result<()> {
        match self.0.borrow().known.get(&fd) {
            Some(_) => Ok(()),
            None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }
}

impl Poller for Scripted {
    fn register(
        &mut self,
        fd: RawFd,
        token: u64,
        interest: Interest,
        _: Trigger,
    ) -> io::Result<()> {
        match self.0.borrow_mut().known.insert(fd, (token, interest)) {
            None => Ok(()),
            Some(_) => panic!("the loop registers a descriptor twice"),
        }
    }

    fn modify(&mut self, fd: RawFd, token: u64, interest: Interest, _: Trigger) -> io::Result<()> {
        self.known(fd)?;
        self.0.borrow_mut().known.insert(fd, (token, interest));
        Ok(())
    }

    fn rearm(&mut self, fd: RawFd, _: u64, _: Interest) -> io::Result<()> {
        self.known(fd)
    }

    fn rearm_interest(&self) -> Interest {
        Interest::NONE
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        self.known(fd)?;
        self.0.borrow_mut().known.remove(&fd);
        Ok(())
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        let mut script = self.0.borrow_mut();
        script.waits.push(timeout);
        events.extend(script.batches.pop_front().unwrap_or_default());
        Ok(WaitResult::new(false))
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.0.borrow().notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A [`Gate`]'s decision on a change: gets the descriptor and its new interest, or `None` for a
/// removal; `false` drops the change.
type Passes = Box<dyn FnMut(RawFd, Option<Interest>) -> bool>;

/// A poller around `poller` that calls `passes` before each change.
pub struct Gate {
    pub poller: Box<dyn Poller>,
    pub passes: Passes,
}

impl Poller for Gate {
    fn register(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        match (self.passes)(fd, Some(i)) {
            true => self.poller.register(fd, token, i, t),
            false => Ok(()),
        }
    }

    fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
        match (self.passes)(fd, Some(i)) {
            true => self.poller.modify(fd, token, i, t),
            false => Ok(()),
        }
    }

    fn rearm(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller.rearm(fd, token, interest)
    }

    fn rearm_interest(&self) -> Interest {
        self.poller.rearm_interest()
    }

    fn remove(&mut self, fd: RawFd) -> io::Result<()> {
        match (self.passes)(fd, None) {
            true => self.poller.remove(fd),
            false => Ok(()),
        }
    }

    fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<WaitResult> {
        self.poller.wait(events, timeout)
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.poller.notifier()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_fd()
    }

    fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> {
        self.poller.kernel()
    }
}

/// Hides planted panics from the output; all others are printed.
pub fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&PLANTED) {
                before(info);
            }
        }));
    });
}

/// The payload of planted panics.
pub const PLANTED: &str = "planted";
