//! A task in one allocation: a header, followed by the body: first the future, later its output.
//!
//! This file and three below it are the only ones of the crate with `unsafe` in them: `cell/extra.rs`,
//! `cell/loop_ref.rs` and `cell/task_list.rs`. In safe Rust a task takes three allocations and as many
//! look-ups by type, and a spawn and a join become several times slower (`docs/decisions.md`). The
//! boundary of the unsafe code is this module. Its safety arguments rest
//! on the two counts, the state and the vtable of the header (`cell/header.rs`, `cell/state.rs`,
//! `cell/waker.rs`). Those files are safe code, and only this module can change these fields: the
//! compiler refuses it elsewhere. The functions that the rest of `task` can call may be called in
//! any order, for each makes a transition of the state first, which has the contents of the body
//! ([`Body`]). The decisions about a task are made in
//! `executor.rs`.
//! In the notes: a Task is a Future and more (N15). Rules: T1, T3, T4, G5.
//!
//! # Rules
//!
//! - **One at a time.** Code that touches the body first makes a transition: to *busy* or *empty*.
//!   So user code that comes back here, from a poll or a destructor, finds nothing to touch. A
//!   panic of a destructor leaves the state there, too: what is then left is never dropped twice.
//!   A panic of a poll gives the future back to the body: it is dropped when the panic is caught.
//! - **Pinned.** The future is written to its place before any code can poll it, and dropped there.
//! - **This thread.** A [`TaskPtr`] is not `Send`. Future, output and all of the header but
//!   [`WakeState`] are touched through one, and are dropped at the latest with the last one.
//! - **Any thread.** A waker touches the `WakeState` only, by shared reference; it is `Sync`.
//! - **Two counts.** `RefCount` counts the shares: the references of this thread, which a plain
//!   number counts, have one share together, and each waker has one. The code that releases the
//!   last share frees: by then only memory is left, and the `WakeState`. `RefCount` has the
//!   argument for its orderings.
//! - **A borrowed waker.** The waker that a poll is given has no share of its own: it is never
//!   dropped, and cannot outlive the poll except by a clone, which takes a share.

#![deny(
    unsafe_op_in_unsafe_fn,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::unnecessary_safety_comment
)]

#[forbid(unsafe_code)]
mod end_waiter;
mod extra;
#[forbid(unsafe_code)]
mod header;
mod loop_ref;
#[forbid(unsafe_code)]
mod poll_cx;
#[forbid(unsafe_code)]
mod rare_fields;
#[forbid(unsafe_code)]
mod state;
mod task_list;
#[forbid(unsafe_code)]
mod views;
#[forbid(unsafe_code)]
mod waker;

pub(super) use header::{Header, SpawnInfo};
pub(super) use loop_ref::LoopRef;
pub(super) use poll_cx::{PollCx, error_after_drop};
pub use state::TaskState;
pub(super) use state::{Cancel, Detach};
pub(super) use task_list::{CurrentTask, TaskList};

use super::join_error::JoinError;
use super::tasks::Tasks;
use crate::event_loop::Payload;
use crate::event_loop::panics::catch;
use readily_sys::block_cache;
use state::{BeginPoll, Body, Park};
use std::alloc::Layout;
use std::any::TypeId;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, needs_drop, offset_of};
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::{NonNull, drop_in_place};
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use waker::WakeState;

/// The allocation. Never borrowed as a whole: the type only defines where its parts are.
#[repr(C)]
struct TaskAlloc<F: Future> {
    header: Header,
    body: FutureOrOutput<F>,
}

#[repr(C)]
union FutureOrOutput<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<F::Output>,
}

/// A pointer to a body: to an `F`, or to its output.
type BodyPtr = NonNull<()>;

/// The data and functions that depend on the type of the future.
struct Vtable {
    layout: Layout,
    /// The list of freed blocks with this layout.
    blocks: Option<usize>,
    /// The offset of the body from the start of the header.
    body_offset: usize,
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>, &mut PollCx<'_>) -> Polled,
    drop_future: unsafe fn(BodyPtr),
    /// `None` if the output has no destructor.
    drop_output: Option<unsafe fn(BodyPtr)>,
    type_name: fn() -> &'static str,
    output: fn() -> TypeId,
}

/// The vtable for `F`, with the type name of `N`.
struct VtableOf<F, N: ?Sized>(PhantomData<F>, PhantomData<N>);

impl<F: Future<Output: 'static>, N: ?Sized> VtableOf<F, N> {
    const VTABLE: Vtable = Vtable {
        layout: Layout::new::<TaskAlloc<F>>(),
        blocks: block_cache::list_of(Layout::new::<TaskAlloc<F>>()),
        body_offset: offset_of!(TaskAlloc<F>, body),
        poll: poll::<F>,
        drop_future: drop_at::<F>,
        drop_output: if needs_drop::<F::Output>() {
            Some(drop_at::<F::Output>)
        } else {
            None
        },
        type_name: std::any::type_name::<N>,
        output: TypeId::of::<F::Output>,
    };
}

/// The outcome of a poll, and the contents of the body after it.
enum Polled {
    /// The future is there.
    Pending,
    /// The future was dropped, and its output is there.
    Returned,
}

/// Gives the future back to the body when a poll unwinds, and the task to its executor, which ends
/// it as soon as the panic is caught.
struct UnwindGuard(ManuallyDrop<TaskPtr>);

impl Drop for UnwindGuard {
    #[cold]
    fn drop(&mut self) {
        self.0.state().unwind();
        self.0.executor().current.clear();
        self.0.executor().note_panicked(&self.0);
    }
}

