//! Memory of a parked task: the growth of the resident memory, divided by the number of tasks.
//!
//! Each kind of task on each peer runs in a process of its own. Tasks are spawned in batches, and each
//! batch is polled before the next one, so that the ready queue stays short. The handles are leaked.

use crate::peers::{Monoio, Readily, Smol, Tokio};
use crate::runtime::Runtime;
use crate::workloads::BATCH;
use readily_bench::report::Row;
use std::error::Error;
use std::future::pending;
use std::process::Command;

/// What a task waits for: the smallest possible future, one signal for all tasks, or its own oneshot.
const KINDS: [&str; 3] = ["nothing", "a signal", "a oneshot"];

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

type Parked = fn(&str, u64) -> f64;

const PEERS: [(&str, Parked); 4] = [
    (Readily::NAME, parked::<Readily>),
    (Tokio::NAME, parked::<Tokio>),
    (Smol::NAME, parked::<Smol>),
    (Monoio::NAME, parked::<Monoio>),
];

/// Runs in a child process: prints the bytes of each task. The process ends without dropping the tasks,
/// because that would take long.
pub fn run_one(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mut next = || args.next().ok_or("--park KIND PEER TASKS");
    let (kind, peer, tasks) = (next()?, next()?, next()?.parse()?);
    let peer = PEERS.iter().find(|(name, _)| *name == peer);
    let (_, parked) = peer.ok_or("no such peer")?;
    println!("{}", parked(&kind, tasks));
    Ok(())
}

pub fn rows(tasks: u64, only: impl Fn(&str, &str) -> bool) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for kind in KINDS {
        let workload = format!("a parked task that waits for {kind}");
        for (peer, _) in PEERS.iter().filter(|(peer, _)| only(&workload, peer)) {
            let output = Command::new(std::env::current_exe()?)
                .args(["--park", kind, peer, &tasks.to_string()])
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
