//! Servers in processes of their own.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stderr};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where the packages of Debian keep what is not in the `PATH`: `bin` below each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A folder for a server, which is removed when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new folder. A server that refuses to run as root owns it, if the tests run as root.
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("readily-{name}-{}", std::process::id());
        let folder = Self(env::temp_dir().join(name));
        fs::create_dir(&folder.0).unwrap();
        if let Some(user) = folder.user() {
            chown(&folder.0, Some(user), None).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The account of the server, if the tests run as root: the number is that of `nobody`.
    fn user(&self) -> Option<u32> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        is_root.then_some(65_534)
    }

    /// A command that runs in the folder, and not as root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.0);
        if let Some(user) = self.user() {
            command.uid(user);
        }
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// A server that runs. Dropping it ends its process.
pub(crate) struct Server {
    process: Child,
    /// Kept open, so that what the server reports later does not fail.
    output: BufReader<Box<dyn Read>>,
}

impl Server {
    /// Starts a server, and waits for a line with `ready` in it, which is returned.
    ///
    /// Lines are read from the standard output, or from the standard error if that was piped.
    pub(crate) fn start(command: &mut Command, ready: &str) -> (Self, String) {
        let mut process = command.spawn().unwrap();
        let output: Box<dyn Read> = match process.stderr.take() {
            Some(errors) => Box::new(errors),
            None => Box::new(process.stdout.take().expect("one of them is piped")),
        };
        let output = BufReader::new(output);
        let mut server = Self { process, output };
        let mut line = String::new();
        while !line.contains(ready) {
            line.clear();
            let read = server.output.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "{command:?} ended and was never ready");
        }
        (server, line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Each of them ends at a SIGINT. PostgreSQL would wait for its sessions at a SIGTERM, and would leave
        // its own processes behind at a SIGKILL.
        let id = self.process.id().to_string();
        let _sent = Command::new("kill").args(["-INT", &id]).status();
        let _ended = self.process.wait();
    }
}

/// A program in the `PATH` or among the versions of PostgreSQL. If there is none, the test has to be skipped,
/// and the reason is reported.
///
/// # Panics
///
/// If there is none, and the environment has `INTEROP_SERVERS=required`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let versions = versions.map(|version| version.path().join("bin"));
    let mut places = env::split_paths(&path).chain(versions);
    let found = places.find_map(|place| Some(place.join(program)).filter(|file| file.is_file()));
    if found.is_none() {
        let required = env::var_os("INTEROP_SERVERS").is_some_and(|value| value == "required");
        assert!(!required, "no `{program}` here");
        // Not by `eprintln`, whose output is only shown if a test fails.
        let why = "SKIPPED, because there is no";
        let _shown = writeln!(stderr(), "\n{why} `{program}`: interop/servers installs it");
    }
    found
}

/// A command whose standard output is read.
pub(crate) fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped())
}
