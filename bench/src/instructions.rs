//! Instructions of one operation, counted by valgrind: exact, unlike times.
//!
//! A workload runs twice under callgrind, each time in a process of its own: with n operations and with
//! 2n. The difference divided by n is the cost of one operation; the cost of starting the process and
//! creating the loop cancels out.
//!
//! Instructions of the kernel are not counted.

use std::error::Error;
use std::path::Path;
use std::process::Command;

/// Runs `program` with `args`, and returns the instructions of all its threads.
fn collected(program: &Path, args: &[&str]) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
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

/// Returns the instructions of one operation, measured over `n`. `program` is this program, perhaps
/// built with another profile.
pub fn of_one(program: &Path, workload: &str, peer: &str, n: u64) -> Result<f64, Box<dyn Error>> {
    let run = |n: u64| collected(program, &["--run", workload, peer, &n.to_string()]);
    let (once, twice) = (run(n)?, run(2 * n)?);
    Ok((twice as f64 - once as f64) / n as f64)
}