/// Polls the future in its place. If it returns, drops it there (T3), and writes its output to that
/// place: the state has it. If it panics, it stays there, and the panic goes to the caller.
///
/// # Safety
///
/// The header is that of a `TaskAlloc<F>`, to which the caller has a reference of this thread until this
/// returns. The body is an `F`, which is pinned there, and no other code touches it until this returns.
unsafe fn poll<F: Future>(
    header: NonNull<Header>,
    cx: &mut Context<'_>,
    poll_cx: &mut PollCx<'_>,
) -> Polled {
    // SAFETY: by the contract the offset is that of a part of this allocation.
    let place: BodyPtr = unsafe { header.cast().byte_add(offset_of!(TaskAlloc<F>, body)) };
    // Lent by the caller: it is not counted, and not dropped.
    let unwinding = UnwindGuard(ManuallyDrop::new(TaskPtr { header }));
    let mut future = place.cast::<F>();
    // SAFETY: by this function's contract the future is there and no other code touches it; the
    // reference does not outlive the poll.
    let future = unsafe { future.as_mut() };
    // SAFETY: by the contract the future is pinned: it is not moved any more, and its place is not
    // used for anything else before the future was dropped there.
    let future = unsafe { Pin::new_unchecked(future) };
    let polled = future.poll(cx);
    std::mem::forget(unwinding);
    let Poll::Ready(output) = polled else {
        return Polled::Pending;
    };
    let task = ManuallyDrop::new(TaskPtr { header });
    poll_cx.returned(&task);
    // T3: before the end is reported. The destructor may panic; the future is gone all the same.
    let dropped = catch(|| {
        // SAFETY: by the contract the future is there and no other code touches it; nor does any
        // after this.
        unsafe { drop_at::<F>(place) }
    });
    if let Err(payload) = dropped {
        poll_cx.panicked_in_drop(&task, payload);
    }
    // SAFETY: there is aligned room for the output in the body, and by the contract no other code touches
    // it; the future that was there has been dropped.
    unsafe { place.cast::<F::Output>().write(output) };
    task.state().end_poll(Body::Output);
    Polled::Returned
}

/// # Safety
///
/// There is a `T` at `place`, which no other code touches, now or after this.
unsafe fn drop_at<T>(place: BodyPtr) {
    // SAFETY: the contract is that of this function.
    unsafe { drop_in_place(place.cast::<T>().as_ptr()) }
}

/// A future in the body of an allocation that is not a task yet. `N` is the type whose name the
/// task reports.
///
/// The future is written there before the loop is looked up, so that a large one is moved only
/// once.
pub(super) struct NewTask<F: Future, N: ?Sized = F> {
    block: AllocGuard<F>,
    _called: PhantomData<N>,
}

/// The allocation; dropping this frees the block, but drops nothing in it.
struct AllocGuard<F: Future>(NonNull<TaskAlloc<F>>);

impl<F: Future> AllocGuard<F> {
    #[inline]
    fn body_ptr(&self) -> BodyPtr {
        // SAFETY: the offset is that of a part of a `TaskAlloc<F>`, for which the block was allocated.
        unsafe { self.0.cast::<()>().byte_add(offset_of!(TaskAlloc<F>, body)) }
    }
}

impl<F: Future> Drop for AllocGuard<F> {
    fn drop(&mut self) {
        // SAFETY: `NewTask::new` allocated the block for the same type, and no other code owns it:
        // making a cell of it forgets this.
        unsafe { block_cache::free(self.0.cast(), Layout::new::<TaskAlloc<F>>()) };
    }
}

impl<F: Future, N: ?Sized> NewTask<F, N> {
    pub(super) fn new(future: F) -> Self {
        let block = AllocGuard(block_cache::allocate(Layout::new::<TaskAlloc<F>>()).cast());
        // SAFETY: the block was allocated just now for a `TaskAlloc<F>`, and this is the place of
        // its future: aligned, large enough, and owned by no other code.
        unsafe { block.body_ptr().cast::<F>().write(future) };
        Self {
            block,
            _called: PhantomData,
        }
    }
}

impl<F: Future<Output: 'static> + 'static, N: ?Sized> NewTask<F, N> {
    /// Makes it a task, with one reference.
    pub(super) fn into_task(self, info: SpawnInfo) -> TypedTask<F::Output> {
        let header = ManuallyDrop::new(self).block.0.cast::<Header>();
        // SAFETY: `TaskAlloc` is `repr(C)`, so its header is at its start: aligned, large enough,
        // and owned by no other code before this.
        unsafe { header.write(Header::new(&VtableOf::<F, N>::VTABLE, info)) };
        TypedTask {
            cell: TaskPtr { header },
            _output: PhantomData,
        }
    }
}

impl<F: Future, N: ?Sized> Drop for NewTask<F, N> {
    fn drop(&mut self) {
        // SAFETY: the future was written there when this was made, and `into_task` drops no
        // `NewTask`: so it is there, no other code owns it, and the block is only freed after this.
        unsafe { drop_at::<F>(self.block.body_ptr()) }
    }
}

/// A reference to a task of any type; for the loop's thread.
pub(super) struct TaskPtr {
    /// To the header of a `TaskAlloc<F>`, with the provenance of the whole allocation.
    header: NonNull<Header>,
}

impl TaskPtr {
    /// The place of future and output.
    #[inline]
    fn body_ptr(&self) -> BodyPtr {
        // SAFETY: the offset is that of a part of the allocation that begins with this header: its
        // own vtable has it.
        unsafe { self.header.cast::<()>().byte_add(self.vtable.body_offset) }
    }

    /// Lends the reference of a waker's pointer. It is not counted, and never dropped; a clone is.
    ///
    /// # Safety
    ///
    /// On the loop's thread, which has a counted reference to the same cell until this is not used
    /// any more.
    unsafe fn borrow(header: *const ()) -> ManuallyDrop<Self> {
        // SAFETY: a waker's pointer is to the header of a cell.
        let header = unsafe { NonNull::new_unchecked(header.cast_mut().cast()) };
        ManuallyDrop::new(Self { header })
    }

