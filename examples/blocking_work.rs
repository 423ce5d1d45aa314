//! Counts the files, lines and bytes below a directory, on the threads of a pool, while the loop goes on.
//!
//! The standard library reads directories and files in calls that block (N5), so each call is a job
//! of a pool (N3). A reader submits with `submit`, which waits while the queue is full: a tree of a million
//! files is never in memory as a million jobs. Meanwhile a task of the loop ticks every millisecond, and
//! notes the longest time between two ticks; without the pool it would be as long as the whole
//! count. A file that cannot be read is counted as failed. In asyncio these are `to_thread`
//! and `ThreadPoolExecutor`, whose queue has no bound.
//!
//! ```text
//! cargo run --release --example blocking_work -- docs
//! files: 19, lines: 6503, bytes: 1012408, failed: 0
//! threads: 4, the loop ticked 6 times, at most 1.2ms apart
//! ```

use readily::blocking::QueuedJobs;
use readily::{JoinSet, ThreadPool, WeakHandle, interval, race, run, run_blocking};
use std::cell::Cell;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

/// At most this many files are read at the same time, and as many again wait.
const THREADS: usize = 4;

#[derive(Debug, Default)]
struct Count {
    files: u64,
    lines: u64,
    bytes: u64,
    failed: u64,
}

impl Count {
    /// Adds the content of a file.
    fn add(&mut self, content: io::Result<(u64, u64)>) {
        match content {
            Ok((lines, bytes)) => {
                self.files += 1;
                self.lines += lines;
                self.bytes += bytes;
            }
            Err(_) => self.failed += 1,
        }
    }
}

/// The lines and bytes of a file. Blocks.
fn read(path: PathBuf) -> io::Result<(u64, u64)> {
    let content = fs::read(path)?;
    let lines = content.iter().filter(|byte| **byte == b'\n').count();
    Ok((lines as u64, content.len() as u64))
}

/// The files and the directories in a directory. Blocks. Links are left out: they may form a circle.
fn list(path: PathBuf) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            directories.push(entry.path());
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok((files, directories))
}

async fn count(root: PathBuf, pool: &ThreadPool) -> Result<Count, Box<dyn Error>> {
    let mut count = Count::default();
    let mut directories = vec![root];
    let mut reading = JoinSet::new();
    while let Some(directory) = directories.pop() {
        // A directory is listed on the pool of the loop, and files are read on one of their own.
        let (files, below) = match run_blocking(move || list(directory)).await? {
            Ok(listed) => listed,
            Err(error) if count.files == 0 && directories.is_empty() => return Err(error.into()),
            Err(_) => {
                count.failed += 1;
                continue;
            }
        };
        directories.extend(below);
        for file in files {
            let job = pool.submit(move || read(file)).await;
            reading.spawn(job.map_err(|refused| refused.to_string())?);
            while let Some(content) = reading.try_join_next() {
                count.add(content??);
            }
        }
    }
    while let Some(content) = reading.join_next().await {
        count.add(content??);
    }
    Ok(count)
}

/// Ticks until it is dropped, and notes how often, and the longest time between two ticks.
async fn tick(ticks: &Cell<(u64, Duration)>) {
    let mut every = interval(Duration::from_millis(1));
    let here = WeakHandle::current().expect("the loop runs");
    let now = || {
        here.with(|handle| handle.fresh_now())
            .expect("the loop runs")
    };
    let mut last = now();
    loop {
        every.tick().await;
        let (count, longest) = ticks.get();
        ticks.set((count + 1, longest.max(now() - last)));
        last = now();
    }
}

const USAGE: &str = "usage: blocking_work [DIRECTORY]";

fn main() -> Result<(), Box<dyn Error>> {
    if env::args_os().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let mut args = env::args_os().skip(1);
    let root = args.next().unwrap_or_else(|| ".".into());
    if args.next().is_some() {
        return Err(USAGE.into());
    }
    let pool = ThreadPool::builder()
        .max_threads(THREADS)
        .queue(THREADS)
        .name("reader")
        .build()?;
    let ticks = Cell::new((0, Duration::ZERO));
    let (counted, threads) = run(async {
        let counted = race((async { Some(count(root.into(), &pool).await) }, async {
            tick(&ticks).await;
            None
        }))
        .await;
        let threads = pool.stats().threads;
        let ended = pool
            .shutdown(QueuedJobs::Run, Duration::from_secs(10))
            .await;
        ended.map(|()| (counted, threads))
    })??;
    let count = counted.expect("the ticks do not end")?;
    let Count {
        files,
        lines,
        bytes,
        failed,
    } = count;
    println!("files: {files}, lines: {lines}, bytes: {bytes}, failed: {failed}");
    let (ticked, longest) = ticks.get();
    println!("threads: {threads}, the loop ticked {ticked} times, at most {longest:.1?} apart");
    Ok(())
}
