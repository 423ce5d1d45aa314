//! A peer in a process of its own, measured by the system and by external tools.
//!
//! The child runs this same program; its arguments select the peer. callgrind counts instructions and
//! strace counts system calls, each for the whole process. The cost of starting is the same in two
//! runs of different length, so their difference does not include it.

use crate::raw;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    None,
    /// Counts user-space instructions.
    Callgrind,
    /// Counts system calls.
    Strace,
}

impl Tool {
    /// Runs this program with `args`, under the tool.
    fn command(self, args: &[String]) -> io::Result<Command> {
        let this = env::current_exe()?;
        let mut command = match self {
            Self::None => Command::new(&this),
            Self::Callgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
                valgrind.arg(&this);
                valgrind
            }
            Self::Strace => {
                let mut strace = Command::new("strace");
                strace.args(["-c", "-f"]).arg(&this);
                strace
            }
        };
        command.args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if self != Self::None {
            command.stderr(Stdio::piped());
        }
        Ok(command)
    }

    /// Parses the count from the tool's final output.
    fn counted(self, said: &str) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Callgrind => {
                let (_, count) = said.split_once("Collected : ")?;
                count.split_whitespace().next()?.parse().ok()
            }
            // The columns: percentage, seconds, microseconds per call, calls.
            Self::Strace => {
                let total = said
                    .lines()
                    .rfind(|line| line.trim_end().ends_with(" total"))?;
                total.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }

    fn count(self, said: &str) -> io::Result<u64> {
        let missing = || io::Error::other(format!("the tool has not counted: {said}"));
        self.counted(said).ok_or_else(missing)
    }
}

/// Runs a child to its end. Returns its output and the count.
pub fn run(tool: Tool, args: &[String]) -> io::Result<(String, u64)> {
    let output = tool.command(args)?.spawn()?.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{args:?}: {}", output.status)));
    }
    let count = match tool {
        Tool::None => 0,
        _ => tool.count(&String::from_utf8_lossy(&output.stderr))?,
    };
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), count))
}

/// A server that is not idle after this many checks is assumed to be spinning.
const MAX_CHECKS: usize = 100_000;

/// A running server. Dropping this ends it.
pub struct Server {
    tool: Tool,
    child: Child,
    /// The process id of the server itself. Under strace the child is strace, with another id.
    id: u32,
    pub addr: SocketAddr,
}

impl Server {
    /// Starts this program with `args`, which make it a server. The server prints its port and process id.
    pub fn start(tool: Tool, args: &[String]) -> io::Result<Self> {
        let mut child = tool.command(args)?.spawn()?;
        let id = child.id();
        let out = child.stdout.take();
        let mut server = Self {
            tool,
            child,
            id,
            addr: ([127, 0, 0, 1], 0).into(),
        };
        let mut line = String::new();
        if let Some(out) = out {
            BufReader::new(out).read_line(&mut line)?;
        }
        let said = line.trim().split_once(' ');
        let (port, id) = said.ok_or_else(|| io::Error::other("the server did not start"))?;
        server
            .addr
            .set_port(port.parse().map_err(io::Error::other)?);
        server.id = id.parse().map_err(io::Error::other)?;
        Ok(server)
    }

    /// Ends the server and returns the count.
    pub fn count(mut self) -> io::Result<u64> {
        let mut said = String::new();
        raw::terminate(self.id)?;
        if let Some(mut err) = self.child.stderr.take() {
            err.read_to_string(&mut said)?;
        }
        self.tool.count(&said)
    }

    /// Waits until all threads of the server sleep.
    #[allow(clippy::disallowed_methods)] // this process has no loop
    pub fn settle(&self) -> io::Result<()> {
        let mut asleep = 0;
        for _ in 0..MAX_CHECKS {
            asleep = if self.sleeps()? { asleep + 1 } else { 0 };
            // Checked twice: one thread may wake another during a check.
            if asleep == 2 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn sleeps(&self) -> io::Result<bool> {
        for task in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let stat = fs::read_to_string(task?.path().join("stat"))?;
            // The name is in parentheses, and may contain parentheses itself.
            let state = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('S'));
            if state != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the CPU time of all threads of the server, in nanoseconds.
    pub fn cpu(&self) -> io::Result<f64> {
        let mut ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = stat.split_whitespace().next().unwrap_or_default();
            ns += first.parse::<u64>().map_err(io::Error::other)?;
        }
        Ok(ns as f64)
    }

    /// Returns the resident memory of the server, in bytes.
    pub fn resident(&self) -> io::Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id))?;
        let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse::<u64>().ok());
        let kib = kib.ok_or_else(|| io::Error::other("smaps_rollup has no line Rss"))?;
        Ok(kib as f64 * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that the server has ended already. The tool ends with the server.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = raw::terminate(self.id);
        }
        let _ = self.child.wait();
    }
}