    /// Polls the future in its place; does nothing if it is being polled, or gone (T1).
    /// Returns whether the task has ended with this poll.
    #[must_use]
    #[inline]
    pub(super) fn poll(&self, poll_cx: &mut PollCx<'_>) -> bool {
        if self.state().begin_poll() == BeginPoll::Refused {
            return false;
        }
        let current = poll_cx.begin(self);
        current.set(self); // cleared below, in `PollCx::returned`, and by `UnwindGuard`
        let waker = self.waker();
        let mut cx = Context::from_waker(&waker);
        // SAFETY:
        // - the state showed that the future is there; it was written when the cell was made, with
        //   the room that its vtable describes, is never moved, and is dropped in its place;
        // - no other code touches it, for the body is *busy* until this returns or unwinds; all code
        //   in this file that might touch it makes a transition of the state first, and no file
        //   outside this module makes one of the body;
        // - `self` keeps the cell until then, and its vtable is that of the future's type.
        let polled = unsafe { (self.vtable.poll)(self.header, &mut cx, poll_cx) };
        match polled {
            Polled::Pending => {
                current.clear();
                if self.state().park() == Park::Parked {
                    return false;
                }
                poll_cx.cancelled(self);
                self.drop_polled(poll_cx);
            }
            Polled::Returned => {} // and is not the current one any more
        }
        true
    }

    /// Drops the future after its last poll, which has left it there (T3).
    #[cold]
    fn drop_polled(&self, poll_cx: &mut PollCx<'_>) {
        self.state().end_poll(Body::Future);
        if let Err(payload) = self.drop_future() {
            poll_cx.panicked_in_drop(self, payload);
        }
    }

    /// Lends the task's waker, without a share of its own: a clone takes one.
    #[inline]
    pub(super) fn waker(&self) -> LentWaker<'_> {
        // SAFETY:
        // - the functions of this table keep the contract of `RawWakerVTable` (see there), for a
        //   pointer to the header of a cell, with the provenance of the whole allocation;
        // - each of them needs a share: `self` has one, with the others of this thread, as long as
        //   this is borrowed from it; and as this waker is never dropped, it releases none.
        let waker = unsafe { Waker::new(self.header.as_ptr().cast_const().cast(), &WAKER) };
        LentWaker(ManuallyDrop::new(waker), PhantomData)
    }

    /// The task of this loop that `waker` wakes, if its future is there.
    pub(super) fn of_waker(waker: &Waker, of: &LoopRef<Executor>) -> Option<Self> {
        if !Self::is_waker(waker) {
            return None;
        }
        // SAFETY: by its table it is the pointer of a waker of this module, which has a share.
        let wake_state = unsafe { wake_state(waker.data()) };
        let is_of_loop = std::ptr::eq(&raw const **wake_state.inbox(), &raw const **of.inbox());
        if !is_of_loop || !wake_state.state.is_alive() {
            return None;
        }
        // SAFETY: `of` is on the thread of its loop, which is that of the task. The future is there, and
        // so is a reference of this thread, for the last one drops the future before the local part.
        let task = unsafe { Self::borrow(waker.data()) };
        Some(Self::clone(&task))
    }

    /// Whether `waker` wakes a task. Dropping it frees memory at most: the future and the output
    /// of a task are dropped with its last reference on the loop's thread, and a waker is none.
    #[inline]
    pub(super) fn is_waker(waker: &Waker) -> bool {
        std::ptr::eq(waker.vtable(), &raw const WAKER)
    }

    /// Drops the future, unless it is being polled, or gone.
    ///
    /// # Errors
    ///
    /// The panic payload of its destructor; the future is gone all the same.
    pub(super) fn drop_future(&self) -> Result<(), Payload> {
        if !self.state().take_future() {
            return Ok(());
        }
        catch(|| {
            // SAFETY: the state showed that it is there, and now that it is not: no other code
            // touches it any more.
            unsafe { (self.vtable.drop_future)(self.body_ptr()) }
        })
    }

    /// Whether dropping the output may run user code.
    pub(super) fn has_output_to_drop(&self) -> bool {
        self.state().is(Body::Output) && self.vtable.drop_output.is_some()
    }

    /// Drops the output, if it is there; a panic of its destructor goes to the caller.
    pub(super) fn drop_output(&self) {
        if self.state().take_output() {
            if let Some(drop_output) = self.vtable.drop_output {
                // SAFETY: the state showed that it is there, and now that it is not: no other code
                // touches it any more.
                unsafe { drop_output(self.body_ptr()) }
            }
        }
    }

    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        self.header == other.header
    }

    /// The address of the cell, which no other task has while there is a reference.
    pub(super) fn address(&self) -> usize {
        self.header.as_ptr().addr()
    }

    /// Drops all that the loop's thread has of the cell, after the last reference, and releases its
    /// share.
    ///
    /// # Safety
    ///
    /// This was the last reference of this thread, by its count, and is not used any more.
    #[inline(never)]
    unsafe fn drop_local_part(&self) {
        /// Drops the part, and releases the share, also if an earlier destructor panics.
        struct LocalPartGuard(NonNull<Header>);
        impl Drop for LocalPartGuard {
            #[inline]
            fn drop(&mut self) {
                let _share = LocalShare(self.0); // the last reference of this thread is being dropped
                // SAFETY: within the header, which is there until the share of this thread is
                // released, after this.
                let extra = unsafe { &raw mut (*self.0.as_ptr()).local_part.extra };
                // SAFETY: as above; no code borrows it mutably.
                if unsafe { (*extra).is_empty() } {
                    return;
                }
                // SAFETY: it was made with the header, and is dropped here only, with the last
                // reference of this thread, which alone touches it: no other code borrows it. The
                // other fields have nothing to drop.
                unsafe { drop_in_place(extra) }
            }
        }
        if self.state().is(Body::Empty) && self.local_part.extra.is_empty() {
            // As nearly always: only the share is left.
            return drop(LocalShare(self.header));
        }
        let _own = LocalPartGuard(self.header);
        if let Err(payload) = self.drop_future() {
            std::panic::resume_unwind(payload);
        }
        self.drop_output();
    }
}

