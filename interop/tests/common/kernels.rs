//! The kernels that a program runs on: the system's, and those in memory with the faults of many seeds.

use readily::Runner;
use readily_testing::{Faults, Personality, SimLoop};

/// Linux, and the three systems with a kqueue.
const KERNELS: [Option<Personality>; 4] = [
    None,
    Some(Personality::FreeBsd),
    Some(Personality::Apple),
    Some(Personality::NetBsd),
];

/// Mixes of faults: some seeds have few of them, some many.
fn faults(seed: u64) -> Faults {
    let mut faults = Faults::seeded(seed);
    let rate = [0, 8, 64, 160][seed as usize % 4];
    faults.short = rate;
    faults.would_block = rate / 2;
    faults.interrupted = rate / 2;
    faults.spurious = rate / 4;
    faults.early_return = rate / 4;
    faults.shuffle = seed % 3 == 0;
    faults
}

/// Names the run if the program panics in it.
struct Run(u64, Option<Personality>);

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} on {:?}", self.0, self.1);
        }
    }
}

/// Runs the program on the kernels in memory, with the faults of 100 seeds.
///
/// Each rate of faults meets each kernel: a seed selects its rate by the remainder of 4, and its kernel by
/// that of 4 after a division.
pub(crate) fn in_memory_with_faults(mut program: impl AsyncFnMut()) {
    for seed in 0..100 {
        let system = KERNELS[seed as usize / 4 % KERNELS.len()];
        let _run = Run(seed, system);
        let mut sim = SimLoop::on(system, faults(seed));
        sim.run(program()).expect("it does not stall");
    }
}

/// Runs the program on the system's kernel.
pub(crate) fn on_the_system<F: Future>(program: F) -> F::Output {
    Runner::new().unwrap().run(program).unwrap()
}
