//! Benchmarks of children, of signals, and of process pools.
//!
//! A program of its own, because three of the peers start it again as a worker. Times are wall times, since
//! other processes take part; the peers take turns, as in `readily-bench`. Instructions are those of this
//! process alone.
//!
//! The commands are in `README.md`.

mod children;
#[path = "../instructions.rs"]
mod instructions;
mod pools;
mod signals;

use readily_bench::report::{Form, Report, Row};
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: processes [--instructions | --smoke] [--only PART] [--peer PEER] \
    [--repetitions N] [--markdown] [--json FILE]";

/// Does something so many times, and returns how long that took.
type Run = fn(u64) -> Duration;

struct Workload {
    name: &'static str,
    /// How many times, in a repetition.
    count: u64,
    runs: Vec<(&'static str, Run)>,
}

fn workloads() -> Vec<Workload> {
    let mut all = vec![children::workload(), signals::workload()];
    all.extend(pools::workloads());
    all
}

/// How long `f` takes.
#[allow(clippy::disallowed_methods)] // other processes take part
fn wall(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

/// The same inside a runtime.
#[allow(clippy::disallowed_methods)] // other processes take part
async fn wall_of(future: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    future.await;
    start.elapsed()
}

struct Options {
    is_counted: bool,
    is_smoke: bool,
    only: String,
    peer: Option<String>,
    repetitions: usize,
    form: Form,
    json: Option<PathBuf>,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        is_counted: false,
        is_smoke: false,
        only: String::new(),
        peer: None,
        repetitions: 5,
        form: Form::Text,
        json: None,
    };
    while let Some(name) = args.next() {
        match name.as_str() {
            "--instructions" => options.is_counted = true,
            "--smoke" => (options.is_smoke, options.repetitions) = (true, 1),
            "--only" => options.only = args.next().ok_or(USAGE)?,
            "--peer" => options.peer = Some(args.next().ok_or(USAGE)?),
            "--repetitions" => options.repetitions = args.next().ok_or(USAGE)?.parse()?,
            "--markdown" => options.form = Form::Markdown,
            "--json" => options.json = Some(args.next().ok_or(USAGE)?.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The nanoseconds of one operation with each peer.
fn timed(workload: &Workload, options: &Options) -> Vec<Row> {
    let runs = &workload.runs;
    let count = match options.is_smoke {
        true => workload.count.min(20),
        false => workload.count,
    };
    let mut times = vec![Vec::new(); runs.len()];
    for repetition in 0..options.repetitions {
        for place in 0..runs.len() {
            let index = (repetition + place) % runs.len();
            let took = runs[index].1(count);
            times[index].push(took.as_nanos() as f64 / count as f64);
        }
    }
    let row = |(run, times): (&(&str, Run), Vec<f64>)| {
        Row::new(workload.name, run.0, median(times), "ns")
    };
    runs.iter().zip(times).map(row).collect()
}

fn counted(workload: &Workload) -> Result<Vec<Row>, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let runs = workload.runs.iter().filter(|run| run.0 != pools::PYTHON);
    let count = |&(peer, _): &(&str, Run)| {
        let each = instructions::of_one(&program, workload.name, peer, workload.count / 10)?;
        eprintln!("{each:>12.0}  {peer}: {}", workload.name);
        Ok(Row::new(workload.name, peer, each, "instructions"))
    };
    runs.map(count).collect()
}

fn run_one(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mut next = || args.next().ok_or("--run WORKLOAD PEER OPERATIONS");
    let (name, peer, count) = (next()?, next()?, next()?);
    let all = workloads();
    let found = all.iter().find(|workload| workload.name == name);
    let runs = &found.ok_or("no such workload")?.runs;
    let run = runs.iter().find(|run| run.0 == peer);
    run.ok_or("no such peer")?.1(count.parse()?);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    pools::init();
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq("--run").is_some() {
        return run_one(args);
    }
    let options = options(args)?;
    let mut report = Report::default();
    for mut workload in workloads() {
        let wanted = |peer: &str| options.peer.as_deref().is_none_or(|only| only == peer);
        workload.runs.retain(|(peer, _)| wanted(peer));
        if !workload.name.contains(&options.only) || workload.runs.is_empty() {
            continue;
        }
        match options.is_counted {
            true => report.extend(counted(&workload)?),
            false => report.extend(timed(&workload, &options)),
        }
    }
    print!("{}", report.tables(options.form));
    print!("{}", report.matrix(options.form));
    if let Some(path) = &options.json {
        report.save(path)?;
    }
    Ok(())
}
