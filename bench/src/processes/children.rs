//! A child that ends at once: started, and awaited.

use crate::{Workload, wall_of};
use std::time::Duration;

const PROGRAM: &str = "/bin/true";

pub fn workload() -> Workload {
    Workload {
        name: "a child, started and awaited",
        count: 200,
        runs: vec![("readily", readily), ("tokio", tokio), ("smol", smol)],
    }
}

fn readily(n: u64) -> Duration {
    let all = wall_of(async move {
        for _ in 0..n {
            let status = readily::process::Command::new(PROGRAM).status().await;
            assert!(status.expect("it can be started").success());
        }
    });
    readily::run(all).expect("the loop turns")
}

fn tokio(n: u64) -> Duration {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(wall_of(async move {
        for _ in 0..n {
            let status = tokio::process::Command::new(PROGRAM).status().await;
            assert!(status.expect("it can be started").success());
        }
    }))
}

fn smol(n: u64) -> Duration {
    async_io::block_on(wall_of(async move {
        for _ in 0..n {
            let status = async_process::Command::new(PROGRAM).status().await;
            assert!(status.expect("it can be started").success());
        }
    }))
}
