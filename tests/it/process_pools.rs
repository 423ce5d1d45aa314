//! Process pools where they are refused: this test binary has a `main` that is not ours.

use readily::jobs;
use readily::process_pool::{JobTable, ProcessPool, StartError};

fn nothing((): ()) {}

const JOBS: JobTable = jobs![nothing];

#[test]
fn without_init_there_is_no_pool() {
    let refused = ProcessPool::new(JOBS).unwrap_err();
    assert!(matches!(refused, StartError::NotInitialized), "{refused}");
}
