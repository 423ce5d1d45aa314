//! Calls of user code, with its panics caught and its nesting bounded.
//!
//! `guard` catches a panic of a waker or of a destructor, and applies the policy.
//! `drop_guarded` drops a value whose destructor may panic or call back into the loop. They are called
//! outside every borrow (L8). The callbacks of an event batch, and the closures and tasks of a ready
//! batch, have one `catch` for all of them, in `turn.rs`.
//!
//! A destructor may cancel a task, a timer or a registration, or drop a token, whose own destructor
//! cancels the next one. A chain of them would use as much stack as it is long (R093). So beyond
//! [`MAX_NESTED_DROPS`] levels the drops are queued until the destructors around them have
//! returned, and run by the outermost one. The depth is counted for each thread, because a chain
//! may go from one loop to another, and through objects that belong to no loop.
//!
//! Python's interpreter does the same for its own objects.

use super::current::HERE;
use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::panics::{FirstPanic, Payload, catch};
use super::stderr::print_panic;
use super::weak_handle::WeakHandle;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::rc::Rc;

impl LoopHandle {
    /// Runs user code. If it panics, the policy decides.
    #[inline]
    pub(crate) fn guard(&self, f: impl FnOnce()) {
        if let Err(payload) = catch(f) {
            self.apply_panic_policy(payload, Origin::Other);
        }
    }

    /// Drops a value whose destructor may be user code: with this as the current loop, with its
    /// panic caught, and with bounded nesting (G5).
    #[inline]
    pub(crate) fn drop_guarded<T: 'static>(&self, value: T) {
        if std::mem::needs_drop::<T>() {
            self.drop_guarded_in_place(&mut Some(value));
        }
    }

    /// [`drop_guarded`](Self::drop_guarded) for a caller that has the value in a place of its own: there it
    /// is dropped, and not moved.
    #[inline]
    pub(super) fn drop_guarded_in_place<T: 'static>(&self, value: &mut Option<T>) {
        match DropDepth::deeper() {
            Some(_level) => self.drop_now(value),
            None => {
                let mut value = value.take();
                self.run_bounded_later(move |handle| handle.drop_now(&mut value));
            }
        }
    }

    /// Drops a value for a caller that has bounded the nesting.
    #[inline]
    pub(super) fn drop_now<T>(&self, value: &mut Option<T>) {
        // Two calls, so that whether it was entered need not be kept.
        match self.enter_if_needed() {
            None => self.guard(|| *value = None),
            Some(_here) => self.guard(|| *value = None),
        }
    }
}

/// Reports a panic that belongs to no loop: through this thread's current loop, or on standard error.
#[cold]
pub(crate) fn report_stray_panic(payload: Payload) {
    match WeakHandle::current() {
        Some(weak) => weak.apply_panic_policy(payload, Origin::Other),
        None => print_panic(payload, Origin::Other),
    }
}

impl FirstPanic {
    /// Resumes the panic. During another panic it is reported instead, because a second one would
    /// abort the process.
    #[inline]
    pub(crate) fn resume(self) {
        match self.take() {
            None => {}
            Some(payload) if std::thread::panicking() => report_stray_panic(payload),
            Some(payload) => std::panic::resume_unwind(payload),
        }
    }
}

/// How many levels of drops may be nested. A level takes a few hundred bytes of stack, in a debug
/// build some kilobytes.
const MAX_NESTED_DROPS: u32 = 16;

/// A queued drop, with the loop that it needs, if any.
enum DeferredDrop {
    Alone(Box<dyn FnOnce()>),
    Of(Rc<LoopHandle>, Box<dyn FnOnce(&LoopHandle)>),
}

impl DeferredDrop {
    fn run(self) {
        match self {
            Self::Alone(end) => end(),
            Self::Of(handle, end) => end(&handle),
        }
    }
}

thread_local! {
    /// Empty, and without an allocation, whenever the level is zero. So it needs no destructor, and
    /// can be used by destructors that run at the end of the thread.
    static WAITING: ManuallyDrop<RefCell<VecDeque<DeferredDrop>>> =
        const { ManuallyDrop::new(RefCell::new(VecDeque::new())) };
}

/// Runs `end`, which may call this again: at once, or, beyond the bound, when the outermost of the
/// nested calls returns (G5). A panic of `end` unwinds into the caller if `end` runs at once;
/// otherwise it is reported.
#[inline]
pub(crate) fn run_bounded(end: impl FnOnce() + 'static) {
    match DropDepth::deeper() {
        Some(_level) => end(),
        None => wait(DeferredDrop::Alone(Box::new(end))),
    }
}

/// Drops a value that belongs to no loop. A panic of its destructor is reported, and does not
/// unwind into the caller.
pub(crate) fn drop_bounded<T: 'static>(value: T) {
    if std::mem::needs_drop::<T>() {
        run_bounded(move || {
            if let Err(payload) = catch(|| drop(value)) {
                report_stray_panic(payload);
            }
        });
    }
}

impl LoopHandle {
    /// [`run_bounded`] for an `end` that needs this loop.
    #[inline]
    pub(crate) fn run_bounded(&self, end: impl FnOnce(&Self) + 'static) {
        match DropDepth::deeper() {
            Some(_level) => end(self),
            None => self.run_bounded_later(end),
        }
    }

