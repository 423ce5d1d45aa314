//! The builder of a group: how many loops, their processors, their threads, and their options.
//!
//! All threads are started before any loop runs, and a thread that cannot be started ends the others.
//!
//! In the notes: more than one core (N12).

use super::error::BuildError;
use super::group::{Group, Settings, WhenCoreEnds, join};
use super::handle::Cores;
use super::start::{LoopOptions, Start, StartError, run_thread};
use crate::event_loop::{RemoteHandle, Unhandled};
use crate::run::{Runner, RunnerBuilder};
use readily_sys::affinity;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most loops of a group. Each has a thread and two or three descriptors.
const MOST: usize = 1024;

/// Options for a new group: see [`Cores::builder`].
#[must_use = "nothing is made before `build`"]
pub struct CoresBuilder {
    count: Option<usize>,
    pin: bool,
    name: String,
    stack_size: Option<usize>,
    options: Arc<LoopOptions>,
    settings: Settings,
}

impl Cores {
    /// Returns a builder, to choose the number of loops, their threads and their options.
    pub fn builder() -> CoresBuilder {
        CoresBuilder {
            count: None,
            pin: false,
            name: "readily-core".to_owned(),
            stack_size: None,
            options: Arc::new(|_| Runner::builder()),
            settings: Settings {
                when_core_ends: WhenCoreEnds::default(),
                grace: Duration::from_secs(10),
                hook: None,
            },
        }
    }
}

impl CoresBuilder {
    /// Sets the number of loops. By default it is
    /// [`available_parallelism`](std::thread::available_parallelism): the processors that the process may
    /// use, and on Linux no more than its cgroup has a quota for.
    #[doc(alias = "worker_threads")]
    #[doc(alias = "GOMAXPROCS")]
    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// Pins each thread to a processor of its own, of those that the process may use
    /// (`sched_getaffinity(2)`). By default the system moves threads as it likes, which is better on a
    /// machine with other work.
    #[doc(alias = "affinity")]
    pub fn pin(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// Sets the name of the threads, to which the number of the core is added; `readily-core` by default.
    /// Linux shows the first 15 bytes.
    #[doc(alias = "thread_name")]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the size of each thread's stack; the default of [`std::thread`] if it is not set.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets the options of each loop: `options` is called with the number of the core, on its thread.
    /// [`RunnerBuilder::cancel_on_sigint`] has no effect here: see
    /// [`run_until_signal`](super::CoresHandle::run_until_signal).
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::Runner;
    /// use readily::cores::Cores;
    ///
    /// let options = |_core| Runner::builder().debug(true);
    /// let cores = Cores::builder().count(2).loop_options(options).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loop_options(
        mut self,
        options: impl Fn(usize) -> RunnerBuilder + Send + Sync + 'static,
    ) -> Self {
        self.options = Arc::new(options);
        self
    }

    /// Sends the reports of all loops to `hook`, with the number of the core: see
    /// [`LoopHandle::on_unhandled`](crate::LoopHandle::on_unhandled). It is called on the thread of that
    /// core, and so by several threads at the same time. Without a hook reports go to standard error.
    pub fn on_unhandled(
        mut self,
        hook: impl Fn(usize, &Unhandled) + Send + Sync + 'static,
    ) -> Self {
        self.settings.hook = Some(Arc::new(hook));
        self
    }

    /// Sets what happens to the other cores when one ends by itself. The end is reported in any case
    /// ([`Unhandled::CoreEnded`]).
    pub fn when_core_ends(mut self, action: WhenCoreEnds) -> Self {
        self.settings.when_core_ends = action;
        self
    }

    /// Sets how long after the limit of a shutdown a core may take to end, for instance because a callback
    /// or a job of its thread pool blocks it; ten seconds by default. After that its thread is left to
    /// itself, and the report has [`CoreEnd::Running`](super::CoreEnd::Running).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Starts the threads, each with its loop.
    ///
    /// # Errors
    ///
    /// [`BuildError`]. The loops that had been started are ended, and their threads joined.
    ///
    /// # Panics
    ///
    /// If the closure of [`loop_options`](Self::loop_options) does.
    pub fn build(self) -> Result<Cores, BuildError> {
        let processors = self.processors()?;
        let mut threads = Threads::default();
        for (core, processor) in processors.iter().enumerate() {
            threads.start(&self, core, *processor)?;
        }
        let Threads {
            handles,
            remotes,
            groups,
        } = &mut threads;
        let group = Group::new(std::mem::take(remotes), processors, self.settings.clone());
        let group = Arc::new(group);
        for sender in groups.drain(..) {
            // The thread waits for it.
            let _sent = sender.send(Arc::clone(&group));
        }
        Ok(Cores::new(group, std::mem::take(handles)))
    }

    /// The processor of each core, if the threads are to be pinned.
    fn processors(&self) -> Result<Vec<Option<usize>>, BuildError> {
        let count = match self.count {
            Some(count) => count,
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        if count == 0 {
            return Err(BuildError::NoCores);
        }
        if count > MOST {
            return Err(BuildError::TooMany { count, most: MOST });
        }
        if self.name.contains('\0') {
            return Err(BuildError::InvalidName(self.name.clone()));
        }
        if !self.pin {
            return Ok(vec![None; count]);
        }
        let allowed = affinity::allowed().map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => BuildError::PinUnsupported,
            _ => BuildError::Pin { core: 0, error },
        })?;
        if count > allowed.len() {
            let allowed = allowed.len();
            return Err(BuildError::TooFewProcessors { count, allowed });
        }
        Ok(allowed.into_iter().take(count).map(Some).collect())
    }
}

/// The threads that have been started so far. Dropping it ends and joins them.
#[derive(Default)]
struct Threads {
    remotes: Vec<RemoteHandle>,
    /// Each thread waits for the group, or for the end of its sender.
    groups: Vec<Sender<Arc<Group>>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts a thread, and waits until it has a loop.
    fn start(
        &mut self,
        builder: &CoresBuilder,
        core: usize,
        processor: Option<usize>,
    ) -> Result<(), BuildError> {
        let start = Start {
            core,
            processor,
            options: Arc::clone(&builder.options),
            hook: builder.settings.hook.clone(),
        };
        let (answer, answered) = channel();
        let (sender, group) = channel();
        let mut thread = thread::Builder::new().name(format!("{}-{core}", builder.name));
        if let Some(size) = builder.stack_size {
            thread = thread.stack_size(size);
        }
        let handle = thread
            .spawn(move || run_thread(start, answer, group))
            .map_err(|error| BuildError::Thread { core, error })?;
        self.handles.push(handle);
        self.groups.push(sender);
        match answered.recv() {
            Ok(Ok(remote)) => {
                self.remotes.push(remote);
                Ok(())
            }
            Ok(Err(StartError::Build(error))) => Err(error),
            Ok(Err(StartError::Panicked(payload))) => std::panic::resume_unwind(payload),
            // A panic outside of what is caught: a poller's destructor, for instance.
            Err(_) => Err(BuildError::Thread {
                core,
                error: io::Error::other("the thread ended while it made its loop"),
            }),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.groups.clear();
        join(self.handles.drain(..));
    }
}

impl fmt::Debug for CoresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoresBuilder")
            .field("count", &self.count)
            .field("pin", &self.pin)
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .field("when_core_ends", &self.settings.when_core_ends)
            .field("grace", &self.settings.grace)
            .finish_non_exhaustive()
    }
}
