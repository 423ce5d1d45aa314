//! Who owns the tasks, and polls them when the loop says that their turn has come.
//!
//! A future lies in a slot of a table; for a poll it is taken out, and put back if it is not
//! done. So it can spawn, wake and cancel others, or itself, while it runs: the table is not
//! borrowed. The loop knows a task by its number only, and so does its waker.
//!
//! In asyncio this is `Task.__step`; in the notes, what drives a coroutine (N8, N9).
//!
//! # States
//!
//! *created* → *suspended* ⇄ *running* → one of *done*, *cancelled*, *panicked*.
//!
//! # Rules
//!
//! - **T1** A task is polled only if woken since its last poll, and never twice at once.
//! - **T2** A wake during a poll leads to one more poll.
//! - **T3** A task ends in exactly one way; its future is dropped once, on the loop's thread,
//!   before anybody hears of the end.

use super::budget::Allowance;
use super::join::{AnyCell, Head, JoinCell, JoinError, Outcome, Reason, TaskState, announce};
use super::waker::Wakeup;
use crate::base::slab::{Slab, SlabKey};
use crate::event_loop::panics::catch;
use crate::event_loop::{Jobs, Local, MAIN_JOB, Origin};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A future without its output's type: it leads back to the cell that has that type.
trait Coroutine {
    /// Polls, and leaves the output in `cell`, which was made for this future.
    fn poll_into(self: Pin<&mut Self>, cx: &mut Context<'_>, cell: &dyn AnyCell) -> Poll<()>;
}

impl<F> Coroutine for F
where
    F: Future<Output: 'static>,
{
    fn poll_into(self: Pin<&mut Self>, cx: &mut Context<'_>, cell: &dyn AnyCell) -> Poll<()> {
        self.poll(cx).map(|output| {
            let cell: &JoinCell<F::Output> = cell
                .as_any()
                .downcast_ref()
                .expect("a future is polled into its own cell");
            *cell.outcome.borrow_mut() = Outcome::Staged(output);
        })
    }
}

/// What is out of the table while a task is polled.
struct Body {
    future: Pin<Box<dyn Coroutine>>,
    wakeup: std::sync::Arc<Wakeup>,
    waker: Waker,
}

struct Slot {
    cell: Rc<dyn AnyCell>,
    /// `None` while it is polled, and for the main task.
    body: Option<Body>,
    /// Its future is owned, and polled, by whoever turns the loop. It cannot be cancelled.
    main: bool,
    /// Cancelled while it was running: to be dropped when its poll returns.
    cancelled: bool,
}

#[derive(Default)]
pub(crate) struct Executor {
    tasks: RefCell<Slab<Slot>>,
    current: Cell<Option<SlabKey>>,
    spawned: Cell<u64>,
}

impl Executor {
    /// The executor of a loop, made when first asked for.
    pub(crate) fn of(local: &Local) -> &Self {
        let jobs = local.jobs(|| Rc::new(Self::default()));
        jobs.as_any()
            .downcast_ref()
            .expect("no other scheduler was installed on this loop")
    }

    /// Takes a future in, to be polled for the first time in a later turn (L5, N9).
    pub(crate) fn spawn<F>(
        &self,
        local: &Local,
        future: Pin<Box<F>>,
        site: &'static Location<'static>,
    ) -> Rc<JoinCell<F::Output>>
    where
        F: Future<Output: 'static> + 'static,
    {
        let mut tasks = self.tasks.borrow_mut();
        let type_name = std::any::type_name::<F>();
        let (key, cell) = self.enlist(&mut tasks, site, type_name);
        let job = key.to_bits();
        let wakeup = Wakeup::new(job, local.inbox());
        let waker = Waker::from(std::sync::Arc::clone(&wakeup));
        let body = Body {
            future,
            wakeup,
            waker,
        };
        tasks.get_mut(key).expect("it was just inserted").body = Some(body);
        drop(tasks);
        if local.is_closed() {
            // R081: spawned by a destructor while the loop closes. It ends as all did.
            self.cancel(local, key, None);
        } else {
            local.queue_new_job(job);
        }
        cell
    }

