//! How to start a child: the standard library's command, with further options.
//!
//! In asyncio: `create_subprocess_exec`. (`create_subprocess_shell` is `Command::new("sh").args(["-c", …])`.)

use super::child::{Child, Output, OutputOptions};
use super::error::ChildError;
use super::running::{ChildOptions, ExitWatch};
use super::simulated::start_simulated;
use super::start::start;
use crate::event_loop::{Error, LoopHandle, current};
use crate::task::budget;
use readily_sys::child::{reset_actions, reset_mask};
use readily_sys::signal::is_any_blocked;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::path::Path;
use std::pin::pin;
use std::process::{self, ExitStatus, Stdio};
use std::time::Duration;

/// Starts child processes: the program, its arguments, and the options of [`std::process::Command`].
///
/// Options that have no method here are set through [`as_std_mut`](Command::as_std_mut). The
/// program is looked up in `PATH` unless its name has a slash. With [`current_dir`](Command::current_dir), give an absolute
/// path: systems differ in where a relative one begins.
///
/// Writing a program and then starting it fails now and then with `ExecutableFileBusy` if another thread starts a
/// process meanwhile, which for a moment has the file open for writing, too.
///
/// # Examples
///
/// A child whose output is read line by line, and that does not outlive its task:
///
/// ```
/// use readily::process::{ChildError, Command};
/// use std::process::Stdio;
///
/// readily::run(async {
///     let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
///     let stdout = child.stdout.take().expect("it is piped");
///     let mut all = Vec::new();
///     stdout.read_to_end(&mut all, 1 << 20).await?;
///     assert_eq!(all, b"hello\n");
///     assert!(child.wait().await?.success());
///     Ok::<_, ChildError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "create_subprocess_exec")]
pub struct Command {
    command: process::Command,
    options: ChildOptions,
    output: OutputOptions,
    exit_watch: ExitWatch,
    /// Which of the standard streams were set.
    is_set: [bool; 3],
    resets_ignored: bool,
    resets_mask: bool,
}

