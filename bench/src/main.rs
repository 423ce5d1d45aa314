//! Benchmarks of each primitive of readily and of its peers.
//!
//! Repetitions are interleaved: all peers run in turn, each time with another one first, so that other
//! load on the machine affects all of them. The meaningful figure is the ratio, a median of the ratios
//! within each repetition. Nanoseconds depend on the machine; instructions do not, and are counted in
//! separate runs.
//!
//! The commands are in `README.md`.

mod builds;
mod callbacks;
mod clocks;
mod instructions;
mod memory;
mod peers;
mod runtime;
mod sleeps;
mod workloads;

use readily_bench::build::Build;
use readily_bench::report::{Form, Report, Row};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use workloads::Run;

const USAGE: &str = "usage: readily-bench [--instructions | --sleeps | --memory | --builds | --smoke] \
    [--only PART] [--peer PEER] [--beside PROGRAM] [--markdown] [--json FILE]";

/// What is measured in this run.
#[derive(Default)]
enum Mode {
    #[default]
    Times,
    Instructions,
    Sleeps,
    Memory,
    Builds,
    /// A short run of everything that needs no tools, to check that it works.
    Smoke,
}

#[derive(Default)]
struct Options {
    mode: Mode,
    form: Form,
    json: Option<PathBuf>,
    only: String,
    peer: Option<String>,
    /// This program, built with another profile, whose figures are printed below each line.
    beside: Option<PathBuf>,
}

impl Options {
    fn wants(&self, workload: &str, peer: &str) -> bool {
        workload.contains(&self.only) && self.peer.as_deref().is_none_or(|only| only == peer)
    }

    /// Returns the selected workloads with the selected peers.
    fn chosen(&self) -> Vec<workloads::Row> {
        let mut rows = workloads::all();
        for row in &mut rows {
            row.runs.retain(|(peer, _)| self.wants(row.name, peer));
        }
        rows.retain(|row| !row.runs.is_empty());
        rows
    }
}

/// The number of repetitions, and the minimum duration of each.
type Effort = (usize, Duration);

const FULL: Effort = (11, Duration::from_millis(10));
const SMOKE: Effort = (1, Duration::from_micros(200));

/// Returns a number of operations that take at least `least`. It differs between runtimes: a runtime
/// that rounds timers to milliseconds would take minutes for the count of one that does not.
fn operations(run: Run, least: Duration) -> u64 {
    let mut n = 1;
    loop {
        // The faster of two runs: a single disturbed run would give too small a count.
        let took = run(n).min(run(n));
        if took >= least {
            return n;
        }
        let factor = least.as_nanos() / took.as_nanos().max(1) + 1;
        n *= factor.clamp(2, 100) as u64;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures the time of one operation on each peer, in nanoseconds.
fn timed(row: &workloads::Row, (repetitions, least): Effort) -> Vec<Row> {
    let runs = &row.runs;
    let count = |&(_, run): &(&str, Run)| match row.timed {
        Some(n) if repetitions > 1 => n,
        _ => operations(run, least),
    };
    let counts: Vec<_> = runs.iter().map(count).collect();
    let mut times = vec![Vec::new(); runs.len()];
    for repetition in 0..repetitions {
        for place in 0..runs.len() {
            let index = (repetition + place) % runs.len();
            let took = runs[index].1(counts[index]);
            times[index].push(took.as_nanos() as f64 / counts[index] as f64);
        }
    }
    let ratio = |index: usize, to: &str| {
        let to = runs.iter().position(|&(peer, _)| peer == to)?;
        let both = times[index].iter().zip(&times[to]);
        Some(median(both.map(|(one, other)| one / other).collect()))
    };
    let one = |index: usize| Row {
        to_raw: ratio(index, "raw"),
        to_tokio: ratio(index, "tokio"),
        ..Row::new(row.name, runs[index].0, median(times[index].clone()), "ns")
    };
    (0..runs.len()).map(one).collect()
}

fn counted(row: &workloads::Row, program: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let Some(n) = row.counted else {
        return Ok(Vec::new());
    };
    let count = |&(peer, _): &(&str, Run)| {
        let each = instructions::of_one(program, row.name, peer, n)?;
        eprintln!("{each:>12.0}  {peer}: {}", row.name);
        Ok(Row::new(row.name, peer, each, "instructions"))
    };
    row.runs.iter().map(count).collect()
}

/// Measures each selected workload in processes of each build.
fn all_counted(options: &Options, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let builds = Build::all(options.beside.as_deref())?;
    for row in options.chosen() {
        for build in &builds {
            report.extend_as(&build.label, counted(&row, &build.program)?);
        }
    }
    Ok(())
}

/// Runs one workload once, for measurement by another tool.
fn run_one(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mut next = || args.next().ok_or("--run WORKLOAD PEER OPERATIONS");
    let (name, peer, n) = (next()?, next()?, next()?);
    let rows = workloads::all();
    let row = rows.iter().find(|row| row.name == name);
    let runs = row.ok_or("no such workload")?.runs.iter();
    let (_, run) = runs
        .clone()
        .find(|run| run.0 == peer)
        .ok_or("no such peer")?;
    run(n.parse()?);
    Ok(())
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    while let Some(name) = args.next() {
        match name.as_str() {
            "--instructions" => options.mode = Mode::Instructions,
            "--sleeps" => options.mode = Mode::Sleeps,
            "--memory" => options.mode = Mode::Memory,
            "--builds" => options.mode = Mode::Builds,
            "--smoke" => options.mode = Mode::Smoke,
            "--markdown" => options.form = Form::Markdown,
            "--json" => options.json = Some(args.next().ok_or(USAGE)?.into()),
            "--beside" => options.beside = Some(args.next().ok_or(USAGE)?.into()),
            "--only" => options.only = args.next().ok_or(USAGE)?,
            "--peer" => options.peer = Some(args.next().ok_or(USAGE)?),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq("--run").is_some() {
        return run_one(args);
    }
    if args.next_if_eq("--park").is_some() {
        return memory::run_one(args);
    }
    let options = options(args)?;
    if options.beside.is_some() && !matches!(options.mode, Mode::Instructions | Mode::Memory) {
        return Err("--beside is only for --instructions and --memory".into());
    }
    let wants = |workload: &str, peer: &str| options.wants(workload, peer);
    let mut report = Report::default();
    match options.mode {
        Mode::Times => times(&options, FULL, &mut report),
        Mode::Instructions => all_counted(&options, &mut report)?,
        Mode::Sleeps => report.extend(sleeps::rows(1, wants)),
        Mode::Memory => {
            for build in Build::all(options.beside.as_deref())? {
                let rows = memory::rows(&build.program, 1_000_000, wants)?;
                report.extend_as(&build.label, rows);
            }
        }
        Mode::Builds => report.extend(builds::rows(wants)?),
        Mode::Smoke => {
            times(&options, SMOKE, &mut report);
            report.extend(sleeps::rows(100, wants));
            report.extend(memory::rows(&std::env::current_exe()?, 10_000, wants)?);
        }
    }
    print!("{}", report.tables(options.form));
    print!("{}", report.matrix(options.form));
    if let Some(path) = &options.json {
        report.save(path)?;
    }
    Ok(())
}

fn times(options: &Options, effort: Effort, report: &mut Report) {
    for row in options.chosen() {
        report.extend(timed(&row, effort));
    }
}
