//! Hashes each file in a directory and below, on all cores, and prints its progress.
//!
//! The program needs three things for this: a table of jobs, `init` at the top of `main`, and a pool. A worker is
//! this program, started again; in a worker, `init` runs the jobs and does not return. `map` gives the sums in the
//! order of the files, and takes only a few files in advance. The loop is not blocked meanwhile: a timer prints the
//! progress. This is N6 of the notes; in Python: `ProcessPoolExecutor.map`.
//!
//! ```text
//! cargo run --release --example process_map -- src
//! 0c5f1a4e  src/base/clock.rs
//! …
//! 214 files, 1523902 bytes, 2 workers
//! ```

use readily::process_pool::{self, JobTable, ProcessPool};
use readily::{interval, jobs, run, spawn};
use std::cell::Cell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use std::{env, fs, io};

const USAGE: &str = "usage: process_map FOLDER";

/// The functions that workers can run.
const JOBS: JobTable = jobs![hash_file];

/// Returns the hash of a file (FNV-1a) and its length. Runs in a worker, so it may compute for long.
fn hash_file(path: PathBuf) -> Result<(u32, u64), String> {
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let sum = bytes.iter().fold(0x811c_9dc5, |sum: u32, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    Ok((sum, bytes.len() as u64))
}

/// Returns the regular files below `folder`, sorted by path. Links are not followed.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

async fn hash_all(pool: &ProcessPool, files: &[PathBuf]) -> Result<u64, Box<dyn Error>> {
    let done = Rc::new(Cell::new(0));
    let progress = spawn({
        let (done, all) = (Rc::clone(&done), files.len());
        async move {
            let mut ticks = interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                eprintln!("{} of {all} files", done.get());
            }
        }
    });
    let mut sums = pool.map(hash_file, files.iter().cloned());
    let mut bytes = 0;
    for file in files {
        let result = sums.next().await.expect("there is a result for each file");
        match result? {
            Ok((sum, len)) => {
                bytes += len;
                println!("{sum:08x}  {}", file.display());
            }
            Err(text) => eprintln!("{text}"),
        }
        done.set(done.get() + 1);
    }
    progress.cancel();
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    process_pool::init(JOBS); // a worker stays here
    if env::args_os().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.into());
    };
    let files = files_below(Path::new(&folder))?;
    let pool = ProcessPool::new(JOBS)?;
    let bytes = run(hash_all(&pool, &files))??;
    println!(
        "{} files, {bytes} bytes, {} workers",
        files.len(),
        pool.workers()
    );
    Ok(())
}
