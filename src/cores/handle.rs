//! The handles of a group: spawning on a core, and the end.
//!
//! [`Cores`] owns the threads, and ends them when it is dropped; a [`CoresHandle`] can be cloned, and sent
//! to any thread.
//!
//! In the notes: more than one core (N12).

use super::error::{ShutdownError, SpawnError};
use super::group::{Group, join};
use super::shutdown::Shutdown;
use crate::combine::race::race;
use crate::event_loop::{LoopClosed, RemoteHandle};
use crate::run::Runner;
use crate::signal::{Signal, signal};
use crate::task::RemoteTask;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::report::CoresReport;

/// A group of loops, each on a thread of its own. Dereferences to [`CoresHandle`], which has all methods.
///
/// Dropping a `Cores` ends the loops at once, and joins their threads: their tasks are dropped as at the end of
/// a [`run`](crate::run()). The drop waits no longer than the [grace](super::CoresBuilder::grace), and it does not
/// wait at all during a panic, on the thread of a core, or on a thread that turns another loop.
/// To let the tasks finish, call [`shutdown`](CoresHandle::shutdown) first, which also reports the work that was left.
///
/// In a child of the process that made them (after `fork`) the cores do not exist: work is refused with
/// [`SpawnError::Forked`], a wait returns [`ShutdownError::Forked`], and dropping does nothing.
pub struct Cores {
    handle: CoresHandle,
    threads: Vec<JoinHandle<()>>,
}

impl Cores {
    pub(super) fn new(group: Arc<Group>, threads: Vec<JoinHandle<()>>) -> Self {
        let handle = CoresHandle::new(group);
        Self { handle, threads }
    }

    /// Returns another handle to the cores, for any thread. It does not keep them running.
    #[must_use]
    pub fn handle(&self) -> CoresHandle {
        self.handle.clone()
    }
}

impl Deref for Cores {
    type Target = CoresHandle;

    fn deref(&self) -> &CoresHandle {
        &self.handle
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        let group = &self.handle.group;
        if group.forked() {
            // The threads do not exist here, so there is nothing to join or detach.
            return std::mem::forget(std::mem::take(&mut self.threads));
        }
        group.ask_to_stop(Duration::ZERO);
        if thread::panicking() || group.check_may_block().is_err() {
            return;
        }
        let until = super::now().checked_add(group.settings.grace);
        group.ends.wait(until);
        let threads = self.threads.drain(..).enumerate();
        // M1: the threads of cores that are blocked are left to themselves.
        let ended = threads.filter(|(core, _)| group.ends.has(*core));
        join(ended.map(|(_, thread)| thread).collect::<Vec<_>>());
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

/// A handle to the cores of a [`Cores`], for any thread. A clone refers to the same cores.
#[derive(Clone)]
pub struct CoresHandle {
    pub(super) group: Arc<Group>,
}

impl CoresHandle {
    pub(super) fn new(group: Arc<Group>) -> Self {
        Self { group }
    }

    /// Returns the number of cores. It stays the same if some of them end.
    #[must_use]
    pub fn count(&self) -> usize {
        self.group.count()
    }

    /// Returns the processor to which the thread of a core is pinned; `None` if it is not, or if there is
    /// no such core.
    #[must_use]
    pub fn processor(&self, core: usize) -> Option<usize> {
        self.group.processors.get(core).copied().flatten()
    }

    /// Returns the loop of a core, to send it closures; `None` if there is no such core.
    #[must_use]
    pub fn remote_handle(&self, core: usize) -> Option<RemoteHandle> {
        self.group.remotes.get(core).cloned()
    }

    /// Calls `make` on a core, and runs the future that it returns as a task there. The closure is sent
    /// to the core, and must be `Send`; the future stays there, and need not be.
    ///
    /// The [`RemoteTask`] gives the result, or the panic: await it on another loop, or wait for it on a
    /// thread without a loop. It can cancel the task. Dropping it detaches the task.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] with `make` in it. If the core ends before it has read the message, the
    /// [`RemoteTask`] reports that.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::cores::Cores;
    /// use std::rc::Rc;
    ///
    /// let cores = Cores::builder().count(2).build()?;
    /// let mut task = cores.spawn_on(1, || async {
    ///     let kept = Rc::new(21); // it is not `Send`, and stays on its core
    ///     readily::yield_now().await;
    ///     *kept
    /// })?;
    /// assert_eq!(task.wait()?, 21);
    /// let refused = cores.spawn_on(2, || async {});
    /// assert_eq!(refused.unwrap_err().to_string(), "there is no core 2: the group has 2, from 0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_on<M, F>(
        &self,
        core: usize,
        make: M,
    ) -> Result<RemoteTask<F::Output>, SpawnError<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        let Some(remote) = self.group.remotes.get(core) else {
            let count = self.count();
            return Err(SpawnError::NoSuchCore { make, core, count });
        };
        remote
            .spawn(make)
            .map_err(|LoopClosed(make)| match self.group.forked() {
                true => SpawnError::Forked(make),
                false => SpawnError::Ended(make),
            })
    }

