//! The threads of a pool: each takes jobs until there are none, sleeps, and ends after an idle time.
//!
//! The decisions are made in `queue.rs`, under the one lock of a pool; this file carries them out. A
//! thread is started under the lock: that is rare, and so a refused start fails only the submission
//! that needed it, and only if the pool has no other thread (R249, R115). Threads are woken after
//! the lock is released.
//!
//! In the notes: the thread pool (N3, N5). In asyncio this is `ThreadPoolExecutor`.

use super::errors::SubmitError;
use super::job::Run;
use super::pool_state::{CANCELLED, Entry, Settings, Slot, State, Submitted, now};
use super::queue::{Need, Queue, Refused, Removed, Taken, Ticket};
use crate::base::sync::{Condvar, Mutex, MutexGuard, start_thread};
use crate::task::wait_queue::WakeBatch;
use readily_sys::fork::ForkGuard;
use readily_sys::signal_mask::BlockedSignals;
use std::cell::Cell;
use std::io;
use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::thread;

/// The state that all handles and threads of a pool share.
pub(super) struct Workers {
    state: Mutex<State>,
    /// Idle threads wait for it.
    pub(super) work: Condvar,
    settings: Settings,
    fork: ForkGuard,
}

/// A pool, and the line that submitted the job which its thread runs.
type CurrentJob = Option<(usize, &'static Location<'static>)>;

#[cfg(not(all(loom, test)))]
thread_local! {
    /// The pool of which this is a thread, and the job that it runs.
    static CURRENT: Cell<CurrentJob> = const { Cell::new(None) };
}

// The threads of a model are one thread of the system.
#[cfg(all(loom, test))]
loom::thread_local! {
    static CURRENT: Cell<CurrentJob> = Cell::new(None);
}

fn wake_all(wakers: Vec<Waker>) {
    let mut batch = WakeBatch::default();
    wakers.into_iter().for_each(|waker| batch.wake(waker));
    batch.report();
}

impl Workers {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let mut queue = Queue::new(settings.max_threads);
        queue.add_lane(settings.max_threads, settings.capacity);
        Arc::new(Self {
            state: Mutex::new(State {
                queue,
                slots: Vec::new(),
                waiters: Vec::new(),
            }),
            work: Condvar::new(),
            settings,
            fork: ForkGuard::new().expect("it falls back on the process id"),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent even if the lock is poisoned: nothing that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether this process is a child of the one that made the pool. Its threads do not exist here,
    /// and one of them may have had the lock (R253): asked before each use of the lock.
    pub(super) fn forked(&self) -> bool {
        self.fork.forked()
    }

    pub(super) fn add_lane(&self, max_running: usize, capacity: usize) -> usize {
        self.state().queue.add_lane(max_running, capacity)
    }

    pub(super) fn free_lane(&self, lane: usize) {
        if !self.forked() {
            self.state().queue.free_lane(lane);
        }
    }

    /// Queues a job, and sees to it that a thread comes for it.
    pub(super) fn submit(
        self: &Arc<Self>,
        lane: usize,
        job: Arc<dyn Run>,
        may_wait: bool,
    ) -> Result<Submitted, SubmitError<()>> {
        let (mut state, submitted) = self.push(lane, job, may_wait)?;
        match self.staff(&mut state) {
            Ok(wake) => {
                drop(state);
                if wake {
                    self.work.notify_one();
                }
                Ok(submitted)
            }
            Err(error) => {
                // R115: nothing would ever run it. No thread has it, because the lock was not released.
                let removed = state.queue.cancel(submitted.ticket);
                drop(state);
                drop(removed);
                Err(SubmitError::NoThread((), error))
            }
        }
    }

    pub(super) fn push(
        &self,
        lane: usize,
        job: Arc<dyn Run>,
        may_wait: bool,
    ) -> Result<(MutexGuard<'_, State>, Submitted), SubmitError<()>> {
        if self.forked() {
            return Err(SubmitError::Forked(()));
        }
        let mut state = self.state();
        let since = (!state.queue.can_start(lane)).then(now);
        let entry = Entry { job, since };
        match state.queue.push(lane, entry, may_wait) {
            Ok((ticket, has_room)) => Ok((state, Submitted { ticket, has_room })),
            Err((refused, entry)) => {
                drop(state);
                drop(entry);
                Err(match refused {
                    Refused::Full => SubmitError::Full(()),
                    Refused::Closed => SubmitError::Closed(()),
                })
            }
        }
    }

    /// Does what the queue needs, except that the caller wakes a thread if this returns `true`.
    ///
    /// # Errors
    ///
    /// That of starting a thread, if the pool has none. If it has one, the jobs wait for that.
    pub(super) fn staff(self: &Arc<Self>, state: &mut State) -> io::Result<bool> {
        match state.queue.need() {
            Need::Nothing => Ok(false),
            Need::Wake => Ok(true),
            Need::Start => match self.start(state) {
                Err(error) if state.queue.start_failed() => Err(error),
                Ok(()) | Err(_) => Ok(false),
            },
        }
    }

    fn start(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let slot = state.free_slot();
        let settings = &self.settings;
        let mut builder = thread::Builder::new().name(format!("{}-{slot}", settings.name));
        if let Some(size) = settings.stack_size {
            builder = builder.stack_size(size);
        }
        let workers = Arc::clone(self);
        let _inherited = BlockedSignals::new(); // R254
        start_thread(builder, move || workers.work(slot))?;
        state.slots[slot] = Slot::Idle;
        Ok(())
    }

    /// The life of a thread.
    fn work(self: &Arc<Self>, slot: usize) {
        let mut state = self.state();
        state.queue.arrive();
        loop {
            state = match state.queue.take() {
                Some(taken) => self.run(state, slot, taken, true),
                None => match self.sleep(state, slot) {
                    Some(state) => state,
                    None => return,
                },
            };
        }
    }

    /// Runs a job without the lock. A simulated thread leaves the other jobs to other steps.
    pub(super) fn run<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        slot: usize,
        taken: Taken<Entry>,
        is_thread: bool,
    ) -> MutexGuard<'a, State> {
        let Taken {
            job: Entry { job, .. },
            lane,
            accepted,
        } = taken;
        state.slots[slot] = Slot::Busy(job.site(), now());
        // P3: this thread is busy now, and its lane may have had a limit until now. A refused start
        // is no error: this thread will look again.
        let wake = is_thread && self.staff(&mut state).unwrap_or(false);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        if let Some(accepted) = accepted {
            accepted.job.accept();
        }
        let pool = self.id();
        let _ = CURRENT.try_with(|current| current.set(Some((pool, job.site()))));
        job.run();
        // R251: the closure has gone; the result, too, if it has no waiter.
        drop(job);
        let _ = CURRENT.try_with(|current| current.set(None));
        let mut state = self.state();
        state.queue.finish(lane);
        state.slots[slot] = Slot::Idle;
        state
    }

