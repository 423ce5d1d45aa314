//! Instructions of one operation, counted by valgrind: exact where times are not.
//!
//! A workload runs in a process of its own under callgrind, twice: with n operations and with twice as
//! many. The difference, over n, is what one costs; making the process and the loop is in both.
//!
//! User space only: what the kernel does is not counted.

use std::error::Error;
use std::process::Command;

/// What all threads of this program run, with those arguments.
fn collected(args: &[&str]) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(args)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match count {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{args:?} under valgrind: {}\n{said}", output.status).into()),
    }
}

/// Of one operation among `n`.
pub fn of_one(workload: &str, peer: &str, n: u64) -> Result<f64, Box<dyn Error>> {
    let run = |n: u64| collected(&["--run", workload, peer, &n.to_string()]);
    let (once, twice) = (run(n)?, run(2 * n)?);
    Ok((twice as f64 - once as f64) / n as f64)
}
