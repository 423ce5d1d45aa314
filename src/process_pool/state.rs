//! What a pool and the tasks of its workers share: the calls that wait, and the workers.
//!
//! In asyncio: the fields of `ProcessPoolExecutor`, and its manager thread's.

use super::any_worker::AnyWorker;
use super::call::Call;
use super::error::{JobError, StartError};
use super::options::Options;
use super::worker::Program;
use crate::event_loop::{Attachment, WeakHandle, current};
use crate::process::ChildHandle;
use crate::task::{Promise, TaskRef};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// What the pool and the tasks of its workers share.
pub(super) struct Shared {
    pub(super) program: &'static Program,
    pub(super) options: Options,
    /// The number of calls so far.
    pub(super) calls: Cell<u64>,
    pub(super) state: RefCell<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The calls that wait for a worker, and some that were cancelled meanwhile.
    pub(super) queue: VecDeque<Rc<Call>>,
    pub(super) idle: Vec<AnyWorker>,
    pub(super) tasks: Vec<WorkerTask>,
    /// The number of the last task.
    pub(super) last_task: u64,
    /// The processes that were started, and have perhaps ended.
    pub(super) children: Vec<ChildHandle>,
    /// How many workers in a row have not become ready.
    pub(super) failed_starts: u32,
    /// How many starts in a row the system has refused.
    pub(super) refused_starts: u32,
    /// The reason why no more workers are started.
    pub(super) broken: Option<Arc<StartError>>,
    pub(super) is_shut_down: bool,
    /// Settled when there is no task.
    pub(super) waiting_for_end: Vec<Promise<()>>,
    pub(super) counts: Counts,
    /// The loop that the tasks and the workers belong to.
    home: Option<WeakHandle>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) started: u64,
    pub(super) died: u64,
}

/// A task that starts a worker, or runs calls on one.
pub(super) struct WorkerTask {
    pub(super) number: u64,
    /// `None` while it is being spawned.
    pub(super) task: Option<TaskRef>,
    /// The call that it has taken from the queue.
    pub(super) call: Option<Rc<Call>>,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It starts a worker.
    Starting,
    /// It has a worker.
    Serving,
    /// The system has refused it a worker, and it tries again later.
    Retrying,
}

impl WorkerTask {
    pub(super) fn is_running(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_running())
    }
}

impl State {
    /// Takes the next call from the queue that was not cancelled.
    pub(super) fn next_call(&mut self) -> Option<Rc<Call>> {
        while let Some(call) = self.queue.pop_front() {
            if call.is_queued() {
                return Some(call);
            }
        }
        None
    }

    /// Takes an idle worker. Those that have ended go to `ended`, to be dropped without a borrow.
    pub(super) fn take_idle(&mut self, ended: &mut Vec<AnyWorker>) -> Option<AnyWorker> {
        while let Some(mut worker) = self.idle.pop() {
            match worker.is_alive() {
                true => return Some(worker),
                false => ended.push(worker),
            }
        }
        None
    }

    pub(super) fn is_any(&self, phase: Phase) -> bool {
        self.tasks.iter().any(|task| task.phase == phase)
    }

    pub(super) fn task(&mut self, number: u64) -> Option<&mut WorkerTask> {
        self.tasks.iter_mut().find(|task| task.number == number)
    }
}

impl Shared {
    pub(super) fn new(program: &'static Program, options: Options) -> Rc<Self> {
        Rc::new(Self {
            program,
            options,
            calls: Cell::new(0),
            state: RefCell::default(),
        })
    }

    /// Whether a job can be submitted here and now.
    ///
    /// # Panics
    ///
    /// Outside a loop.
    pub(super) fn check_open(self: &Rc<Self>) -> Result<(), JobError> {
        self.check_home()?;
        let state = self.state.borrow();
        match &state.broken {
            _ if state.is_shut_down => Err(JobError::ShutDown),
            Some(error) => Err(JobError::Start(Arc::clone(error))),
            None => Ok(()),
        }
    }

    /// Ties the pool to the current loop, if the one that it belongs to has ended.
    fn check_home(self: &Rc<Self>) -> Result<(), JobError> {
        let mut state = self.state.borrow_mut();
        match &state.home {
            Some(home) if home.is_closed() => {}
            Some(home) if is_forked(home) => return Err(JobError::Forked),
            Some(home) if home.is_other_loop() => return Err(JobError::OtherLoop),
            Some(_) => return Ok(()),
            None => {}
        }
        let here = WeakHandle::current();
        let here = here.expect("a job was submitted outside a loop: use readily::run");
        if here.is_closed() {
            return Err(JobError::ShutDown);
        }
        state.home = Some(here);
        // They have ended with the loop.
        state.children.clear();
        drop(state);
        current::with(|handle| {
            handle.attached(LoopPools::default, |pools| pools.add(Rc::downgrade(self)));
        });
        Ok(())
    }

    /// Whether the loop of the pool runs here, so that its tasks go on while this one waits.
    pub(super) fn is_own_loop(&self) -> bool {
        let state = self.state.borrow();
        let home = state.home.as_ref();
        home.is_none_or(|home| !home.is_closed() && !home.is_other_loop() && !is_forked(home))
    }

    /// Whether the loop of the pool has ended, or this is a forked child of its process.
    pub(super) fn is_home_gone(&self) -> bool {
        let state = self.state.borrow();
        let home = state.home.as_ref();
        home.is_none_or(|home| home.is_closed() || is_forked(home))
    }
}

/// The pools of one loop, whose workers end with it.
#[derive(Default)]
struct LoopPools(RefCell<Vec<Weak<Shared>>>);

impl LoopPools {
    fn add(&self, pool: Weak<Shared>) {
        let mut pools = self.0.borrow_mut();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }
}

impl Attachment for LoopPools {
    /// Busy workers have ended with their tasks.
    fn close(&self) {
        for pool in self.0.take().iter().filter_map(Weak::upgrade) {
            drop(pool.close_idle());
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn is_forked(home: &WeakHandle) -> bool {
    home.with(|handle| handle.inbox().forked()) == Some(true)
}
