//! A peer in a process of its own, and what the system and its tools say of that.
//!
//! It is this program once more, with a command that says which peer. Instructions are counted by
//! callgrind and system calls by strace, each for the whole process: what it takes to start is in two
//! runs of different length, and so not in their difference.

use crate::raw;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    None,
    /// User-space instructions.
    Callgrind,
    /// System calls.
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

    /// What it has counted, as it says at the end.
    fn counted(self, said: &str) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Callgrind => {
                let (_, count) = said.split_once("Collected : ")?;
                count.split_whitespace().next()?.parse().ok()
            }
            // Share, seconds, microseconds for each, calls.
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

/// Runs to its end, and gives what it printed and what was counted.
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

/// A server that does not come to rest in so many is in a loop of its own.
const LOOKS: usize = 100_000;

/// A server, until this is dropped.
pub struct Server {
    tool: Tool,
    child: Child,
    /// Of the server itself: under strace, which is then the child, it is another.
    id: u32,
    pub addr: SocketAddr,
}

impl Server {
    /// `args` are for this program; it prints its port and its process.
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
        let (port, id) = said.ok_or_else(|| io::Error::other("the server has not begun"))?;
        server
            .addr
            .set_port(port.parse().map_err(io::Error::other)?);
        server.id = id.parse().map_err(io::Error::other)?;
        Ok(server)
    }

    /// Ends it; what was counted.
    pub fn count(mut self) -> io::Result<u64> {
        let mut said = String::new();
        raw::terminate(self.id)?;
        if let Some(mut err) = self.child.stderr.take() {
            err.read_to_string(&mut said)?;
        }
        self.tool.count(&said)
    }

    #[allow(clippy::disallowed_methods)] // nobody's loop is held up
    /// Waits until all its threads sleep, for whatever they wait for.
    pub fn settle(&self) -> io::Result<()> {
        let mut asleep = 0;
        for _ in 0..LOOKS {
            asleep = if self.sleeps()? { asleep + 1 } else { 0 };
            // Twice, for one may wake the next while we look.
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
            // The name is in parentheses, and may have some itself.
            let state = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('S'));
            if state != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nanoseconds on a processor, of all its threads.
    pub fn cpu(&self) -> io::Result<f64> {
        let mut ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = stat.split_whitespace().next().unwrap_or_default();
            ns += first.parse::<u64>().map_err(io::Error::other)?;
        }
        Ok(ns as f64)
    }

    /// Bytes of memory that it has touched.
    pub fn resident(&self) -> io::Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id))?;
        let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse::<u64>().ok());
        let kib = kib.ok_or_else(|| io::Error::other("no line for the memory"))?;
        Ok(kib as f64 * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error is that it has ended. The tool ends with the server.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = raw::terminate(self.id);
        }
        let _ = self.child.wait();
    }
}