    #[cold]
    #[inline(never)]
    fn run_bounded_later(&self, end: impl FnOnce(&Self) + 'static) {
        self.queue_nested(Box::new(end));
    }

    #[cold]
    fn queue_nested(&self, end: Box<dyn FnOnce(&Self)>) {
        match self.weak_self.upgrade() {
            Some(handle) => wait(DeferredDrop::Of(handle, end)),
            // The loop itself is being dropped, and is empty: `end` cannot nest any deeper.
            None => end(self),
        }
    }
}

#[cold]
fn wait(end: DeferredDrop) {
    // If the thread's locals are gone, the closure is dropped without being run, with all that it
    // owns.
    let _ = WAITING.try_with(|waiting| waiting.borrow_mut().push_back(end));
    let _ = HERE.try_with(|here| here.has_deferred_drops.set(true));
}

/// One more level, until this is dropped. A guard, so that a panic restores the level: otherwise
/// the count would stay too high, and queued drops would never run.
struct DropDepth(u32);

impl DropDepth {
    /// Enters one more level; `None` if the bound is reached.
    #[inline]
    fn deeper() -> Option<Self> {
        let level = HERE.try_with(|here| here.drop_depth.get());
        // If the thread's locals are gone, nothing is counted: any level but the outermost will do.
        let level = level.unwrap_or(1);
        if level < MAX_NESTED_DROPS {
            set_depth(level + 1);
            return Some(Self(level));
        }
        None
    }
}

impl Drop for DropDepth {
    #[inline]
    fn drop(&mut self) {
        if self.0 == 0 && HERE.try_with(|here| here.has_deferred_drops.get()) == Ok(true) {
            run_waiting();
        }
        set_depth(self.0);
    }
}

#[inline]
fn set_depth(level: u32) {
    let _ = HERE.try_with(|here| here.drop_depth.set(level));
}

/// Runs the queued drops, each at level one.
#[cold]
fn run_waiting() {
    // Not `while let`: that would hold the borrow while the next one runs (L8).
    let next = || WAITING.try_with(|waiting| waiting.borrow_mut().pop_front());
    let next = || next().ok().flatten();
    for end in std::iter::from_fn(next) {
        if let Err(payload) = catch(|| end.run()) {
            report_stray_panic(payload);
        }
    }
    let _ = HERE.try_with(|here| here.has_deferred_drops.set(false));
    drop(WAITING.try_with(|waiting| waiting.take()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::panics::drop_quietly;
    use std::cell::Cell;

    /// Drops the next link, nested, and then panics if it is one that should.
    struct Link(Option<Box<Link>>, Rc<Cell<usize>>, Option<usize>);

    impl Drop for Link {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            let next = self.0.take();
            let _also_in_a_panic = Nests(next);
            if self.2.is_some_and(|nth| self.1.get() % nth == 0) {
                std::panic::resume_unwind(Box::new("planted"));
            }
        }
    }

    struct Nests(Option<Box<Link>>);

    impl Drop for Nests {
        fn drop(&mut self) {
            if let Some(next) = self.0.take() {
                run_bounded(move || drop_quietly(next));
            }
        }
    }

    fn chain(links: usize, panics: Option<usize>) -> (Link, Rc<Cell<usize>>) {
        let dropped = Rc::new(Cell::new(0));
        let mut last = Link(None, Rc::clone(&dropped), panics);
        for _ in 1..links {
            last = Link(Some(Box::new(last)), Rc::clone(&dropped), panics);
        }
        (last, dropped)
    }

    #[test]
    fn panics_at_any_depth_leave_the_depth_as_it_was_and_nothing_undropped() {
        for panics in [None, Some(1), Some(7)] {
            let (first, dropped) = chain(100, panics);
            let (deep, also_dropped) = chain(3, None);
            let unwound = catch(|| {
                run_bounded(move || {
                    drop_quietly(first);
                    run_bounded(move || drop(deep));
                    std::panic::resume_unwind(Box::new("planted"));
                });
            });
            drop_quietly(unwound.unwrap_err());
            assert_eq!((dropped.get(), also_dropped.get()), (100, 3));
            assert_eq!(HERE.with(|here| here.drop_depth.get()), 0);
            assert!(WAITING.with(|waiting| waiting.borrow().capacity() == 0));
        }
    }

    /// A queued drop runs before the outermost call returns, and its panic does not replace that of
    /// the outermost.
    #[test]
    fn what_waited_is_run_though_the_outermost_panics() {
        let run = Rc::new(Cell::new(0));
        fn deeper(left: u32, run: Rc<Cell<usize>>) {
            run_bounded(move || match left {
                0 => {
                    run.set(run.get() + 1);
                    std::panic::resume_unwind(Box::new("in the queue"));
                }
                left => deeper(left - 1, run),
            });
        }
        let also = Rc::clone(&run);
        let unwound = catch(|| {
            run_bounded(move || {
                deeper(MAX_NESTED_DROPS, also);
                std::panic::resume_unwind(Box::new("outermost"));
            });
        });
        let payload = unwound.unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"outermost"));
        assert_eq!((run.get(), HERE.with(|here| here.drop_depth.get())), (1, 0));
    }
}