    /// Sleeps until a job comes; `None` if the thread ends instead.
    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        slot: usize,
    ) -> Option<MutexGuard<'a, State>> {
        let idle = self.settings.idle;
        if state.queue.is_closed() || idle.is_zero() {
            state.queue.leave();
            self.end(state, slot);
            return None;
        }
        state.queue.sleep();
        loop {
            let waited = self.work.wait_timeout(state, idle);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            // R247: first of all. A thread that was woken when its time was over does not end.
            if state.queue.consume_wake() {
                return Some(state);
            }
            if state.queue.is_closed() || timeout.timed_out() {
                state.queue.leave_idle();
                self.end(state, slot);
                return None;
            }
        }
    }

    /// The last step of a thread, which the queue does not count any more.
    pub(super) fn end(&self, mut state: MutexGuard<'_, State>, slot: usize) {
        state.slots[slot] = Slot::Free;
        let wakers = state.ended();
        drop(state);
        wake_all(wakers);
    }

    /// Removes a job from the queue; `true` if it was there, and so never runs.
    pub(super) fn cancel(&self, ticket: Ticket) -> bool {
        let mut state = self.state();
        let removed = state.queue.cancel(ticket);
        let wakers = state.ended();
        drop(state);
        wake_all(wakers);
        let Some(Removed { job, accepted }) = removed else {
            return false;
        };
        drop(job);
        if let Some(accepted) = accepted {
            accepted.job.accept();
        }
        true
    }

    /// Accepts no further job. With `cancel`, jobs that have not started are cancelled; without it
    /// they run.
    pub(super) fn close(&self, cancel: bool) {
        if self.forked() {
            return;
        }
        let mut state = self.state();
        state.queue.close();
        let jobs = match cancel {
            true => state.queue.drain(),
            false => Vec::new(),
        };
        let wakers = state.ended();
        drop(state);
        self.work.notify_all();
        for entry in jobs {
            entry.job.refuse(CANCELLED);
        }
        wake_all(wakers);
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The site of the job that runs on this thread, if the thread is one of this pool.
    pub(super) fn current_job(&self) -> Option<&'static Location<'static>> {
        let current = CURRENT.try_with(Cell::get).ok().flatten();
        current.and_then(|(pool, site)| (pool == self.id()).then_some(site))
    }
}