/// The share of this thread's references, none of which is left; it is released when this is
/// dropped.
struct LocalShare(NonNull<Header>);

impl Drop for LocalShare {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the share is released below, so the header is there. As soon as it is released, another
        // thread may free it: this is not used after that.
        let wake_state = unsafe { &raw const (*self.0.as_ptr()).wake_state };
        // SAFETY: as above, and all threads share it by reference.
        let is_unique = unsafe { (*wake_state).ref_count.is_unique() };
        // SAFETY: as above; it is not used after this statement and the next one.
        let shared = unsafe { &(*wake_state).shared };
        // SAFETY: the references of this thread are gone with the one that is being dropped, so this is
        // called once. If there are wakers left, it keeps a share for them.
        let executor = unsafe { shared.release(!is_unique) };
        if is_unique {
            // SAFETY: no other share is left, and this one is not used any more.
            unsafe { free_block(self.0) }
        } else {
            // SAFETY: the share is that of this thread, and is not used any more.
            drop(unsafe { OwnedRef::of(self.0.as_ptr().cast_const().cast()) });
        }
        drop(executor); // last: it may be the last one, and then drops what the executor has
    }
}

impl Header {
    /// The executor of the task's loop.
    #[inline]
    pub(super) fn executor(&self) -> &Executor {
        // SAFETY: a header is borrowed as a whole only through a `TaskPtr`, which is on the loop's thread;
        // the last of them releases the executor, and borrows the header no more.
        unsafe { self.wake_state.shared.local() }
    }
}

impl Deref for TaskPtr {
    type Target = Header;

    fn deref(&self) -> &Header {
        // SAFETY: the header was made with the cell, which this reference keeps by the share that
        // it has with the others of this thread; all that is changed in it is in cells, or atomic.
        unsafe { self.header.as_ref() }
    }
}

impl Clone for TaskPtr {
    #[inline]
    fn clone(&self) -> Self {
        self.local_part.inc_ref();
        Self {
            header: self.header,
        }
    }
}

impl Drop for TaskPtr {
    #[inline]
    fn drop(&mut self) {
        if self.local_part.dec_ref() {
            // SAFETY: the count shows that it was the last one, and it is being dropped.
            unsafe { self.drop_local_part() }
        }
    }
}

/// The executor of a loop: its tasks. What it does with them is in `executor.rs`.
pub(super) struct Executor {
    /// All tasks that have not ended.
    pub(super) all: TaskList,
    /// The task that is being polled.
    pub(super) current: CurrentTask,
    tasks: Tasks<TaskPtr>,
}

impl Executor {
    pub(super) fn new(tasks: Tasks<TaskPtr>) -> Self {
        Self {
            all: TaskList::default(),
            current: CurrentTask::default(),
            tasks,
        }
    }
}

impl Deref for Executor {
    type Target = Tasks<TaskPtr>;

    #[inline]
    fn deref(&self) -> &Tasks<TaskPtr> {
        &self.tasks
    }
}

/// The waker of a task, borrowed from a reference to it.
pub(super) struct LentWaker<'a>(ManuallyDrop<Waker>, PhantomData<&'a TaskPtr>);

impl Deref for LentWaker<'_> {
    type Target = Waker;

    #[inline]
    fn deref(&self) -> &Waker {
        &self.0
    }
}

/// One share, released when this is dropped. Made by `of` only.
struct OwnedRef(NonNull<Header>);

impl OwnedRef {
    /// # Safety
    ///
    /// The caller owns a share of the cell with this header, and does not use it any more.
    unsafe fn of(header: *const ()) -> Option<Self> {
        NonNull::new(header.cast_mut().cast()).map(Self)
    }
}

impl Drop for OwnedRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: by the contract of `of` this owns a share, so the header is there. Only the count
        // is borrowed: as soon as the share is released, another thread may free the rest.
        let ref_count = unsafe { &(*self.0.as_ptr()).wake_state.ref_count };
        if ref_count.release() {
            // SAFETY: it was the last one.
            unsafe { free(self.0) }
        }
    }
}

/// An owned waker of a task, in one word: nearly all wakers are those of tasks.
pub(super) struct TaskWaker(OwnedRef);

/// The lowest bits of a waker's word are zero.
const _: () = assert!(align_of::<Header>() >= align_of::<usize>());

impl TaskWaker {
    /// A clone of `waker`; `None` if it is not that of a task.
    fn cloned(waker: &Waker) -> Option<Self> {
        if !TaskPtr::is_waker(waker) {
            return None;
        }
        let header = ManuallyDrop::new(waker.clone()).data();
        // SAFETY: by its table it is the pointer of a waker of this module, and the share is that of
        // the clone, which is not dropped.
        unsafe { OwnedRef::of(header) }.map(Self)
    }

    /// Its pointer, with the share.
    #[inline]
    fn into_raw(self) -> NonNull<()> {
        ManuallyDrop::new(self).0.0.cast()
    }

    /// The waker of a pointer from `into_raw`.
    ///
    /// # Safety
    ///
    /// Once for each call of `into_raw`.
    #[inline]
    unsafe fn from_raw(header: NonNull<()>) -> Self {
        Self(OwnedRef(header.cast()))
    }

    fn will_wake(&self, waker: &Waker) -> bool {
        TaskPtr::is_waker(waker) && self.0.0.as_ptr().cast_const().cast() == waker.data()
    }

    fn into_waker(self) -> Waker {
        let header = self.into_raw();
        // SAFETY: a pointer to the header of a cell, with the provenance of the whole allocation, as
        // the functions of this table expect; the share that this owned is that of the waker.
        unsafe { Waker::new(header.as_ptr().cast_const(), &WAKER) }
    }
}

