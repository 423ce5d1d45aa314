//! Benchmarks with sockets, of readily and of its peers.
//!
//! An echo server, short connections, many idle connections, and a chain of socketpairs, on readily in
//! its styles and on ten peers. Repetitions are interleaved: all peers run in turn, each time
//! with another one first. Ratios are medians of the ratios within each repetition.
//!
//! The commands are in `README.md`.

mod chain;
mod child;
mod load;
mod peers;
mod raw;
mod samples;
mod workloads;

use chain::Chain;
use child::Tool;
use peers::{Peer, Works};
use readily_bench::build::Build;
use readily_bench::report::{Form, Report};
use samples::Samples;
use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use workloads::Target;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: net [--instructions | --syscalls | --misses] [--smoke] [--only PART] \
    [--peer A,B] [--repetitions N] [--beside PROGRAM] [--markdown] [--json FILE]";

struct Options {
    tool: Tool,
    smoke: bool,
    form: Form,
    json: Option<PathBuf>,
    only: String,
    peers: Vec<&'static Peer>,
    repetitions: usize,
    /// This program, built with another profile, whose figures are printed below each line.
    beside: Option<PathBuf>,
}

fn named(name: &str) -> Outcome<&'static Peer> {
    let found = peers::ALL.iter().find(|peer| peer.name == name);
    found.ok_or_else(|| format!("no peer is called {name}").into())
}

fn options(mut args: impl Iterator<Item = String>) -> Outcome<Options> {
    let mut options = Options {
        tool: Tool::None,
        smoke: false,
        form: Form::Text,
        json: None,
        only: String::new(),
        peers: peers::ALL.iter().collect(),
        repetitions: 5,
        beside: None,
    };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match name.as_str() {
            "--instructions" => options.tool = Tool::Callgrind,
            "--misses" => options.tool = Tool::Cachegrind,
            "--syscalls" => options.tool = Tool::Strace,
            "--beside" => options.beside = Some(value()?.into()),
            "--smoke" => options.smoke = true,
            "--markdown" => options.form = Form::Markdown,
            "--json" => options.json = Some(value()?.into()),
            "--only" => options.only = value()?,
            "--peer" => options.peers = value()?.split(',').map(named).collect::<Outcome<_>>()?,
            "--repetitions" => options.repetitions = value()?.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// Measures the selected peers that are installed, in turn.
fn measure(options: &Options) -> Outcome<Report> {
    let descriptors = raw::raise_descriptors()?;
    let (workloads, repetitions) = match options.tool {
        Tool::None if options.smoke => (workloads::times(true, descriptors), 1),
        Tool::None => (workloads::times(false, descriptors), options.repetitions),
        tool => {
            workloads::be_steady(false)?;
            let workloads = match tool {
                Tool::Cachegrind => workloads::misses(tool, options.smoke),
                tool => workloads::counts(tool, options.smoke, descriptors),
            };
            (workloads, 1)
        }
    };
    for peer in options.peers.iter().filter(|peer| peer.works.is_none()) {
        eprintln!("{} is not installed", peer.name);
    }
    let builds = Build::all(options.beside.as_deref())?;
    let mut report = Report::default();
    let here: Vec<&Peer> = options
        .peers
        .iter()
        .copied()
        .filter(|peer| peer.works.is_some())
        .collect();
    for workload in workloads
        .iter()
        .filter(|it| it.name.contains(&options.only))
    {
        if !options.smoke {
            eprintln!("{}", workload.name);
        }
        let names = builds
            .iter()
            .map(|build| workload.name.clone() + &build.label);
        let mut samples: Vec<_> = names.map(|name| Samples::new(name, &here)).collect();
        for repetition in 0..repetitions {
            for place in 0..here.len() {
                let index = (repetition + place) % here.len();
                let peer = here[index];
                let context = |error| format!("{} on {}: {error}", workload.name, peer.name);
                for (build, samples) in builds.iter().zip(&mut samples) {
                    let program = &build.program;
                    let figures = (workload.run)(&Target { program, peer });
                    for figure in figures.map_err(context)? {
                        samples.add(index, figure);
                    }
                }
            }
        }
        let mut one = Report::default();
        one.extend(samples.iter().flat_map(Samples::rows));
        // Printed at once, so that a later error does not lose these results.
        print!("{}", one.tables(options.form));
        report.extend(one.rows().iter().cloned());
    }
    Ok(report)
}

fn works(name: &str) -> Outcome<Works> {
    named(name)?
        .works
        .ok_or_else(|| format!("{name} is not installed").into())
}

/// Runs as a child process, if the arguments ask for that: a server or a chain of one peer.
fn child(args: &[String]) -> Outcome<bool> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", peer, room, pace] => {
            raw::end_with_parent()?;
            raw::raise_descriptors()?;
            if pace == "steady" {
                workloads::be_steady(true)?;
            }
            let (works, room) = (works(peer)?, room.parse()?);
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let mut out = std::io::stdout();
            writeln!(
                out,
                "{} {}",
                listener.local_addr()?.port(),
                std::process::id()
            )?;
            out.flush()?;
            (works.echo)(listener, room)?;
            Ok(true)
        }
        ["chain", peer, pairs, active, events] => {
            raw::end_with_parent()?;
            raw::raise_descriptors()?;
            let chain = Chain::new(pairs.parse()?, active.parse()?, events.parse()?)?;
            let run = works(peer)?.chain.ok_or("this peer has no chain")?;
            let took = run(chain)?;
            println!("{}", took.as_nanos());
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if child(&args)? {
        return Ok(());
    }
    let options = options(args.into_iter())?;
    let report = measure(&options)?;
    print!("{}", report.matrix(options.form));
    if let Some(path) = &options.json {
        report.save(path)?;
    }
    Ok(())
}
