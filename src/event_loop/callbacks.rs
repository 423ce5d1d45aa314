//! Callbacks that are made of closures: the right column of the notes' table (N7).
//!
//! The trait [`Callbacks`] has one method for each branch, and [`Closures`] is an adapter over it.
//! Callbacks own their state: a shared `&mut Data` argument would put a type parameter into every
//! signature of the crate.

use super::loop_handle::{Callbacks, Cx};
use super::panics::FirstPanic;
use crate::poll::{Interest, Readiness};
use std::io;

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
            None => cx.ignore_connections(),
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