/// A place for the waker of one task, which keeps it after a wake: the next wait of the same task then
/// takes no share.
#[derive(Default)]
pub(super) struct WakerSlot {
    /// Owns a share.
    header: Cell<Option<NonNull<Header>>>,
}

impl WakerSlot {
    /// Stores `waker`; does nothing and returns `false` if it is not that of a task. No user code runs.
    #[inline]
    pub(super) fn store(&self, waker: &Waker) -> bool {
        let is_task = TaskPtr::is_waker(waker);
        if is_task && !self.holds(waker) {
            self.replace(waker);
        }
        is_task
    }

    /// Whether it holds the waker of the task that `waker` wakes.
    #[inline]
    pub(super) fn holds(&self, waker: &Waker) -> bool {
        let kept = self.header.get();
        kept.is_some_and(|kept| std::ptr::addr_eq(kept.as_ptr(), waker.data()))
    }

    #[inline(never)]
    fn replace(&self, waker: &Waker) {
        let share = TaskWaker::cloned(waker).map(|TaskWaker(share)| ManuallyDrop::new(share).0);
        Self::release(self.header.replace(share));
    }

    /// Wakes the task, and keeps the waker unless another is stored meanwhile (by the notifier of a
    /// user's poller).
    #[inline]
    pub(super) fn wake(&self) {
        let Some(header) = self.header.take() else {
            return;
        };
        let share = OwnedRef(header);
        // SAFETY: `share` is there until this has returned.
        unsafe { wake_by_ref(header.as_ptr().cast_const().cast()) }
        if self.header.get().is_none() {
            self.header.set(Some(ManuallyDrop::new(share).0));
        }
    }

    fn release(kept: Option<NonNull<Header>>) {
        drop(kept.map(OwnedRef));
    }
}

impl Drop for WakerSlot {
    fn drop(&mut self) {
        Self::release(self.header.take());
    }
}

/// T3: frees a cell, on any thread. The block goes into the cache of the thread that frees it.
///
/// # Safety
///
/// The caller has released the last share.
#[inline(never)]
unsafe fn free(header: NonNull<Header>) {
    // SAFETY: no other share is left, so the header is there until the end of this.
    let shared = unsafe { &raw const (*header.as_ptr()).wake_state.shared };
    // SAFETY: as above; it is moved out once, and the block is not used after this.
    let shared = unsafe { shared.read() };
    // SAFETY: the caller has released the last share.
    unsafe { free_block(header) }
    // Last: this may drop the last reference to an inbox, and to a poller's notifier, which is user
    // code.
    // SAFETY: the references of the loop's thread were gone before this waker, and have left a share for
    // it; this is called once.
    unsafe { shared.drop_share() }
}

/// Frees the memory of a cell.
///
/// # Safety
///
/// No share is left, and nothing in the cell has to be dropped.
#[inline]
unsafe fn free_block(header: NonNull<Header>) {
    // SAFETY: by the contract the header is there until the end of this, and only this touches it.
    let vtable = unsafe { (*header.as_ptr()).vtable };
    // SAFETY: the block was allocated for a type with this layout, which its vtable has; nothing in
    // it is used after this.
    unsafe { block_cache::free_to(header.cast(), vtable.layout, vtable.blocks) };
}

/// Checks that the parts that wakers carry to other threads may be shared between threads.
const _: fn() = || {
    fn check_send<T: Send + Sync>() {}
    check_send::<WakeState>();
    check_send::<&'static Vtable>();
};

/// A reference to a task that returns a `T`.
pub(super) struct TypedTask<T> {
    cell: TaskPtr,
    /// A `T` goes in and out, so one type must not pass for another; and this pins none.
    _output: PhantomData<Rc<Cell<T>>>,
}

impl<T: 'static> TypedTask<T> {
    /// A reference of any type as one with type `T`; `None` if the task returns another type.
    pub(super) fn of(cell: &TaskPtr) -> Option<Self> {
        ((cell.vtable.output)() == TypeId::of::<T>()).then(|| Self {
            cell: cell.clone(),
            _output: PhantomData,
        })
    }

    pub(super) fn cell(&self) -> &TaskPtr {
        &self.cell
    }

    /// T4: takes the result out; `None` while there is none, or if it was taken.
    pub(super) fn take(&self) -> Option<Result<T, JoinError>> {
        self.cell
            .take_result()
            .map(|end| end.map(|()| self.output()))
    }

    fn output(&self) -> T {
        let is_there = self.cell.state().take_output();
        assert!(is_there, "a task that is done has an output");
        // SAFETY: the state showed that the output is there, and now that it is not: it is moved
        // out once. It is a `T`: a `TypedTask` is made from the future that returns it, or where
        // its vtable says so.
        unsafe { self.cell.body_ptr().cast::<T>().read() }
    }

    /// Undoes a [`take`](Self::take).
    pub(super) fn put_back(&self, result: Result<T, JoinError>) {
        self.cell.put_back(result.map(|output| {
            let is_free = self.cell.state().put_output_back();
            assert!(is_free, "the body is still empty");
            // SAFETY: the state showed that neither future nor output is there. There is room for a
            // `T`, which is the type that the future returns, as above.
            unsafe { self.cell.body_ptr().cast::<T>().write(output) }
        }));
    }
}

/// Whether `waker` wakes a task: then no user code runs when it is cloned.
#[inline]
pub(crate) fn is_task_waker(waker: &Waker) -> bool {
    TaskPtr::is_waker(waker)
}

/// The functions of wakers. Their pointer is to the header of a cell, with the provenance of the
/// whole allocation, and each owned waker has a share.
static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// # Safety
///
/// `header` is the pointer of a waker, and the caller has a share of the cell, or runs while an
/// owner of a share waits for it.
unsafe fn wake_state<'a>(header: *const ()) -> &'a WakeState {
    // SAFETY: by the contract the header is there while it is used. All threads share the
    // `WakeState` by reference, for it is `Sync`; no code borrows it mutably before the last share
    // is released.
    unsafe { &(*header.cast::<Header>()).wake_state }
}

