//! Unhandled failures: panics that no caller receives, and errors that belong to no call.
//!
//! Each is reported once, to the loop's hook. Without a hook it is written to standard error; a
//! program with a log of its own sets a closure.
//!
//! In asyncio this is the loop's exception handler.

use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::panics::{PanicPolicy, Payload, catch, drop_quietly};
use super::report::{Unhandled, UnhandledHook};
use super::stderr::{panic, print, print_panic};
use super::weak_handle::WeakHandle;

impl LoopHandle {
    /// Sends reports to `hook`: panics that no caller sees, errors that belong to no call, and in
    /// debug mode warnings.
    ///
    /// Without a hook, each report is one line on standard error, `readily: ` and the report's
    /// `Display`; if that cannot be written, it is lost. A hook that was set before is dropped; to
    /// keep it, or to return to standard error, call
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

    /// Removes the hook of [`on_unhandled`](Self::on_unhandled) and returns it; from now on
    /// reports go to standard error. `None` if no hook was set.
    ///
    /// A hook that calls this while it runs is removed as well: `None` is returned, and the hook
    /// is dropped when it returns.
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

    /// Sets what happens to panics of callbacks, destructors and detached tasks. The default is
    /// [`PanicPolicy::Isolate`].
    #[doc(alias = "unhandled_panic")]
    pub fn set_panic_policy(&self, policy: PanicPolicy) {
        self.reports.policy.set(policy);
    }

    fn replace_hook(&self, hook: Option<UnhandledHook>) -> Option<UnhandledHook> {
        let changes = &self.reports.hook_changes;
        changes.set(changes.get() + 1);
        self.reports.hook.replace(hook)
    }

    /// Drops the hook. Its destructor is user code; a panic of it is reported on standard error,
    /// because there is no hook any more.
    pub(super) fn drop_hook(&self) {
        let _here = self.enter_if_needed();
        let hook = self.replace_hook(None);
        if let Err(payload) = catch(|| drop(hook)) {
            print(&"the hook for unhandled errors panicked when it was dropped");
            drop_quietly(payload);
        }
    }

    /// Sends a report to the hook of [`on_unhandled`](Self::on_unhandled), or to standard error.
    #[doc(alias = "call_exception_handler")]
    #[doc(alias = "default_exception_handler")]
    pub fn report(&self, unhandled: &Unhandled) {
        // Taken out while it runs (L8): it may call back, or put another one in its place.
        let hook = self.reports.hook.take();
        let Some(mut hook) = hook else {
            return print(unhandled);
        };
        let changes = self.reports.hook_changes.get();
        let reported = catch(|| hook(unhandled));
        if self.reports.hook_changes.get() == changes {
            self.reports.hook.replace(Some(hook));
        } else {
            // Replaced or removed by its own call. Its destructor may call back: not under the borrow (L8).
            self.drop_guarded(hook);
        }
        if let Err(payload) = reported {
            // A panic of the hook is not reported to the hook (R045).
            let (what, report) = (
                "the hook for unhandled errors panicked on this report:",
                unhandled,
            );
            print(&format_args!("{what} {report}"));
            drop_quietly(payload);
        }
    }

    /// Applies the policy to a panic that no caller receives.
    #[cold]
    pub(crate) fn apply_panic_policy(&self, payload: Payload, origin: Origin) {
        match self.reports.policy.get() {
            PanicPolicy::Abort => std::process::abort(),
            // The first panic is resumed after the turn; later ones are reported.
            PanicPolicy::Propagate if !self.reports.has_panic() => {
                self.reports.has_panic.set(true);
                self.ready.rows.demand_attention();
                self.reports.panic.set(Some((payload, origin)));
                self.notify_host();
            }
            PanicPolicy::Propagate | PanicPolicy::Isolate => self.report_panic(payload, origin),
        }
    }

    /// Reports a panic that will not be resumed.
    #[cold]
    pub(crate) fn report_panic(&self, payload: Payload, origin: Origin) {
        if self.reports.policy.get() == PanicPolicy::Abort {
            std::process::abort();
        }
        self.report(&panic(&payload, origin));
        drop_quietly(payload);
    }

    /// The origin of the main future, for reports.
    pub(super) fn main_origin(&self) -> Origin {
        let scheduler = self.scheduler.get();
        scheduler.map_or(Origin::Main { site: None }, |scheduler| {
            scheduler.origin_of_main()
        })
    }

    /// Keeps the panic of the main future, which is resumed in the caller under every policy. If
    /// another panic was pending, that one is reported.
    #[cold]
    pub(crate) fn keep_main_panic(&self, payload: Payload) {
        self.reports.has_panic.set(true);
        self.ready.rows.demand_attention();
        let goes_out = Some((payload, self.main_origin()));
        if let Some((payload, origin)) = self.reports.panic.replace(goes_out) {
            self.report_panic(payload, origin);
        }
    }

    /// Reports a pending panic that can not be resumed any more, because the loop is being dropped.
    pub(super) fn report_pending_panic(&self) {
        if let Some((payload, origin)) = self.reports.take_panic() {
            self.report_panic(payload, origin);
        }
    }
}

impl WeakHandle {
    /// Applies the policy to a panic that no caller receives. If the loop is gone, and its hook
    /// with it, the panic is reported on standard error.
    #[cold]
    pub(crate) fn apply_panic_policy(&self, payload: Payload, origin: Origin) {
        match self.upgrade() {
            Some(handle) => handle.apply_panic_policy(payload, origin),
            None => print_panic(payload, origin),
        }
    }
}
