//! The callbacks of a registration: the right column of the notes' table (N7).
//!
//! [`Callbacks`] is a trait with one method for each branch, each with a default; [`Closures`] is
//! an adapter over it. Callbacks own their state: a shared `&mut Data` argument would put a type
//! parameter into every signature of the crate.

use super::classify::Role;
use super::cx::Cx;
use super::panics::FirstPanic;
use crate::poll::{Interest, Readiness};
use std::io;

/// The callbacks of a registration: one method for each kind of event, and methods for options and
/// a deadline.
///
/// The loop calls them one at a time ([L3]), never while it holds a borrow of its own ([L8]). So
/// each may register, modify, remove, arm, cancel and spawn, and may remove its own registration.
///
/// The defaults of `on_read`, `on_write` and `on_default`, and that of `on_connect` for a listener,
/// remove the interest that led to the call. Otherwise a level-triggered condition that no callback
/// handles would be reported for ever.
///
/// [L3]: crate::book::invariants#l3
/// [L8]: crate::book::invariants#l8
pub trait Callbacks {
    /// Returns the interest of a connection that [`LoopHandle::listen`](super::LoopHandle::listen) has
    /// accepted; reading by default. Interest in writing would be reported at once, because a new
    /// connection has room. A server that speaks first can write in [`on_open`](Callbacks::on_open)
    /// without it.
    fn interest(&self) -> Interest {
        Interest::READ
    }

    /// Returns the interest of a connection of [`LoopHandle::connect`](super::LoopHandle::connect) once it is
    /// established; by default [`interest`](Callbacks::interest), and writing. Called when the
    /// connection is begun; [`LoopHandle::set_interest_of`](super::LoopHandle::set_interest_of) may change it meanwhile.
    fn connected_interest(&self) -> Interest {
        self.interest() | Interest::WRITE
    }

    /// *Connect ready.* Runs when a listener has a connection waiting, which [`Cx::accept`]
    /// accepts; or when an outgoing connection is established, which is a stream from now on, with
    /// the interest of [`connected_interest`](Callbacks::connected_interest).
    fn on_connect(&mut self, cx: &Cx<'_>) {
        accept_nothing(cx);
    }

    /// Runs first of all callbacks of a connection that [`LoopHandle::listen`](super::LoopHandle::listen) has
    /// accepted and registered, in the same turn. `cx` has the connection's key and descriptor, to
    /// write a greeting, to set a deadline ([`Cx::set_deadline`]) or to add to
    /// [`interest`](Callbacks::interest). It does not run for other registrations:
    /// [`LoopHandle::register`](super::LoopHandle::register) returns the key, and an outgoing connection has
    /// [`on_connect`](Callbacks::on_connect).
    ///
    /// In asyncio: `connection_made`.
    fn on_open(&mut self, cx: &Cx<'_>) {
        let _ = cx;
    }

    /// Runs when the deadline has passed ([`Cx::set_deadline`],
    /// [`LoopHandle::set_deadline_of`](super::LoopHandle::set_deadline_of)). The deadline is cleared by then,
    /// and may be set again. The default closes the connection; `on_hangup` does not run, as after
    /// every [`Cx::close`].
    fn on_timeout(&mut self, cx: &Cx<'_>) {
        cx.close();
    }

    /// *Read ready.* Runs when there are bytes to read, or the end of the data (a read of zero
    /// bytes).
    ///
    /// To pause reading, remove the interest in reading and set it again later; meanwhile a hangup
    /// waits for the unread bytes. If a callback keeps the interest after a hangup but reads
    /// nothing, the hangup does not wait.
    fn on_read(&mut self, cx: &Cx<'_>) {
        cx.ignore_reads();
    }

    /// *Write ready.* Runs when there is room to write. Remove the interest when there is nothing
    /// to write.
    fn on_write(&mut self, cx: &Cx<'_>) {
        cx.remove_interest(Interest::WRITE);
    }