/// # Safety
///
/// That of `RawWakerVTable`: called with a waker's own pointer, while that waker exists.
unsafe fn clone(header: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned has a share, or is lent by an owner of one.
    let wake_state = unsafe { wake_state(header) };
    wake_state.ref_count.add();
    RawWaker::new(header, &WAKER)
}

/// # Safety
///
/// That of `RawWakerVTable`: called with a waker's own pointer, which is used up.
unsafe fn wake(header: *const ()) {
    // Released afterwards, also if the notifier of a user's poller panics.
    // SAFETY: the waker has a share, and is used up.
    let _share = unsafe { OwnedRef::of(header) };
    // SAFETY: the share is released only after this.
    unsafe { wake_by_ref(header) }
}

/// # Safety
///
/// That of `RawWakerVTable`: called with a waker's own pointer, while that waker exists.
unsafe fn wake_by_ref(header: *const ()) {
    // SAFETY: the waker has a share, or is lent by an owner of one.
    let wake_state = unsafe { wake_state(header) };
    // SAFETY: `WakeState::wake` calls both of them on the loop's thread, while the future is there: so is
    // a reference of this thread, for the last one drops the future before the local part.
    let task = move || unsafe { TaskPtr::borrow(header) };
    let queue = move || {
        let task = task();
        task.executor().push_ready(TaskPtr::clone(&task));
    };
    let queue_main = move || task().executor().push_main();
    let waker = move || {
        // SAFETY: as above, for this waker exists meanwhile.
        let waker = unsafe { clone(header) };
        // SAFETY: `clone` has taken a share for it.
        unsafe { Waker::from_raw(waker) }
    };
    wake_state.wake(queue, queue_main, waker);
}

/// # Safety
///
/// That of `RawWakerVTable`: called with a waker's own pointer, which is used up.
unsafe fn drop_waker(header: *const ()) {
    // SAFETY: the waker has a share, and is used up.
    drop(unsafe { OwnedRef::of(header) });
}

#[cfg(test)]
mod tests {
    use super::super::executor::Executor;
    use super::loop_ref::LoopPtr;
    use super::*;
    use crate::clock::Manual;
    use crate::event_loop::{EventLoop, LoopHandle, PanicPolicy};
    use crate::poll::{Event, Interest, Notify, Poller, Trigger, WaitResult};
    use crate::run::Runner;
    use std::cell::Cell;
    use std::io;
    use std::os::fd::{BorrowedFd, RawFd};
    use std::panic::Location;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;
    use std::time::Duration;

    /// A poller with no descriptors, whose waits return at once: Miri runs it, and no epoll.
    struct Idle;

    impl Poller for Idle {
        fn register(&mut self, _: RawFd, _: u64, _: Interest, _: Trigger) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn modify(&mut self, _: RawFd, _: u64, _: Interest, _: Trigger) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn rearm(&mut self, _: RawFd, _: u64, _: Interest) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn rearm_interest(&self) -> Interest {
            Interest::NONE
        }

        fn remove(&mut self, _: RawFd) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn wait(&mut self, _: &mut Vec<Event>, _: Option<Duration>) -> io::Result<WaitResult> {
            Ok(WaitResult::new(false))
        }

        fn notifier(&self) -> Arc<dyn Notify> {
            Arc::new(Self)
        }

        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    impl Notify for Idle {
        fn notify(&self) {}
    }

    fn idle_loop() -> Runner {
        let event_loop = EventLoop::with(Box::new(Idle), Box::new(Manual::new())).unwrap();
        event_loop.set_panic_policy(PanicPolicy::Propagate);
        event_loop.into()
    }

    fn born<F: Future<Output: 'static> + 'static>(
        handle: &LoopHandle,
        future: F,
    ) -> TypedTask<F::Output> {
        NewTask::<F>::new(future).into_task(SpawnInfo {
            executor: Executor::of(handle).clone(),
            is_main: false,
            number: 1,
            site: Location::caller(),
        })
    }

    /// The number of cells that are not freed: each has a reference to the executor, or a share.
    fn living(executor: &LoopRef<Executor>, before: usize) -> usize {
        executor.count() - before
    }

    #[test]
    fn a_cell_is_freed_with_its_last_reference_or_its_last_waker_wherever_that_is() {
        let runner = idle_loop();
        let executor = Executor::of(&runner).clone();
        let before = executor.count();
        for wakers in 0..3 {
            let held = Rc::new(());
            let future = Rc::clone(&held);
            let task = born(&runner, async move { drop(future) });
            let kept: Vec<Waker> = (0..wakers).map(|_| task.cell().waker().clone()).collect();
            let another = task.cell().clone();
            drop(task);
            assert_eq!(Rc::strong_count(&held), 2);
            drop(another);
            assert_eq!(
                Rc::strong_count(&held),
                1,
                "the future goes with the references"
            );
            assert_eq!(living(&executor, before), usize::from(wakers > 0));
            thread::spawn(move || kept.into_iter().for_each(Waker::wake))
                .join()
                .unwrap();
            assert_eq!(living(&executor, before), 0);
        }
    }

    #[test]
    fn a_task_is_found_by_its_waker_on_its_own_loop_while_its_future_is_there() {
        let (runner, another) = (idle_loop(), idle_loop());
        let task = born(&runner, async {});
        let waker = task.cell().waker().clone();
        let found = |waker, on: &Runner| TaskPtr::of_waker(waker, Executor::of(on));
        assert!(found(&waker, &runner).is_some_and(|found| found.is(task.cell())));
        assert!(found(&waker, &another).is_none());
        assert!(found(Waker::noop(), &runner).is_none());
        assert!(task.cell().drop_future().is_ok());
        assert!(found(&waker, &runner).is_none());
    }

