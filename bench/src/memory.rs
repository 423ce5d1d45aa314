//! Memory of a parked task and of an idle connection with a callback: the growth of the resident
//! memory, divided by their number.
//!
//! Each kind on each peer runs in a process of its own. Tasks are spawned in batches, and each batch is
//! polled before the next one, so that the ready queue stays short. The handles are leaked.
//!
//! The connections are descriptors of one socket, because only the memory of the process counts.

#[cfg(has_ev)]
use crate::callbacks::Ev;
#[cfg(has_event)]
use crate::callbacks::Event;
#[cfg(has_uv)]
use crate::callbacks::Uv;
use crate::callbacks::{self, Callbacks, Calloop, Watching};
use crate::peers::{Compio, Monoio, Readily, Smol, Tokio};
use crate::runtime::Runtime;
use crate::workloads::BATCH;
use readily_bench::report::Row;
use std::error::Error;
use std::future::pending;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// What a task waits for: the smallest possible future, one signal for all tasks, or its own oneshot.
const KINDS: [&str; 3] = ["nothing", "a signal", "a oneshot"];

/// The kind that is no task, but a registered socket.
const IDLE: &str = "an idle connection with a callback";

/// Descriptors that are not connections: the loop's own, and those of the standard streams.
const SPARE: u64 = 100;

/// Returns the resident memory of this process, in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let kib = status.lines().find_map(|line| {
        let rest = line.strip_prefix("VmRSS:")?;
        rest.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    kib.expect("VmRSS is present") * 1024.0
}

async fn park<R: Runtime>(tasks: u64, spawn: impl Fn()) -> f64 {
    // The first batch pays for allocations that all tasks share.
    batch::<R>(&spawn).await;
    let before = resident();
    for _ in 0..tasks / BATCH {
        batch::<R>(&spawn).await;
    }
    (resident() - before) / (tasks / BATCH * BATCH) as f64
}

async fn batch<R: Runtime>(spawn: &impl Fn()) {
    (0..BATCH).for_each(|_| spawn());
    for _ in 0..2 {
        R::yield_now().await;
    }
}

fn parked<R: Runtime>(kind: &str, tasks: u64) -> f64 {
    match kind {
        "nothing" => R::run(park::<R>(tasks, || {
            std::mem::forget(R::spawn(pending::<()>()));
        })),
        "a signal" => R::run(async move {
            let signal = R::signal();
            park::<R>(tasks, || {
                let signal = signal.clone();
                std::mem::forget(R::spawn(async move { R::signalled(&signal).await }));
            })
            .await
        }),
        _ => R::run(park::<R>(tasks, || {
            let (sender, receiver) = R::oneshot::<u64>();
            std::mem::forget(sender);
            std::mem::forget(R::spawn(receiver));
        })),
    }
}

fn idle<C: Watching>(_kind: &str, connections: u64) -> f64 {
    let (socket, _other) = UnixStream::pair().expect("a pair of sockets");
    // As a loop accepts it; most of them require it of a descriptor that they are given.
    socket.set_nonblocking(true).expect("a socket can be that");
    let clones = |n: u64| -> Vec<_> {
        let clone = |_| socket.try_clone().expect("a descriptor is free");
        (0..n).map(clone).collect()
    };
    let mut peer = C::new();
    // The first batch pays for allocations that all connections share.
    let first = (connections / 10).min(BATCH);
    peer.watch(clones(first));
    let sockets = clones(connections - first);
    let before = resident();
    peer.watch(sockets);
    let each = (resident() - before) / (connections - first) as f64;
    // Dropping the loop would close thousands of descriptors.
    std::mem::forget(peer);
    each
}

/// Raises the limit of descriptors to its maximum, and returns the number that is free.
fn free_descriptors() -> Result<u64, Box<dyn Error>> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX).saturating_sub(SPARE))
}

type Parked = fn(&str, u64) -> f64;

const PEERS: &[(&str, Parked)] = &[
    (Readily::NAME, parked::<Readily>),
    (Tokio::NAME, parked::<Tokio>),
    (Smol::NAME, parked::<Smol>),
    (Monoio::NAME, parked::<Monoio>),
    (Compio::NAME, parked::<Compio>),
];

const LOOPS: &[(&str, Parked)] = &[
    (callbacks::Readily::NAME, idle::<callbacks::Readily>),
    (Calloop::NAME, idle::<Calloop>),
    #[cfg(has_uv)]
    (Uv::NAME, idle::<Uv>),
    #[cfg(has_ev)]
    (Ev::NAME, idle::<Ev>),
    #[cfg(has_event)]
    (Event::NAME, idle::<Event>),
];

/// Runs in a child process: prints the bytes of each task or connection. The process ends without
/// dropping them, because that would take long.
pub fn run_one(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mut next = || args.next().ok_or("--park KIND PEER NUMBER");
    let (kind, peer, mut number) = (next()?, next()?, next()?.parse()?);
    let peers = if kind == IDLE {
        number = free_descriptors()?.min(number);
        LOOPS
    } else {
        PEERS
    };
    let peer = peers.iter().find(|(name, _)| *name == peer);
    let (_, parked) = peer.ok_or("no such peer")?;
    println!("{}", parked(&kind, number));
    Ok(())
}

/// Measures with `tasks` tasks, or with a hundredth of that number of connections, in processes of
/// `program`.
pub fn rows(
    program: &Path,
    tasks: u64,
    only: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let parked = KINDS.map(|kind| {
        let workload = format!("a parked task that waits for {kind}");
        (kind, workload, PEERS, tasks)
    });
    let idle = (IDLE, IDLE.to_owned(), LOOPS, tasks / 100);
    for (kind, workload, peers, number) in parked.into_iter().chain([idle]) {
        for (peer, _) in peers.iter().filter(|(peer, _)| only(&workload, peer)) {
            let output = Command::new(program)
                .args(["--park", kind, peer, &number.to_string()])
                .output()?;
            let said = String::from_utf8(output.stdout)?;
            let bytes = said.trim().parse();
            let bytes = bytes.map_err(|_| {
                format!(
                    "{peer}: {workload}: {}",
                    String::from_utf8_lossy(&output.stderr)
                )
            })?;
            rows.push(Row::new(&workload, peer, bytes, "bytes"));
        }
    }
    Ok(rows)
}
