//! A peer in a process of its own, measured by the system and by external tools.
//!
//! The child runs this same program, perhaps built with another profile; its arguments select the
//! peer. callgrind counts instructions,
//! cachegrind cache misses and strace system calls, each for the whole process. The cost of starting is the same in two
//! runs of different length, so their difference does not include it.

use crate::raw;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    None,
    /// Counts user-space instructions.
    Callgrind,
    /// Counts misses of the first-level data cache in user space, of a cache that it simulates.
    Cachegrind,
    /// Counts system calls.
    Strace,
}

/// The simulated caches: size, associativity and line. They are given, so that the counts do not
/// depend on the machine. Many processors have larger first-level caches by now, but in 48 KiB the
/// tables of raw and mio would be there as a whole.
const CACHES: [&str; 3] = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=8388608,16,64"];

impl Tool {
    /// The unit of the count.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Strace => "calls",
            Self::Cachegrind => "misses",
            Self::Callgrind | Self::None => "instructions",
        }
    }

    /// Runs `program` with `args`, under the tool.
    fn command(self, program: &Path, args: &[String]) -> Command {
        let mut command = match self {
            Self::None => Command::new(program),
            Self::Callgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
                valgrind.arg(program);
                valgrind
            }
            Self::Cachegrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["--tool=cachegrind", "--cachegrind-out-file=/dev/null"]);
                valgrind.arg("--cache-sim=yes").args(CACHES).arg(program);
                valgrind
            }
            Self::Strace => {
                let mut strace = Command::new("strace");
                strace.args(["-c", "-f"]).arg(program);
                strace
            }
        };
        command.args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if self != Self::None {
            command.stderr(Stdio::piped());
        }
        command
    }

    /// Parses the count from the tool's final output.
    fn counted(self, said: &str) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Callgrind => {
                let (_, count) = said.split_once("Collected : ")?;
                count.split_whitespace().next()?.parse().ok()
            }
            // A line like "==1== D1  misses:  12,345  ( 9,876 rd + 2,469 wr)".
            Self::Cachegrind => {
                let (_, rest) = said.split_once("D1  misses:")?;
                let count = rest.split_whitespace().next()?;
                count.replace(',', "").parse().ok()
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
pub fn run(tool: Tool, program: &Path, args: &[String]) -> io::Result<(String, u64)> {
    let output = tool.command(program, args).spawn()?.wait_with_output()?;
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
    /// Starts `program` with `args`, which make it a server. The server prints its port and process id.
    pub fn start(tool: Tool, program: &Path, args: &[String]) -> io::Result<Self> {
        let mut child = tool.command(program, args).spawn()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_s_count_is_found() {
        let callgrind = "==7== Events    : Ir\n==7== Collected : 123456\n";
        let cachegrind = "==7== D   refs:      9,999  (8,000 rd + 1,999 wr)\n\
            ==7== D1  misses:    1,234,567  (1,000,000 rd   + 234,567 wr)\n\
            ==7== LLd misses:        890  (    800 rd   +      90 wr)\n";
        let strace = "100.00    0.001    2       42       3 total\n";
        assert_eq!(Tool::Callgrind.counted(callgrind), Some(123_456));
        assert_eq!(Tool::Cachegrind.counted(cachegrind), Some(1_234_567));
        assert_eq!(Tool::Strace.counted(strace), Some(42));
        assert_eq!(Tool::Cachegrind.counted(callgrind), None);
    }
}
