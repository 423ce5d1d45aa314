//! The workloads: each measures one peer once, and returns its figures.
//!
//! Times are measured with server and load on any processor. Counts are measured with both on one
//! processor, where the server does not preempt the load before it has sent all its requests. Each wait
//! of each peer then returns the same events, and the counts are reproducible.

use crate::child::{self, Server, Tool};
use crate::load::{self, Load, Pace};
use crate::peers::Peer;
use crate::raw;
use std::io;
use std::path::Path;
use std::time::Instant;

/// One number with its name and unit. The name is empty if the workload has only this figure.
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
}

impl Figure {
    fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value }
    }
}

type Figures = io::Result<Vec<Figure>>;

/// What is measured: a peer, in a process of this program or of the same one built with another profile.
pub struct Target<'a> {
    pub program: &'a Path,
    pub peer: &'a Peer,
}

pub struct Workload {
    pub name: String,
    pub run: Box<dyn Fn(&Target<'_>) -> Figures>,
}

impl Workload {
    fn new(name: String, run: impl Fn(&Target<'_>) -> Figures + 'static) -> Self {
        let run = Box::new(run);
        Self { name, run }
    }
}

/// Descriptors reserved for other purposes: 50 connections, the program's own, a tool's.
const SPARE: usize = 200;

const SMALL: usize = 64;
const LARGE: usize = 16 * 1024;

/// The size of a server's read buffer: larger than a request, so that a read is short.
fn room(size: usize) -> usize {
    (2 * size).max(1024)
}

fn server(tool: Tool, target: &Target<'_>, size: usize) -> io::Result<Server> {
    let steady = if tool == Tool::None {
        "freely"
    } else {
        "steady"
    };
    let args = ["serve", target.peer.name, &room(size).to_string(), steady].map(str::to_owned);
    Server::start(tool, target.program, &args)
}

fn echo_name(conns: usize, size: &str) -> String {
    let plural = if conns == 1 { "" } else { "s" };
    format!("echo, {conns} connection{plural}, {size}")
}

/// The numbers of pairs to measure. Each pair takes two of the available descriptors.
fn pairs(smoke: bool, descriptors: usize) -> [usize; 3] {
    let many = if smoke { 2000 } else { 9000 };
    [200, 1000, many.min((descriptors - SPARE) / 2)]
}

/// The workloads measured by the clock, with this limit of descriptors for each process. With `smoke`
/// they are short, and only check that everything runs.
pub fn times(smoke: bool, descriptors: usize) -> Vec<Workload> {
    let mut all = Vec::new();
    for (size, word) in [(SMALL, "64 B"), (LARGE, "16 KiB")] {
        for conns in [1, 50, if smoke { 100 } else { 1000 }] {
            let requests = match (smoke, size) {
                (true, _) => conns,
                (false, SMALL) => 20_000,
                (false, _) => 10_000,
            };
            let rounds = (requests / conns).clamp(1, 10_000);
            let name = echo_name(conns, word);
            all.push(Workload::new(name, move |target| {
                echo(target, conns, size, rounds)
            }));
        }
    }
    let connections = if smoke { 10 } else { 2000 };
    let name = "churn: connect, echo, close".to_owned();
    all.push(Workload::new(name, move |target| {
        churn(target, connections)
    }));
    let (silent, rounds) = if smoke { (100, 2) } else { (10_000, 400) };
    let silent = silent.min(descriptors - SPARE);
    let name = format!("50 connections beside {silent} idle ones");
    all.push(Workload::new(name, move |target| {
        idle(target, silent, rounds)
    }));
    for pairs in pairs(smoke, descriptors) {
        let events = if smoke { 1000 } else { 200_000 };
        let name = format!("chain, {pairs} pairs");
        all.push(Workload::new(name, move |target| {
            chain_time(target, pairs, events)
        }));
    }
    all
}

/// The lengths of the two runs whose difference is counted.
fn lengths(n: usize) -> [usize; 2] {
    [n, 3 * n]
}

/// The workloads counted by a tool: instructions or system calls.
pub fn counts(tool: Tool, smoke: bool, descriptors: usize) -> Vec<Workload> {
    let mut all = Vec::new();
    // The number of connections matters; the size of a request does not.
    for (conns, rounds) in [(1, 1000), (50, 100)] {
        let rounds = lengths(if smoke { 4 } else { rounds });
        let name = echo_name(conns, "64 B");
        all.push(Workload::new(name, move |target| {
            count_echo(tool, target, conns, rounds)
        }));
    }
    let connections = lengths(if smoke { 4 } else { 200 });
    let name = "churn: connect, echo, close".to_owned();
    all.push(Workload::new(name, move |target| {
        count_churn(tool, target, connections)
    }));
    for pairs in pairs(smoke, descriptors) {
        let events = lengths(if smoke { 200 } else { 20_000 });
        let name = format!("chain, {pairs} pairs");
        all.push(Workload::new(name, move |target| {
            count_chain(tool, target, pairs, events)
        }));
    }
    all
}

/// The workloads whose cache misses are counted. Each of a thousand connections has been out of the
/// cache since its last request; what 32 connections need may stay there, if it is not their buffers.
pub fn misses(tool: Tool, smoke: bool) -> Vec<Workload> {
    let many = if smoke { 100 } else { 1000 };
    let rounds = if smoke { [1, 2] } else { [10, 50] };
    let mut all = vec![Workload::new(echo_name(many, "64 B"), move |target| {
        count_echo(tool, target, many, rounds)
    })];
    for (together, rounds) in [(many, [1, 3]), (32, rounds)] {
        let name = format!("churn, {together} at a time");
        all.push(Workload::new(name, move |target| {
            count_churn_together(tool, target, together, rounds)
        }));
    }
    all
}

/// The wall time and the server's CPU time of some work.
struct Spent {
    seconds: f64,
    cpu: f64,
}

#[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
fn spent(server: &Server, work: impl FnOnce() -> io::Result<()>) -> io::Result<Spent> {
    let (cpu, start) = (server.cpu()?, Instant::now());
    work()?;
    Ok(Spent {
        seconds: start.elapsed().as_secs_f64(),
        cpu: server.cpu()? - cpu,
    })
}

fn echo(target: &Target<'_>, conns: usize, size: usize, rounds: usize) -> Figures {
    let server = server(Tool::None, target, size)?;
    let mut load = Load::open(server.addr, conns, size, Pace::Free)?;
    load.run(rounds.div_ceil(10), Pace::Free)?;
    let spent = spent(&server, || load.run(rounds, Pace::Free))?;
    let requests = (conns * rounds) as f64;
    Ok(vec![
        Figure::new("requests a second", "1/s", requests / spent.seconds),
        Figure::new("server's CPU", "ns", spent.cpu / requests),
    ])
}

fn churn(target: &Target<'_>, connections: usize) -> Figures {
    let server = server(Tool::None, target, SMALL)?;
    load::churn(server.addr, connections.div_ceil(10), SMALL, Pace::Free)?;
    let spent = spent(&server, || {
        load::churn(server.addr, connections, SMALL, Pace::Free)
    })?;
    let connections = connections as f64;
    Ok(vec![
        Figure::new("connections a second", "1/s", connections / spent.seconds),
        Figure::new("server's CPU", "ns", spent.cpu / connections),
    ])
}

fn idle(target: &Target<'_>, silent: usize, rounds: usize) -> Figures {
    const ACTIVE: usize = 50;
    let server = server(Tool::None, target, SMALL)?;
    let mut active = Load::open(server.addr, ACTIVE, SMALL, Pace::Free)?;
    active.run(rounds.div_ceil(10), Pace::Free)?;
    let alone = spent(&server, || active.run(rounds, Pace::Free))?;
    let before = server.resident()?;
    let mut others = Load::open(server.addr, silent, SMALL, Pace::Free)?;
    // After one answer, a connection has been accepted and its coroutine has allocated its memory.
    others.run(1, Pace::Free)?;
    let memory = server.resident()? - before;
    let beside = spent(&server, || active.run(rounds, Pace::Free))?;
    let requests = (ACTIVE * rounds) as f64;
    Ok(vec![
        Figure::new("memory, for each idle", "B", memory / silent as f64),
        Figure::new("server's CPU", "ns", beside.cpu / requests),
        Figure::new("slow-down", "x", beside.cpu / alone.cpu),
    ])
}

/// The number of pairs that have a byte at a time.
const ACTIVE_PAIRS: usize = 100;

fn chain(tool: Tool, target: &Target<'_>, pairs: usize, events: usize) -> io::Result<(f64, u64)> {
    let [pairs, active, events] = [pairs, ACTIVE_PAIRS, events].map(|n| n.to_string());
    let args = ["chain", target.peer.name, &pairs, &active, &events].map(str::to_owned);
    let (ns, count) = child::run(tool, target.program, &args)?;
    Ok((ns.trim().parse().map_err(io::Error::other)?, count))
}

fn has_chain(target: &Target<'_>) -> bool {
    target.peer.works.is_some_and(|works| works.chain.is_some())
}

fn chain_time(target: &Target<'_>, pairs: usize, events: usize) -> Figures {
    if !has_chain(target) {
        return Ok(Vec::new());
    }
    let (ns, _) = chain(Tool::None, target, pairs, events)?;
    Ok(vec![Figure::new("", "ns", ns / events as f64)])
}

/// Returns the cost of one operation: the difference of a long run and a short one, divided by the
/// difference of their operations. `per` is the number of operations in each of `times`.
fn difference(
    tool: Tool,
    [few, many]: [usize; 2],
    per: usize,
    count: impl Fn(usize) -> io::Result<u64>,
) -> Figures {
    let difference = count(many)? as f64 - count(few)? as f64;
    let each = difference / ((many - few) * per) as f64;
    Ok(vec![Figure::new("", tool.unit(), each)])
}

fn count_echo(tool: Tool, target: &Target<'_>, conns: usize, rounds: [usize; 2]) -> Figures {
    difference(tool, rounds, conns, |rounds| {
        let server = server(tool, target, SMALL)?;
        let pace = Pace::Together(&server);
        let mut load = Load::open(server.addr, conns, SMALL, pace)?;
        load.run(rounds, pace)?;
        server.count()
    })
}

fn count_churn(tool: Tool, target: &Target<'_>, connections: [usize; 2]) -> Figures {
    difference(tool, connections, 1, |connections| {
        let server = server(tool, target, SMALL)?;
        let pace = Pace::Together(&server);
        load::churn(server.addr, connections, SMALL, pace)?;
        server.count()
    })
}

/// Counts connections that come and go in groups.
fn count_churn_together(
    tool: Tool,
    target: &Target<'_>,
    together: usize,
    rounds: [usize; 2],
) -> Figures {
    difference(tool, rounds, together, |rounds| {
        let server = server(tool, target, SMALL)?;
        let pace = Pace::Together(&server);
        load::churn_together(server.addr, rounds, together, SMALL, pace)?;
        server.count()
    })
}

fn count_chain(tool: Tool, target: &Target<'_>, pairs: usize, events: [usize; 2]) -> Figures {
    if !has_chain(target) {
        return Ok(Vec::new());
    }
    difference(tool, events, 1, |events| {
        Ok(chain(tool, target, pairs, events)?.1)
    })
}

/// Prepares this process for reproducible counts (see the head of this file).
pub fn be_steady(server: bool) -> io::Result<()> {
    raw::stay_on_one_processor()?;
    if server {
        raw::set_batch_policy()
    } else {
        Ok(())
    }
}
