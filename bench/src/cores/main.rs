//! Several cores: readily's loops that share nothing, tokio's threads that steal work, and Go's goroutines.
//!
//! An echo server, one that computes for each request, and jobs that only compute, each on one core and
//! on two. Go is a program of its own (`bench/go`), which is built if there is a `go`. Each repetition
//! runs all peers, and ratios are computed within it.
//!
//! The commands are in `README.md`.

#[path = "../net/chain.rs"]
#[allow(dead_code)] // for the calls of C in `raw`
mod chain;
#[path = "../net/child.rs"]
#[allow(dead_code)] // what counts is not used here
mod child;
#[path = "../net/load.rs"]
#[allow(dead_code)]
mod load;
mod peers;
#[path = "../net/raw.rs"]
#[allow(dead_code)]
mod raw;

use child::{Server, Tool};
use load::{Load, Pace};
use peers::{Peer, wall_ns};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: cores [--smoke] [--only PART] [--repetitions N] [--markdown]";

/// The rounds over 64 bytes that are about 20 microseconds.
const WORK: usize = 256;

/// What is measured.
enum Kind {
    /// Requests of 64 bytes on so many connections, with so much work for each.
    Serve { conns: usize, work: usize },
    /// Jobs of these lengths.
    Compute { lengths: &'static str },
}

struct Workload {
    name: &'static str,
    kind: Kind,
}

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "echo, 64 connections",
        kind: Kind::Serve { conns: 64, work: 0 },
    },
    Workload {
        name: "hash, 64 connections",
        kind: Kind::Serve {
            conns: 64,
            work: WORK,
        },
    },
    Workload {
        name: "hash, 4 connections",
        kind: Kind::Serve {
            conns: 4,
            work: WORK,
        },
    },
    Workload {
        name: "jobs, all alike",
        kind: Kind::Compute {
            lengths: "4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4",
        },
    },
    Workload {
        name: "jobs, every second one long",
        kind: Kind::Compute {
            lengths: "1,7,1,7,1,7,1,7,1,7,1,7,1,7,1,7",
        },
    },
];

#[derive(Default)]
struct Options {
    smoke: bool,
    markdown: bool,
    only: String,
    repetitions: usize,
}

fn options(mut args: impl Iterator<Item = String>) -> Outcome<Options> {
    let mut options = Options {
        repetitions: 7,
        ..Options::default()
    };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match name.as_str() {
            "--smoke" => (options.smoke, options.repetitions) = (true, 1),
            "--markdown" => options.markdown = true,
            "--only" => options.only = value()?,
            "--repetitions" => options.repetitions = value()?.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// Where a peer's program is: this one, or Go's.
struct Programs {
    here: PathBuf,
    go: Option<PathBuf>,
}

impl Programs {
    fn find() -> Outcome<Self> {
        let here = std::env::current_exe()?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go/main.go");
        let go = here.with_file_name("cores-go");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&go)
            .arg(source)
            .status();
        let go = match built {
            Ok(status) if status.success() => Some(go),
            _ => None,
        };
        Ok(Self { here, go })
    }

    /// The program and the arguments of a peer.
    fn of(&self, peer: &Peer, what: &str, cores: usize, rest: &[String]) -> Option<Run<'_>> {
        let mut args = vec![what.to_owned()];
        let program = match peer.run {
            Some(_) => {
                args.push(peer.name.to_owned());
                &self.here
            }
            None => self.go.as_ref()?,
        };
        args.push(cores.to_string());
        args.extend(rest.iter().cloned());
        Some(Run { program, args })
    }
}

struct Run<'a> {
    program: &'a Path,
    args: Vec<String>,
}

/// Requests, or jobs, in a second.
fn rate(run: &Run<'_>, kind: &Kind, smoke: bool) -> Outcome<f64> {
    match kind {
        Kind::Serve { conns, work } => {
            let server = Server::start(Tool::None, run.program, &run.args)?;
            let requests = match (smoke, work) {
                (true, _) => 200,
                (false, 0) => 60_000,
                (false, _) => 20_000,
            };
            let mut load = Load::open(server.addr, *conns, 64, Pace::Free)?;
            load.run(5, Pace::Free)?;
            let begin = wall_ns();
            load.run(requests / conns, Pace::Free)?;
            Ok((requests / conns * conns) as f64 * 1e9 / (wall_ns() - begin) as f64)
        }
        Kind::Compute { lengths } => {
            let (said, _) = child::run(Tool::None, run.program, &run.args)?;
            let ns: f64 = said.trim().parse()?;
            Ok(lengths.split(',').count() as f64 * 1e9 / ns)
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(options: &Options, workload: &Workload, programs: &Programs) -> Outcome<()> {
    let rest = match workload.kind {
        Kind::Serve { work, .. } => vec![work.to_string()],
        Kind::Compute { lengths } => {
            let times = if options.smoke { 10 } else { 100 * WORK };
            vec![times.to_string(), lengths.to_owned()]
        }
    };
    let what = match workload.kind {
        Kind::Serve { .. } => "serve",
        Kind::Compute { .. } => "jobs",
    };
    let mut lines = Vec::new();
    for cores in [1, 2] {
        for peer in peers::ALL {
            let run = programs.of(peer, what, cores, &rest);
            if let Some(run) = run.filter(|_| peer.serves || what == "jobs") {
                lines.push((peer.name, cores, run, Vec::new()));
            }
        }
    }
    for repetition in 0..options.repetitions {
        for place in 0..lines.len() {
            let index = (repetition + place) % lines.len();
            let value = rate(&lines[index].2, &workload.kind, options.smoke)
                .map_err(|error| format!("{}: {error}", lines[index].0))?;
            lines[index].3.push(value);
        }
    }
    let first = lines[0].3.clone();
    for (name, cores, _, values) in lines {
        let ratios = values.iter().zip(&first).map(|(ours, first)| ours / first);
        let ratio = median(ratios.collect());
        let value = median(values);
        match options.markdown {
            true => println!(
                "| {} | {name} | {cores} | {value:.0} | {ratio:.2} |",
                workload.name
            ),
            false => println!(
                "{:<30} {name:<22} cores {cores}: {value:>9.0}/s  {ratio:.2}",
                workload.name
            ),
        }
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if peers::child(&args)? {
        return Ok(());
    }
    let options = options(args.into_iter())?;
    let programs = Programs::find()?;
    if programs.go.is_none() {
        eprintln!("Go is not installed");
    }
    let selected = WORKLOADS
        .iter()
        .filter(|it| it.name.contains(&options.only));
    for workload in selected {
        measure(&options, workload, &programs)?;
    }
    Ok(())
}