impl Command {
    /// Makes a command for a program, without arguments.
    #[doc(alias = "create_subprocess_shell")]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the child's environment, which is otherwise that of this process.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable of the child's environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.command.env_remove(name);
        self
    }

    /// Removes all variables of the child's environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.command.env_clear();
        self
    }

    /// Sets the child's working directory.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets the child's standard input: by default that of this process, or none for
    /// [`output`](Command::output). [`Stdio::piped`] makes a pipe, whose other end is [`Child::stdin`].
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.is_set[0] = true;
        self.command.stdin(stdin);
        self
    }

    /// Sets the child's standard output: by default that of this process, or a pipe for
    /// [`output`](Command::output).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.is_set[1] = true;
        self.command.stdout(stdout);
        self
    }

    /// Sets the child's standard error, as [`stdout`](Command::stdout).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.is_set[2] = true;
        self.command.stderr(stderr);
        self
    }

    /// Returns the standard library's command, to set its other options.
    pub fn as_std_mut(&mut self) -> &mut process::Command {
        &mut self.command
    }

    /// Sets whether the child, and with [`own_group`](Command::own_group) its group, is killed when its last handle is
    /// dropped, or when the loop is closed. By default it runs on.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.options.kill_on_drop = kill;
        self
    }

    /// Starts the child as the leader of a new process group, to which
    /// [`ChildHandle::signal_group`](super::ChildHandle::signal_group) can send signals. The new group is not the
    /// foreground group of the terminal: Ctrl-C does not reach it, and a read from the terminal stops the child. A
    /// grandchild may leave the group (`setsid(2)`).
    #[doc(alias = "start_new_session")]
    pub fn own_group(&mut self) -> &mut Self {
        self.options.own_group = true;
        self.command.process_group(0);
        self
    }

    /// Starts the child in its [own group](Command::own_group), and kills the rest of the group when the child has
    /// ended: for a shell whose background jobs are to end with it. SIGKILL is sent before the child's status is
    /// taken, while the number of the group cannot be that of another group.
    pub fn kill_group_at_exit(&mut self) -> &mut Self {
        self.options.kill_group_at_exit = true;
        self.own_group()
    }

    /// Starts the child with the default action of each signal that this process ignores. Without this option such a
    /// signal is ignored in the child, too, except SIGPIPE. With it, starting the child is slower, because the page
    /// tables of this process are copied.
    #[doc(alias = "restore_signals")]
    pub fn reset_ignored_signals(&mut self) -> &mut Self {
        if !std::mem::replace(&mut self.resets_ignored, true) {
            reset_actions(&mut self.command);
        }
        self
    }

    /// Sets how many bytes of standard output, and how many of standard error, [`output`](Command::output) and
    /// [`Child::communicate`] keep: 64 MiB by default.
    #[doc(alias = "limit")]
    pub fn output_limit(&mut self, bytes: usize) -> &mut Self {
        self.output.limit = bytes;
        self
    }

    /// Sets how long [`output`](Command::output) and [`Child::communicate`] wait for the end of the output after the
    /// end of the child: a grandchild may keep the pipe open for ever. 100 ms by default.
    pub fn output_grace(&mut self, grace: Duration) -> &mut Self {
        self.output.grace = grace;
        self
    }

    /// Sets how the loop notices the end of the child. For tests: the default is best everywhere.
    #[doc(hidden)]
    pub fn exit_watch(&mut self, by: ExitWatch) -> &mut Self {
        self.exit_watch = by;
        self
    }

    /// Starts the child, on the current loop.
    ///
    /// # Errors
    ///
    /// [`ChildError::Io`] with the error of the system: `NotFound`, `PermissionDenied`, `InvalidInput` for a NUL byte, `WouldBlock`
    /// (`EAGAIN`) if there are too many processes; [`ChildError::Loop`], [`ChildError::NoProcesses`].
    #[doc(alias = "subprocess_exec")]
    #[track_caller]
    pub fn spawn(&mut self) -> Result<Child, ChildError> {
        let site = Location::caller();
        let how = (self.options, self.exit_watch, self.output);
        let is_set = self.is_set;
        let start = |handle: &LoopHandle| {
            // Rarely: most programs block none, and then the system's fast way is taken.
            if is_any_blocked() && !std::mem::replace(&mut self.resets_mask, true) {
                reset_mask(&mut self.command);
            }
            match handle.kernel() {
                Some(kernel) => {
                    start_simulated(handle, &**kernel, (&self.command, is_set), how, site)
                }
                None => start(handle, &mut self.command, how, site),
            }
        };
        current::with(start).ok_or(Error::NoLoop)?
    }

    /// Starts the child, and waits until it has ended. A grandchild that keeps a pipe is not waited for.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`ChildHandle::wait`](super::ChildHandle::wait).
    ///
    /// # Cancellation
    ///
    /// The child is killed, and reaped in the background.
    pub async fn status(&mut self) -> Result<ExitStatus, ChildError> {
        let run = pin!(async { self.spawn_killed()?.wait().await });
        budget::composite(run).await
    }

    /// Starts the child, waits until it has ended, and returns what it has written: by default both streams are
    /// captured, and it has no standard input. See [`Child::communicate`] for the limits.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::communicate`]. After an error the child is killed.
    ///
    /// # Cancellation
    ///
    /// The child is killed, and reaped in the background.
    pub async fn output(&mut self) -> Result<Output, ChildError> {
        let run = pin!(async { self.capture(Stdio::null())?.communicate(&[]).await });
        budget::composite(run).await
    }

    /// As [`output`](Command::output), with `input` as the child's standard input.
    ///
    /// # Errors
    ///
    /// As [`output`](Command::output).
    ///
    /// # Cancellation
    ///
    /// As [`output`](Command::output).
    pub async fn communicate(&mut self, input: &[u8]) -> Result<Output, ChildError> {
        self.is_set[0] = false;
        let run = pin!(async { self.capture(Stdio::piped())?.communicate(input).await });
        budget::composite(run).await
    }

    fn capture(&mut self, stdin: Stdio) -> Result<Child, ChildError> {
        if !self.is_set[0] {
            self.stdin(stdin);
        }
        if !self.is_set[1] {
            self.stdout(Stdio::piped());
        }
        if !self.is_set[2] {
            self.stderr(Stdio::piped());
        }
        self.spawn_killed()
    }

    /// Starts a child that is killed when its handle is dropped, because the caller does not get the handle.
    fn spawn_killed(&mut self) -> Result<Child, ChildError> {
        let before = std::mem::replace(&mut self.options.kill_on_drop, true);
        let child = self.spawn();
        self.options.kill_on_drop = before;
        child
    }
}

impl From<process::Command> for Command {
    fn from(command: process::Command) -> Self {
        Self {
            command,
            options: ChildOptions::default(),
            output: OutputOptions::default(),
            exit_watch: ExitWatch::default(),
            is_set: [false; 3],
            resets_ignored: false,
            resets_mask: false,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("command", &self.command)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