    /// *Hangup.* Runs at most once: when the connection has ended, and no received bytes are left
    /// that the program is expected to read ([L7]). It does not run after [`Cx::close`] or
    /// [`LoopHandle::remove`](super::LoopHandle::remove), and it waits while reading is paused and
    /// bytes are unread, unless the connection has an error. The registration is removed already;
    /// the descriptor is closed when this returns. `error` is the reason if there is one, for
    /// instance a refused connection or a reset.
    ///
    /// The reading end of a FIFO hangs up when its last writer goes, though another may come. To wait
    /// for the next writer, open the FIFO for writing too, so that there always is one.
    ///
    /// [L7]: crate::book::invariants#l7
    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        let _ = (cx, error);
    }

    /// *Anything else*, for registrations with [`Interest::PRIORITY`]: runs for urgent data, for a
    /// change of a kernel file, or for an error that does not end the connection
    /// ([`Readiness::ERROR`] while a side is open), such as an entry in the socket's error queue.
    /// It runs before the hangup, after which these are gone.
    ///
    /// `recvmsg(2)` with `MSG_ERRQUEUE` on [`Cx::fd`] fetches an entry of the error queue. Until then
    /// the registration is edge-triggered: alone, an entry is reported once, the first up to twice
    /// (over `poll(2)` every 10 ms). But each other event of the descriptor, such as one that calls
    /// [`on_read`](Callbacks::on_read), has the error too, and calls this again for the same entry.
    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        let _ = ready;
        cx.remove_interest(Interest::PRIORITY);
    }
}

/// The default of `on_connect`: a listener loses its interest in connections; an established
/// connection has nothing to do yet.
fn accept_nothing(cx: &Cx<'_>) {
    if cx.role() == Role::Listener {
        cx.remove_interest(Interest::READ);
    }
}

impl<C: Callbacks + ?Sized> Callbacks for Box<C> {
    fn interest(&self) -> Interest {
        (**self).interest()
    }

    fn connected_interest(&self) -> Interest {
        (**self).connected_interest()
    }

    fn on_connect(&mut self, cx: &Cx<'_>) {
        (**self).on_connect(cx);
    }

    fn on_open(&mut self, cx: &Cx<'_>) {
        (**self).on_open(cx);
    }

    fn on_timeout(&mut self, cx: &Cx<'_>) {
        (**self).on_timeout(cx);
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        (**self).on_read(cx);
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        (**self).on_write(cx);
    }

    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        (**self).on_hangup(cx, error);
    }

    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        (**self).on_default(cx, ready);
    }
}

