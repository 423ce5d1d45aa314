//! What nobody waits for: panics, and errors that belong to no operation.
//!
//! Such things are told in one place, once each. By default that is standard error; a
//! program with a log of its own puts a closure there.
//!
//! In asyncio this is the loop's exception handler.

mod report;

pub use report::Unhandled;

use super::handle::WeakHandle;
use super::local::LoopHandle;
use super::origin::Origin;
use super::panics::{PanicPolicy, Payload, catch, drop_quietly};
use super::stderr::{panic, print, print_panic};
use std::cell::{Cell, RefCell};

/// A closure that is given reports instead of standard error: see [`LoopHandle::take_unhandled_hook`].
pub type UnhandledHook = Box<dyn FnMut(&Unhandled)>;

/// The loop's own bookkeeping of such things.
#[derive(Default)]
pub(super) struct Reports {
    pub(super) policy: Cell<PanicPolicy>,
    hook: RefCell<Option<UnhandledHook>>,
    /// How often the hook was set or taken. One that is running is put back afterwards only if it was neither
    /// meanwhile.
    hook_changes: Cell<u64>,
    /// The panic that will leave this turn.
    panic: Cell<Option<(Payload, Origin)>>,
    has_panic: Cell<bool>,
}

impl Reports {
    #[inline]
    pub(super) fn has_panic(&self) -> bool {
        self.has_panic.get()
    }

    pub(super) fn take_panic(&self) -> Option<(Payload, Origin)> {
        self.has_panic.set(false);
        self.panic.take()
    }
}

impl LoopHandle {
    /// Sends reports to `hook`: panics that no caller sees, errors that belong to no call, and in debug mode warnings.
    ///
    /// Without a hook, each report is one line on standard error, `readily: ` and the report's `Display`; if that cannot
    /// be written, it is lost. A hook that was set before is dropped; to keep it, or to return to standard error, call
    /// [`take_unhandled_hook`](Self::take_unhandled_hook).
    ///
    /// The program's panic hook ([`std::panic::set_hook`]) runs first, and the standard library aborts the
    /// process if that panics; see [`PanicPolicy`].
    #[doc(alias = "set_exception_handler")]
    #[doc(alias = "set_hook")]
    pub fn on_unhandled(&self, hook: impl FnMut(&Unhandled) + 'static) {
        let before = self.replace_hook(Some(Box::new(hook)));
        self.drop_guarded(before);
    }