    /// The last reference drops what is for the loop's thread, and another thread releases its share
    /// before, meanwhile, or afterwards. Miri reports it if that touches what is being dropped.
    #[test]
    fn what_the_tasks_of_a_loop_share_is_dropped_by_the_last_reference_and_freed_by_the_last_share()
    {
        struct Local {
            drops: Rc<Cell<u32>>,
            meanwhile: Option<Box<dyn FnOnce()>>,
            is_dropped: bool,
        }
        impl Drop for Local {
            fn drop(&mut self) {
                self.meanwhile.take().into_iter().for_each(|join| join());
                assert!(!std::mem::replace(&mut self.is_dropped, true));
                drop(Touchy(Rc::clone(&self.drops)));
            }
        }
        let runner = idle_loop();
        let inbox = Executor::of(&runner).inbox();
        let before = Arc::strong_count(inbox);
        for when in 0..3 {
            let drops = Rc::new(Cell::new(0));
            let begins = Arc::new(AtomicBool::new(false));
            let begun = Arc::clone(&begins);
            let mut local = Local {
                drops: Rc::clone(&drops),
                meanwhile: None,
                is_dropped: false,
            };
            let (send, receive) = std::sync::mpsc::channel::<LoopPtr<Local>>();
            let other = thread::spawn(move || {
                let shared = receive.recv().unwrap();
                while !begun.load(Relaxed) {
                    thread::yield_now();
                }
                // SAFETY: `release` has left it a share, and this is called once.
                unsafe { shared.drop_share() }
            });
            let join = move || {
                begins.store(true, Relaxed);
                other.join().unwrap();
            };
            let mut join: Option<Box<dyn FnOnce()>> = Some(Box::new(join));
            if when == 1 {
                local.meanwhile = join.take();
            }
            let shared = LoopRef::new(Arc::clone(inbox), local);
            let pointer = shared.clone().into_ptr();
            // SAFETY: this is the loop's thread, and the pointer was made of a reference of it.
            drop(unsafe { pointer.release(true) });
            send.send(pointer).unwrap();
            if when == 0 {
                join.take().into_iter().for_each(|join| join());
            }
            assert_eq!(drops.get(), 0);
            assert!(catch(|| drop(shared)).is_err(), "its destructor panics");
            assert_eq!(drops.get(), 1);
            join.into_iter().for_each(|join| join());
            assert_eq!(Arc::strong_count(inbox), before);
        }
    }

    #[test]
    fn a_slot_keeps_the_cell_of_its_task_until_another_comes_or_it_goes() {
        let mut runner = idle_loop();
        let executor = Executor::of(&runner).clone();
        let before = executor.count();
        let slot = WakerSlot::default();
        slot.wake();
        let (one, other) = (born(&runner, async {}), born(&runner, async {}));
        assert!(!slot.store(Waker::noop()));
        let store = |task: &TypedTask<()>| slot.store(&task.cell().waker());
        let holds = |task: &TypedTask<()>| slot.holds(&task.cell().waker());
        assert!(store(&one) && store(&one) && holds(&one) && !holds(&other));
        one.cell().wake_state.state.clear_queued();
        for _ in 0..2 {
            slot.wake();
        }
        assert!(one.cell().wake_state.state.clear_queued() && holds(&one));
        drop(one);
        slot.wake(); // its future has gone
        assert_eq!(living(&executor, before), 2);
        assert!(store(&other));
        assert_eq!(living(&executor, before), 2, "the messages have it");
        runner.event_loop().turn_now().unwrap();
        assert_eq!(living(&executor, before), 1);
        drop(other);
        assert_eq!(living(&executor, before), 1);
        drop(slot);
        assert_eq!(living(&executor, before), 0);
    }

    /// T3: the orderings of the count, with no other synchronization between the threads: the flag is
    /// relaxed. Miri and ThreadSanitizer report a race if the count does not order; see `.ci/miri`,
    /// `.ci/tsan`.
    #[test]
    fn the_last_reference_frees_after_all_that_the_others_did() {
        for waker_is_last in [true, false] {
            let runner = idle_loop();
            let task = born(&runner, async {});
            let waker = task.cell().waker().clone();
            let gone = AtomicBool::new(false);
            let wait = || {
                while !gone.load(Relaxed) {
                    thread::yield_now();
                }
            };
            thread::scope(|threads| {
                threads.spawn(|| {
                    let waker = waker;
                    if waker_is_last {
                        wait();
                    } else {
                        waker.wake_by_ref();
                    }
                    drop(waker);
                    if !waker_is_last {
                        gone.store(true, Relaxed);
                    }
                });
                // This is dropped with the last reference of this thread.
                task.cell().set_name("named");
                if !waker_is_last {
                    wait();
                }
                drop(task);
                if waker_is_last {
                    gone.store(true, Relaxed);
                }
            });
        }
    }

    /// Panics when it is dropped.
    struct Touchy(Rc<Cell<u32>>);

    impl Drop for Touchy {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            std::panic::resume_unwind(Box::new("as it goes"));
        }
    }

    #[test]
    fn what_panics_as_it_goes_is_dropped_once_and_its_cell_is_freed() {
        let runner = idle_loop();
        let executor = Executor::of(&runner).clone();
        let before = executor.count();
        let drops = Rc::new(Cell::new(0));
        let future = |touchy: Touchy| async move {
            let _touchy = touchy;
        };
        // Never made a task; never polled; dropped explicitly.
        let nascent: NewTask<_> = NewTask::new(future(Touchy(Rc::clone(&drops))));
        assert!(catch(|| drop(nascent)).is_err());
        let task = born(&runner, future(Touchy(Rc::clone(&drops))));
        assert!(catch(|| drop(task)).is_err());
        let task = born(&runner, future(Touchy(Rc::clone(&drops))));
        assert!(task.cell().drop_future().is_err());
        assert!(task.cell().drop_future().is_ok(), "it is gone");
        drop(task);
        assert_eq!((drops.get(), living(&executor, before)), (3, 0));
    }

