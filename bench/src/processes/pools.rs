//! Process pools of two workers: one job at a time, and a map over many.
//!
//! The jobs square a number, so the cost is that of the pool: to encode, to send, to wake a worker, and the
//! way back. Starting the workers is not counted: each has had a job before. tarnish runs one job at a time.
//! Python's pool is `process_pool.py`, left out where there is no `python3`.

use crate::{Workload, wall, wall_of};
use readily::jobs;
use readily::process_pool::{self, JobTable, ProcessPool, Shutdown};
use std::num::NonZero;
use std::process::Command;
use std::time::Duration;

pub const PYTHON: &str = "Python";

const WORKERS: usize = 2;

/// How many jobs procspawn is given at a time.
const AHEAD: usize = 500;

const JOBS: JobTable = jobs![square];

fn square(number: u64) -> u64 {
    number.wrapping_mul(number)
}

/// Stays here in a worker of each of the three pools.
pub fn init() {
    process_pool::init(JOBS);
    if let Some(code) = tarnish::worker_main::<Square>() {
        std::process::exit(code);
    }
    procspawn::init();
}

pub fn workloads() -> Vec<Workload> {
    let mut alone: Vec<(_, crate::Run)> = vec![
        ("readily", |n| readily(n, false)),
        ("procspawn", |n| procspawned(n, false)),
        ("tarnish", tarnished),
    ];
    let mut mapped: Vec<(_, crate::Run)> = vec![
        ("readily", |n| readily(n, true)),
        ("procspawn", |n| procspawned(n, true)),
        ("tarnish", tarnished),
    ];
    let python = Command::new("python3").arg("--version").output();
    if python.is_ok_and(|python| python.status.success()) {
        alone.push((PYTHON, |n| python_pool(n, "alone")));
        mapped.push((PYTHON, |n| python_pool(n, "map")));
    }
    vec![
        Workload {
            name: "a job of a process pool",
            count: 2000,
            runs: alone,
        },
        Workload {
            name: "a job of a map over 10,000",
            count: 10_000,
            runs: mapped,
        },
    ]
}

fn readily(n: u64, is_map: bool) -> Duration {
    let pool = ProcessPool::builder(JOBS).workers(WORKERS).build();
    let pool = pool.expect("init was called");
    let all = async {
        let both = pool.map(square, 0..2).collect::<Vec<_>>().await;
        both.expect("the workers start");
        let took = wall_of(async {
            if is_map {
                let all: Vec<u64> = pool.map(square, 0..n).collect().await.expect("none fails");
                assert_eq!(all.len() as u64, n);
            } else {
                for number in 0..n {
                    let job = pool.submit(square, number).await;
                    assert_eq!(job.expect("it does not fail"), square(number));
                }
            }
        });
        let took = took.await;
        pool.shutdown(Shutdown::Drain).await;
        took
    };
    readily::run(all).expect("the loop turns")
}

fn procspawned(n: u64, is_map: bool) -> Duration {
    let pool = procspawn::Pool::new(WORKERS).expect("the workers start");
    let submit = |number: u64| procspawn::spawn!(in pool, (number) || square(number));
    for number in 0..4 {
        submit(number).join().expect("it does not fail");
    }
    let took = wall(|| {
        if is_map {
            // Each submitted job has descriptors: 10,000 of them are too many.
            for first in (0..n).step_by(AHEAD) {
                let jobs: Vec<_> = (first..n).take(AHEAD).map(submit).collect();
                for job in jobs {
                    { job }.join().expect("none fails");
                }
            }
        } else {
            for number in 0..n {
                let result = submit(number).join().expect("it does not fail");
                assert_eq!(result, square(number));
            }
        }
    });
    pool.shutdown();
    took
}

#[derive(Default)]
struct Square;

impl tarnish::Task for Square {
    type Input = u64;
    type Output = u64;
    type Error = String;

    fn run(&mut self, number: u64) -> Result<u64, String> {
        Ok(square(number))
    }
}

fn tarnished(n: u64) -> Duration {
    let workers = NonZero::new(WORKERS).expect("it is not zero");
    let mut pool = tarnish::ProcessPool::<Square>::new(workers).expect("the workers start");
    for number in 0..2 {
        pool.call(number).expect("it does not fail");
    }
    wall(|| {
        for number in 0..n {
            let result = pool.call(number).expect("it does not fail");
            assert_eq!(result, square(number));
        }
    })
}

/// Runs the script, which prints nanoseconds.
fn python_pool(n: u64, what: &str) -> Duration {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/process_pool.py");
    let ran = Command::new("python3")
        .args([script, what, &n.to_string(), &WORKERS.to_string()])
        .output();
    let ran = ran.expect("python3 has told its version");
    let printed = String::from_utf8_lossy(&ran.stdout);
    let took = printed
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("python3: {ran:?}"));
    Duration::from_nanos(took)
}