    /// Removes the hook of [`on_unhandled`](Self::on_unhandled) and returns it; from now on reports go to standard error.
    /// `None` if no hook was set.
    ///
    /// A hook that calls this while it runs is removed as well: `None` is returned, and the hook is dropped when it
    /// returns.
    ///
    /// # Examples
    ///
    /// A hook in front of another one:
    ///
    /// ```
    /// use readily::EventLoop;
    ///
    /// let event_loop = EventLoop::new()?;
    /// event_loop.on_unhandled(|unhandled| eprintln!("the application: {unhandled}"));
    /// let mut previous = event_loop.take_unhandled_hook().expect("it was set above");
    /// event_loop.on_unhandled(move |unhandled| {
    ///     eprintln!("a library on the same loop: {unhandled}");
    ///     previous(unhandled);
    /// });
    /// assert!(event_loop.take_unhandled_hook().is_some());
    /// assert!(event_loop.take_unhandled_hook().is_none());
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "get_exception_handler")]
    #[doc(alias = "take_hook")]
    #[must_use = "the hook is dropped with the value returned"]
    pub fn take_unhandled_hook(&self) -> Option<UnhandledHook> {
        self.replace_hook(None)
    }

    fn replace_hook(&self, hook: Option<UnhandledHook>) -> Option<UnhandledHook> {
        let changes = &self.reports.hook_changes;
        changes.set(changes.get() + 1);
        self.reports.hook.replace(hook)
    }

    /// The hook is user's code too, and may panic when it goes: there is nobody left to tell.
    pub(super) fn drop_hook(&self) {
        let _here = self.enter_if_needed();
        let hook = self.replace_hook(None);
        if let Err(payload) = catch(|| drop(hook)) {
            print(&"the hook for unhandled errors panicked when it was dropped");
            drop_quietly(payload);
        }
    }

    /// Tells it.
    #[doc(alias = "call_exception_handler")]
    #[doc(alias = "default_exception_handler")]
    pub fn report(&self, unhandled: &Unhandled) {
        // Taken out while it runs (L8): it may call back, or put another one in its place.
        let hook = self.reports.hook.take();
        let Some(mut hook) = hook else {
            return print(unhandled);
        };
        let changes = self.reports.hook_changes.get();
        let told = catch(|| hook(unhandled));
        if self.reports.hook_changes.get() == changes {
            self.reports.hook.replace(Some(hook));
        } else {
            // Replaced or removed by its own call. Its destructor may call back: not under the borrow (L8).
            self.drop_guarded(hook);
        }
        if let Err(payload) = told {
            // A panic about a panic: not to be told to the same hook (R045).
            let (what, report) = (
                "the hook for unhandled errors panicked; it was told:",
                unhandled,
            );
            print(&format_args!("{what} {report}"));
            drop_quietly(payload);
        }
    }

    /// Runs user code up to its end or its panic, which then follows the policy.
    #[inline]
    pub(crate) fn guard(&self, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            self.note_panic(payload, Origin::Other);
        }
    }

    /// The same for a callback, closure or task, of which it is said who it was, and in debug mode
    /// how long it took.
    #[inline]
    pub(super) fn call_out(&self, origin: impl FnOnce() -> Origin, f: impl FnOnce()) {
        let begun = self.begin_call();
        match catch(f) {
            Ok(()) => self.end_call(begun, origin),
            Err(payload) => {
                let origin = origin();
                self.end_call(begun, || origin.clone());
                self.note_panic(payload, origin);
            }
        }
    }

    /// Drops what may have a destructor of the user's: with this as the current loop, its panic caught,
    /// and not too deep in other destructors (G5).
    #[inline]
    pub(crate) fn drop_guarded<T: 'static>(&self, value: T) {
        if std::mem::needs_drop::<T>() {
            self.run_bounded(move |handle| handle.drop_now(value));
        }
    }

    /// The same where that has been seen to.
    pub(super) fn drop_now<T>(&self, value: T) {
        let _here = self.enter_if_needed();
        self.guard(|| drop(value));
    }

    /// A panic that nobody waits for.
    #[cold]
    pub(crate) fn note_panic(&self, payload: Payload, origin: Origin) {
        match self.reports.policy.get() {
            PanicPolicy::Abort => std::process::abort(),
            // The first one leaves the turn. Of those behind it, it is told that they were.
            PanicPolicy::Propagate if !self.reports.has_panic() => {
                self.reports.has_panic.set(true);
                self.reports.panic.set(Some((payload, origin)));
                self.notify_host();
            }
            PanicPolicy::Propagate | PanicPolicy::Isolate => self.report_panic(payload, origin),
        }
    }

    /// A panic that another one goes before: it is told, and does not go out.
    #[cold]
    pub(crate) fn report_panic(&self, payload: Payload, origin: Origin) {
        if self.reports.policy.get() == PanicPolicy::Abort {
            std::process::abort();
        }
        self.report(&panic(&payload, origin));
        drop_quietly(payload);
    }

    /// The panic of the main future: it is the caller's own, and leaves this turn whatever the policy
    /// says of those that nobody waits for. One that was before it is told.
    #[cold]
    pub(crate) fn note_main_panic(&self, payload: Payload) {
        self.reports.has_panic.set(true);
        let goes_out = Some((payload, self.main_origin()));
        if let Some((payload, origin)) = self.reports.panic.replace(goes_out) {
            self.report_panic(payload, origin);
        }
    }

    /// What would have gone out of a turn, where nothing can: the loop is being dropped.
    pub(super) fn report_pending_panic(&self) {
        if let Some((payload, origin)) = self.reports.take_panic() {
            self.report_panic(payload, origin);
        }
    }
}

impl WeakHandle {
    /// A panic that nobody waits for. Where the loop has gone, and its hook with it, standard error is
    /// told.
    #[cold]
    pub(crate) fn note_panic(&self, payload: Payload, origin: Origin) {
        match self.upgrade() {
            Some(handle) => handle.note_panic(payload, origin),
            None => print_panic(payload, origin),
        }
    }
}