    #[test]
    fn a_future_whose_poll_panics_is_dropped_once_before_the_next_task_runs() {
        let mut runner = idle_loop();
        runner.set_panic_policy(PanicPolicy::Isolate);
        runner.on_unhandled(|_| {});
        let drops = Rc::new(Cell::new(0));
        let touchy = Touchy(Rc::clone(&drops));
        let panics = runner.spawn(std::future::poll_fn(move |cx| -> Poll<()> {
            let _stays = &touchy;
            cx.waker().wake_by_ref(); // it is queued again, and must not be polled
            std::panic::resume_unwind(Box::new("in a poll"))
        }));
        let seen = Rc::clone(&drops);
        let next = runner.spawn(async move { seen.get() });
        assert_eq!(runner.run(next).unwrap().unwrap(), 1);
        let panicked = runner.run(panics).unwrap().unwrap_err();
        assert!(panicked.is_panic());
        assert_eq!(drops.get(), 1);
        assert!(Executor::of(&runner).all().is_empty());
    }

    #[test]
    fn an_output_is_moved_out_and_back_and_dropped_once() {
        let runner = idle_loop();
        let drops = Rc::new(Cell::new(0));
        struct Counts(Rc<Cell<u32>>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let counts = Counts(Rc::clone(&drops));
        let task = runner.spawn(async move { counts });
        assert!(
            TypedTask::<u8>::of(task.cell()).is_none(),
            "it is of another type"
        );
        assert!(task.task.take().is_none(), "there is none yet");
        let mut runner = runner;
        runner.event_loop().turn_now().unwrap();
        let again = TypedTask::<Counts>::of(task.cell()).unwrap();
        let taken = again.take().unwrap();
        assert!(task.task.take().is_none(), "T4: it is delivered once");
        again.put_back(taken);
        assert_eq!(drops.get(), 0);
        task.cell().drop_output();
        task.cell().drop_output();
        drop((task, again));
        assert_eq!(drops.get(), 1);
    }

    #[test]
    fn a_future_that_borrows_from_itself_is_polled_in_its_place_and_one_that_is_polled_is_not_dropped()
     {
        let mut runner = idle_loop();
        let me: Rc<Cell<Option<TaskPtr>>> = Rc::default();
        let mine = Rc::clone(&me);
        let task = runner.spawn(async move {
            let list = [1, 2, 3];
            let (first, rest) = list.split_first().unwrap();
            crate::yield_now().await;
            // It is being polled: neither the future nor its output is dropped.
            let cell = mine.take().unwrap();
            assert!(cell.drop_future().is_ok());
            cell.drop_output();
            crate::yield_now().await;
            first + rest.iter().sum::<i32>()
        });
        me.set(Some(task.cell().clone()));
        assert_eq!(runner.run(task).unwrap().unwrap(), 6);
    }

    /// T3: in every order in which three tasks can end, and with one that is spawned meanwhile.
    #[test]
    fn the_list_has_each_task_that_has_not_ended_in_the_order_of_creation() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut runner = idle_loop();
            let executor = Executor::of(&runner).clone();
            let before = executor.count();
            let numbers = || -> Vec<u64> {
                let all = executor.all();
                all.iter().map(|task| task.number()).collect()
            };
            let mut tasks: Vec<_> = (0..3)
                .map(|_| Some(runner.spawn(std::future::pending::<()>())))
                .collect();
            let mut left: Vec<u64> = vec![1, 2, 3];
            for (n, end) in order.into_iter().enumerate() {
                assert_eq!(numbers(), left);
                let task = tasks[end].take().unwrap();
                assert!(task.cancel() && !task.cancel());
                task.cell().link(); // as if it were new: it is in the list once
                assert!(task.cell().unlink().is_some() && task.cell().unlink().is_none());
                left.retain(|&number| number != task.cell().number());
                tasks.push(Some(runner.spawn(std::future::pending::<()>())));
                left.push(n as u64 + 4);
            }
            assert_eq!(numbers(), left);
            assert_eq!(executor.all.len(), 3);
            for task in tasks.into_iter().flatten() {
                task.cancel();
            }
            assert!(executor.all().is_empty() && executor.all.first().is_none());
            runner.event_loop().turn_now().unwrap(); // the ready queue has them, too
            assert_eq!(living(&executor, before), 0);
        }
    }

    /// The waiter is in the header, then in the box of the rare fields, and is woken wherever it is.
    #[test]
    fn a_task_has_its_waiter_and_its_rare_fields_in_either_order() {
        let runner = idle_loop();
        let executor = Executor::of(&runner).clone();
        let before = executor.count();
        let waits = born(&runner, async {});
        let waker = waits.cell().waker().clone();
        for waits_first in [true, false] {
            let task = born(&runner, async {});
            let wait = || {
                task.cell().wait(&waker);
                task.cell().wait(&waker);
            };
            if waits_first {
                wait();
            }
            task.cell().set_name("named");
            if !waits_first {
                wait();
            }
            assert_eq!(&*task.cell().name(), "named");
            let taken = task.cell().take_waiter();
            assert!(taken.is_some_and(|taken| taken.will_wake(&waker)));
            assert!(task.cell().take_waiter().is_none());
            wait();
            task.cell().wait(Waker::noop());
            let taken = task.cell().take_waiter();
            assert!(taken.is_some_and(|taken| !taken.will_wake(&waker)));
            wait(); // and is dropped with the task
        }
        drop((waker, waits));
        assert_eq!(living(&executor, before), 0);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_head_takes_seventy_two_bytes() {
        assert_eq!(size_of::<Header>(), 72);
        // Where neither is larger than the other, nothing is added.
        let of =
            |_: &NewTask<std::future::Ready<u64>>| size_of::<TaskAlloc<std::future::Ready<u64>>>();
        let future = std::future::ready(7u64);
        let larger = size_of_val(&future);
        assert_eq!(of(&NewTask::new(future)), 72 + larger);
    }
}