type BranchFn = Option<Box<dyn FnMut(&Cx<'_>)>>;
type HangupFn = Option<Box<dyn FnMut(&Cx<'_>, Option<io::Error>)>>;
type DefaultFn = Option<Box<dyn FnMut(&Cx<'_>, Readiness)>>;

/// A set of [`Callbacks`] made from closures.
///
/// ```
/// use readily::{Closures, EventLoop, Interest};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let mut event_loop = EventLoop::new()?;
/// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let read = Closures::new().on_read(|cx| {
///     let mut buffer = [0; 16];
///     assert_eq!(cx.read(&mut buffer).unwrap(), 5);
///     cx.close();
/// });
/// event_loop.register(theirs, Interest::READ, read)?;
/// ours.write_all(b"hello")?;
/// event_loop.run()?; // ends by itself: nothing is left to wait for
/// # Ok::<(), readily::Error>(())
/// ```
#[derive(Default)]
pub struct Closures {
    connect: BranchFn,
    read: BranchFn,
    write: BranchFn,
    hangup: HangupFn,
    default: DefaultFn,
    rare: Option<Box<Rare>>,
}

/// Closures that few connections have: boxed, so that a connection without them needs one word.
#[derive(Default)]
struct Rare {
    open: BranchFn,
    timeout: BranchFn,
}

impl Closures {
    /// Creates a set without closures: every branch has the default of [`Callbacks`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `f` for [`Callbacks::on_connect`].
    #[must_use]
    pub fn on_connect(mut self, f: impl FnMut(&Cx<'_>) + 'static) -> Self {
        self.connect = Some(Box::new(f));
        self
    }

    /// Runs `f` for [`Callbacks::on_open`].
    #[doc(alias = "connection_made")]
    #[must_use]
    pub fn on_open(mut self, f: impl FnMut(&Cx<'_>) + 'static) -> Self {
        self.rare.get_or_insert_default().open = Some(Box::new(f));
        self
    }

    /// Runs `f` for [`Callbacks::on_timeout`].
    #[must_use]
    pub fn on_timeout(mut self, f: impl FnMut(&Cx<'_>) + 'static) -> Self {
        self.rare.get_or_insert_default().timeout = Some(Box::new(f));
        self
    }

    /// Runs `f` for [`Callbacks::on_read`].
    #[doc(alias = "data_received")]
    #[doc(alias = "add_reader")]
    #[must_use]
    pub fn on_read(mut self, f: impl FnMut(&Cx<'_>) + 'static) -> Self {
        self.read = Some(Box::new(f));
        self
    }

    /// Runs `f` for [`Callbacks::on_write`].
    #[doc(alias = "resume_writing")]
    #[doc(alias = "add_writer")]
    #[must_use]
    pub fn on_write(mut self, f: impl FnMut(&Cx<'_>) + 'static) -> Self {
        self.write = Some(Box::new(f));
        self
    }

    /// Runs `f` for [`Callbacks::on_hangup`].
    #[doc(alias = "connection_lost")]
    #[must_use]
    pub fn on_hangup(mut self, f: impl FnMut(&Cx<'_>, Option<io::Error>) + 'static) -> Self {
        self.hangup = Some(Box::new(f));
        self
    }

    /// Runs `f` for [`Callbacks::on_default`].
    #[must_use]
    pub fn on_default(mut self, f: impl FnMut(&Cx<'_>, Readiness) + 'static) -> Self {
        self.default = Some(Box::new(f));
        self
    }
}

/// Drops the closures one by one: if two panicked while they are dropped as fields, the second
/// panic would abort the process.
impl Drop for Closures {
    fn drop(&mut self) {
        let mut panic = FirstPanic::default();
        let Rare { open, timeout } = self.rare.take().map(|rare| *rare).unwrap_or_default();
        let [connect, read, write] = [self.connect.take(), self.read.take(), self.write.take()];
        for branch in [connect, read, write, open, timeout] {
            panic.run(|| drop(branch));
        }
        panic.run(|| drop(self.hangup.take()));
        panic.run(|| drop(self.default.take()));
        panic.resume();
    }
}

impl Callbacks for Closures {
    /// Without a closure for it, there is no interest in writing: the first report would remove it.
    fn interest(&self) -> Interest {
        match self.write {
            Some(_) => Interest::BOTH,
            None => Interest::READ,
        }
    }

    fn connected_interest(&self) -> Interest {
        self.interest()
    }

    fn on_connect(&mut self, cx: &Cx<'_>) {
        match &mut self.connect {
            Some(f) => f(cx),
            None => accept_nothing(cx),
        }
    }

    fn on_open(&mut self, cx: &Cx<'_>) {
        if let Some(f) = self.rare.as_mut().and_then(|rare| rare.open.as_mut()) {
            f(cx);
        }
    }

    fn on_timeout(&mut self, cx: &Cx<'_>) {
        match self.rare.as_mut().and_then(|rare| rare.timeout.as_mut()) {
            Some(f) => f(cx),
            None => cx.close(),
        }
    }

    fn on_read(&mut self, cx: &Cx<'_>) {
        match &mut self.read {
            Some(f) => f(cx),
            None => cx.ignore_reads(),
        }
    }

    fn on_write(&mut self, cx: &Cx<'_>) {
        match &mut self.write {
            Some(f) => f(cx),
            None => cx.remove_interest(Interest::WRITE),
        }
    }

    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        if let Some(f) = &mut self.hangup {
            f(cx, error);
        }
    }

    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        match &mut self.default {
            Some(f) => f(cx, ready),
            None => cx.remove_interest(Interest::PRIORITY),
        }
    }
}