    fn enlist<T: 'static>(
        &self,
        tasks: &mut Slab<Slot>,
        site: &'static Location<'static>,
        type_name: &'static str,
    ) -> (SlabKey, Rc<JoinCell<T>>) {
        let number = self.spawned.get() + 1;
        self.spawned.set(number);
        let mut made = None;
        let key = tasks.insert_with(|key| {
            let head = Head {
                job: key.to_bits(),
                number,
                name: RefCell::default(),
                site,
                type_name,
                polls: Cell::new(0),
                state: Cell::new(TaskState::Created),
                waiters: super::waiters::Waiters::default(),
                done: super::done::DoneList::default(),
                held: Cell::new(true),
                reason: RefCell::default(),
                forward: RefCell::default(),
            };
            let cell = Rc::new(JoinCell {
                head,
                outcome: RefCell::new(Outcome::Pending),
            });
            made = Some(Rc::clone(&cell));
            Slot {
                cell,
                body: None,
                main: false,
                cancelled: false,
            }
        });
        (key, made.expect("the closure has run"))
    }

    /// Drops a task's future where it waits, or, if it is running, when it next gives way.
    /// `true` exactly if this call is what ends it.
    pub(crate) fn cancel(&self, local: &Local, key: SlabKey, reason: Option<Reason>) -> bool {
        let mut tasks = self.tasks.borrow_mut();
        let Some(slot) = tasks.get_mut(key) else {
            return false;
        };
        if slot.cancelled || slot.main {
            return false;
        }
        *slot.cell.head().reason.borrow_mut() = reason;
        if slot.body.is_none() {
            slot.cancelled = true;
            return true;
        }
        let slot = tasks.remove(key).expect("it was there a moment ago");
        drop(tasks);
        // G5: a destructor may cancel the next one, and so on.
        local.nest(|local| {
            let _here = local.be_current();
            Self::end(local, slot, Err(JoinError::Cancelled));
        });
        true
    }

    /// T3: drops the future, then settles the result, then tells of it.
    fn end(local: &Local, slot: Slot, ended: Result<(), JoinError>) {
        let Slot { cell, body, .. } = slot;
        let ended = match (catch(|| drop(body)), ended) {
            (Ok(()), ended) => ended,
            // A cancelled future whose destructor panicked did not just end.
            (Err(payload), Err(JoinError::Cancelled)) => Err(JoinError::Panicked(payload)),
            (Err(payload), ended) => {
                local.note_panic(payload, cell.head().origin());
                ended
            }
        };
        let left = cell.settle(ended.map_err(|error| cell.head().explain(error)));
        local.drop_guarded(left);
        announce(local, &cell);
        if !cell.head().held.get() {
            // Detached: nobody will ask, so a panic is told now.
            cell.disown(local);
        }
    }

