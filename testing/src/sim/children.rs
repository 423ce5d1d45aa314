//! The child processes of a loop on a kernel in memory, and the programs of a test that they run.
//!
//! In the notes: other processes (N3, N5, N6).

use super::process::{Process, Processes, Program};
use super::{Kernel, os};
use readily::io::{PipeReader, PipeWriter};
use readily::signal::Signal;
use readily::spi::{VirtualFd, VirtualProcess};
use readily_sys::errno::{ECHILD, ESRCH};
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::rc::Rc;

/// Starts the program of a child.
type Start = dyn Fn(SimChild) -> io::Result<Program>;

/// The children of a kernel.
#[derive(Default)]
pub(super) struct Children {
    start: RefCell<Option<Rc<Start>>>,
    processes: Rc<RefCell<Processes>>,
}

/// A child process in memory, as its own program sees it: see [`Kernel::set_programs`].
#[derive(Debug)]
pub struct SimChild {
    process: Rc<Process>,
    program: OsString,
    args: Vec<OsString>,
    /// The reading end of its standard input; `None` if that is no pipe.
    pub stdin: Option<PipeReader>,
    /// The writing end of its standard output; `None` if that is no pipe.
    pub stdout: Option<PipeWriter>,
    /// The writing end of its standard error; `None` if that is no pipe.
    pub stderr: Option<PipeWriter>,
}

impl SimChild {
    /// Returns the name of the program.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Returns the arguments.
    #[must_use]
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// Returns the number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id
    }

    /// Catches a signal from now on: it has no default action, and [`signal`](Self::signal) returns it.
    /// SIGKILL and SIGSTOP cannot be caught.
    pub fn catch(&self, signal: Signal) {
        self.process.catch(signal.raw());
    }

    /// Waits for a signal that is caught. Several of one number that have come meanwhile are one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub fn signal(&self) -> impl Future<Output = Signal> + use<> {
        let process = Rc::clone(&self.process);
        poll_fn(move |cx| {
            let signal = process.poll_signal(cx);
            signal.map(|number| Signal::from_raw(number).expect("it is one that is caught"))
        })
    }
}

impl Kernel {
    /// The lowest number of a process in memory. The system's have lower numbers, so the two cannot be
    /// confused.
    pub const FIRST_PROCESS: u32 = 1 << 23;

    /// Sets the programs that children run on this kernel. Without them
    /// [`Command::spawn`](readily::process::Command::spawn) returns
    /// [`NoProcesses`](readily::process::ChildError::NoProcesses).
    ///
    /// `start` is called for each child, and returns its program, a future whose output is the exit code, or
    /// the error of the system. The program runs as a task of the loop. Each standard stream that the
    /// [`Command`](readily::process::Command) sets, to whatever, is a pipe; the others are not there. A signal
    /// has its default action, unless the program [catches](SimChild::catch) it. A program that panics ends as by
    /// SIGABRT.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::process::Command;
    /// use readily::{sleep, wait_for};
    /// use readily_testing::SimLoop;
    /// use std::io;
    /// use std::time::Duration;
    ///
    /// let mut sim = SimLoop::new(7);
    /// sim.kernel().set_programs(|mut child| {
    ///     if child.program() != "shout" {
    ///         return Err(io::ErrorKind::NotFound.into());
    ///     }
    ///     Ok(async move {
    ///         let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    ///         let mut text = Vec::new();
    ///         stdin.read_to_end(&mut text, 1 << 20).await.unwrap();
    ///         sleep(Duration::from_secs(60)).await;
    ///         stdout.write_all(&text.to_ascii_uppercase()).await.unwrap();
    ///         0
    ///     })
    /// });
    /// let output = sim.run(async { Command::new("shout").communicate(b"hello").await })??;
    /// assert_eq!((output.stdout, output.status.code()), (b"HELLO".to_vec(), Some(0)));
    /// assert_eq!(sim.elapsed(), Duration::from_secs(60));
    /// assert_eq!(sim.kernel().processes(), []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_programs<F>(&self, start: impl Fn(SimChild) -> io::Result<F> + 'static)
    where
        F: Future<Output = u8> + 'static,
    {
        let boxed = move |child| start(child).map(|program| Box::pin(program) as Program);
        self.children.start.replace(Some(Rc::new(boxed)));
    }

    /// Returns the numbers of the processes, and whether each has ended, so that only its status is left.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, bool)> {
        let processes = self.children.processes.borrow();
        let all = processes.values();
        all.map(|process| (process.id, !process.is_running()))
            .collect()
    }

    fn process(&self, id: u32) -> Option<Rc<Process>> {
        self.children.processes.borrow().get(&id).cloned()
    }

    /// Sends a signal to a process by its number, as another program would (`kill(2)`).
    ///
    /// # Errors
    ///
    /// `ESRCH` if no process has this number.
    pub fn kill(&self, id: u32, signal: Signal) -> io::Result<()> {
        let process = self.process(id).ok_or_else(|| os(ESRCH))?;
        process.signal(signal.raw())
    }

    /// Takes the status of a process by its number, as other code of the parent would (`waitpid(2)`); `None` if it
    /// runs.
    ///
    /// # Errors
    ///
    /// `ECHILD` if no process has this number.
    pub fn take_status(&self, id: u32) -> io::Result<Option<ExitStatus>> {
        let process = self.process(id).ok_or_else(|| os(ECHILD))?;
        Ok(process.take_status()?.map(ExitStatus::from_raw))
    }

    /// Starts a child: all of it, or nothing.
    pub(super) fn start(
        &self,
        command: &Command,
        piped: [bool; 3],
    ) -> Option<io::Result<VirtualProcess>> {
        let start = self.children.start.borrow().clone()?;
        Some(self.start_by(&*start, command, piped))
    }

    fn start_by(
        &self,
        start: &Start,
        command: &Command,
        piped: [bool; 3],
    ) -> io::Result<VirtualProcess> {
        let (mut stdin, mut stdout, mut stderr) = (None, None, None);
        let [mut input, mut output, mut errors] = [None, None, None];
        let shared = |fd| Rc::new(fd) as Rc<dyn VirtualFd>;
        if piped[0] {
            let (reader, writer) = self.pipe()?;
            stdin = Some(PipeReader::from_kernel(shared(reader))?);
            input = Some(shared(writer));
        }
        for (is_piped, theirs, ours) in [
            (piped[1], &mut stdout, &mut output),
            (piped[2], &mut stderr, &mut errors),
        ] {
            if is_piped {
                let (reader, writer) = self.pipe()?;
                *theirs = Some(PipeWriter::from_kernel(shared(writer))?);
                *ours = Some(shared(reader));
            }
        }
        let process = Rc::new(Process::new(
            &self.children.processes,
            self.free_process_number(),
        ));
        // It has its number while `start` runs, which may start others.
        let added = Rc::clone(&process);
        self.children
            .processes
            .borrow_mut()
            .insert(process.id, added);
        let started = start(SimChild {
            process: Rc::clone(&process),
            program: command.get_program().to_owned(),
            args: command.get_args().map(OsStr::to_owned).collect(),
            stdin,
            stdout,
            stderr,
        });
        let program = started.inspect_err(|_| {
            self.children.processes.borrow_mut().remove(&process.id);
        })?;
        process.run(program);
        Ok(VirtualProcess::new(process, [input, output, errors]))
    }

    fn free_process_number(&self) -> u32 {
        let processes = self.children.processes.borrow();
        let is_free = |id: &u32| !processes.contains_key(id);
        (Self::FIRST_PROCESS..)
            .find(is_free)
            .expect("there are fewer processes than numbers")
    }
}