    /// Calls `make` on the next core, each in its turn, and runs the future there: see
    /// [`spawn_on`](Self::spawn_on). A core that has ended is left out.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] with `make` in it, if all cores have ended.
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Result<RemoteTask<F::Output>, SpawnError<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        let first = self.group.next_core();
        let mut refused = SpawnError::Ended(make);
        for n in 0..self.count() {
            let make = refused.into_inner();
            match self.spawn_on((first + n) % self.count(), make) {
                Err(error @ SpawnError::Ended(_)) => refused = error,
                spawned => return spawned,
            }
        }
        Err(refused)
    }

    /// Asks all cores to stop, and does not wait until they have. This may be called on a core, and more than once:
    /// the earliest limit counts.
    ///
    /// Each core cancels its [`stop_token`](super::Core::stop_token), and runs until it has no task, no registration,
    /// no timer and no closure left, but no longer than `limit`. Work that is left at the limit is dropped, as at the
    /// end of a [`run`](crate::run()). The cores do not wait for each other; work that is sent to a core after its
    /// end is refused.
    pub fn begin_shutdown(&self, limit: Duration) {
        if !self.group.forked() {
            self.group.ask_to_stop(limit);
        }
    }

    /// Asks all cores to stop ([`begin_shutdown`](Self::begin_shutdown)), and returns the future of
    /// their ends.
    ///
    /// On the thread of a core the shutdown is not begun, and the future returns an error: the waiting task
    /// would wait for its own end.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::cores::Cores;
    /// use std::future::pending;
    /// use std::time::Duration;
    ///
    /// let cores = Cores::builder().count(2).build()?;
    /// let _left = cores.spawn_on(0, || async {
    ///     readily::current_task().expect("it is one").set_name("endless");
    ///     pending::<()>().await
    /// })?;
    /// let report = cores.shutdown(Duration::from_millis(10)).wait()?;
    /// assert_eq!(report.tasks().collect::<Vec<_>>(), ["endless"]);
    /// assert!(!report.cores[0].is_clean() && report.cores[1].is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, limit: Duration) -> Shutdown {
        Shutdown::begin(&self.group, limit)
    }

    /// Returns the future of the ends of all cores, without asking the cores to stop.
    pub fn ended(&self) -> Shutdown {
        Shutdown::ended(&self.group)
    }

    /// Blocks this thread until SIGINT or SIGTERM has come, or until all cores have ended by themselves;
    /// then shuts them down, with this limit. A second signal ends the process by its default action.
    ///
    /// A signal that comes before this is called has its earlier action.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`]: as [`Shutdown::wait`]; or the signals cannot be listened for. Nothing is shut
    /// down then.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::cores::Cores;
    /// use std::time::Duration;
    ///
    /// let cores = Cores::builder().count(2).build()?;
    /// // … servers and tasks
    /// # let me = std::process::id().to_string();
    /// # cores.spawn_on(0, move || async move {
    /// #     readily::sleep(Duration::from_millis(100)).await;
    /// #     std::process::Command::new("kill").args(["-TERM", &me]).status().unwrap();
    /// # })?;
    /// let report = cores.run_until_signal(Duration::from_secs(5))?; // until Ctrl-C, or SIGTERM
    /// assert!(report.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_until_signal(&self, limit: Duration) -> Result<CoresReport, ShutdownError> {
        self.group.check_may_block()?;
        let mut runner = Runner::new()?;
        runner.run(async {
            let (int, term) = (signal(Signal::INT)?, signal(Signal::TERM)?);
            let ended = async { drop(self.ended().await) };
            let (int_came, term_came) = (async { drop(int.recv().await) }, async {
                drop(term.recv().await)
            });
            race((int_came, term_came, ended)).await;
            // From here on a second signal has its earlier action.
            drop((int, term));
            self.shutdown(limit).await
        })?
    }
}

impl fmt::Debug for CoresHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoresHandle")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