    /// Makes the caller's own future a task of this loop, as long as it is polled by
    /// [`Executor::step_main`].
    pub(crate) fn adopt_main<T: 'static>(
        &self,
        site: &'static Location<'static>,
        type_name: &'static str,
    ) -> (SlabKey, Rc<JoinCell<T>>) {
        let mut tasks = self.tasks.borrow_mut();
        let (key, cell) = self.enlist(&mut tasks, site, type_name);
        tasks.get_mut(key).expect("it was just inserted").main = true;
        (key, cell)
    }

    /// Polls the main future as the current task.
    pub(crate) fn step_main<R>(&self, key: SlabKey, head: &Head, poll: impl FnOnce() -> R) -> R {
        let _step = Step::begin(self, key, head);
        let _allowance = Allowance::full(); // F1
        poll()
    }

    /// The main task has ended, or its caller gives up: `end` says which (T3).
    pub(crate) fn release_main(&self, key: SlabKey, end: TaskState) {
        let slot = self.tasks.borrow_mut().remove(key);
        if let Some(slot) = slot {
            slot.cell.head().state.set(end);
        }
    }

    /// The task that is being polled.
    pub(crate) fn current(&self) -> Option<Rc<dyn AnyCell>> {
        let key = self.current.get()?;
        self.tasks
            .borrow()
            .get(key)
            .map(|slot| Rc::clone(&slot.cell))
    }

    /// All tasks that have not ended, in the order of their making.
    pub(crate) fn all(&self) -> Vec<Rc<dyn AnyCell>> {
        let tasks = self.tasks.borrow();
        let mut all: Vec<_> = tasks
            .iter()
            .map(|(_, slot)| Rc::clone(&slot.cell))
            .collect();
        all.sort_by_key(|cell| cell.head().number);
        all
    }
}

/// While a task is polled: it is the current one, also if the poll panics.
struct Step<'a> {
    executor: &'a Executor,
    before: Option<SlabKey>,
    head: &'a Head,
}

impl<'a> Step<'a> {
    fn begin(executor: &'a Executor, key: SlabKey, head: &'a Head) -> Self {
        head.state.set(TaskState::Running);
        head.polls.set(head.polls.get() + 1);
        Self {
            executor,
            before: executor.current.replace(Some(key)),
            head,
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.executor.current.set(self.before);
        if self.head.state.get() == TaskState::Running {
            self.head.state.set(TaskState::Suspended);
        }
    }
}

impl Jobs for Executor {
    fn run(&self, local: &Local, job: u64) {
        let key = SlabKey::from_bits(job);
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            // Gone: it was cancelled after it was woken.
            let Some(slot) = tasks.get_mut(key) else {
                return;
            };
            slot.body.take().map(|body| (body, Rc::clone(&slot.cell)))
        };
        let Some((mut body, cell)) = taken else {
            return;
        };
        body.wakeup.lower();
        let polled = catch(|| {
            let _step = Step::begin(self, key, cell.head());
            let _allowance = Allowance::full(); // F1
            body.future
                .as_mut()
                .poll_into(&mut Context::from_waker(&body.waker), &*cell)
        });
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks
            .get_mut(key)
            .expect("only its own poll ends a running task");
        slot.body = Some(body);
        let ended = match polled {
            Ok(_) if slot.cancelled => Err(JoinError::Cancelled),
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(())) => Ok(()),
            Err(payload) => Err(JoinError::Panicked(payload)),
        };
        let slot = tasks.remove(key).expect("it was there a moment ago");
        drop(tasks);
        Self::end(local, slot, ended);
    }

    fn origin(&self, job: u64) -> Origin {
        let tasks = self.tasks.borrow();
        let slot = tasks.get(SlabKey::from_bits(job));
        slot.map_or(Origin::Other, |slot| slot.cell.head().origin())
    }

    fn alive(&self) -> usize {
        self.tasks.borrow().len()
    }

    fn close(&self, local: &Local) -> Vec<String> {
        let mut names = Vec::new();
        // In the order of making. A destructor may end others, which are then not found; it
        // cannot spawn: on a closed loop a new task ends at once.
        for cell in self.all() {
            let slot = self
                .tasks
                .borrow_mut()
                .remove(SlabKey::from_bits(cell.head().job));
            if let Some(slot) = slot {
                names.push(cell.head().name().to_string());
                Self::end(local, slot, Err(JoinError::Cancelled));
            }
        }
        names
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The main task's waker.
pub(crate) fn main_waker(local: &Local) -> (std::sync::Arc<Wakeup>, Waker) {
    let wakeup = Wakeup::new(MAIN_JOB, local.inbox());
    (std::sync::Arc::clone(&wakeup), Waker::from(wakeup))
}
