//! A loop on the simulated kernel, under programs of the testing kit. Each call of a callback is checked
//! against the kit's model (`readily_testing::strategies`), as `tests/props` does for random programs.
//!
//! Here the input bytes choose the operations, so that a fuzzer can search for new branches.

use arbitrary::Arbitrary;
use readily_testing::strategies::Program;
use readily_testing::{Faults, Personality, SimLoop};

/// The input of [`programs`].
#[derive(Arbitrary, Clone, Debug)]
pub struct ProgramInput {
    pub system: u8,
    /// The seed of the kernel's faults; `None` for no faults.
    pub seed: Option<u64>,
    /// How often a registration fails with ENOMEM.
    pub enomem: u8,
    /// Whether the loop is closed at the end with its registrations, or they are removed first.
    pub closes: bool,
    pub program: Bytes,
}

/// All remaining bytes of the input.
#[derive(Clone, Debug)]
pub struct Bytes(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Bytes {
    fn arbitrary(bytes: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = bytes.len();
        Ok(Self(bytes.bytes(len)?.to_vec()))
    }
}

/// Runs the program.
///
/// # Panics
///
/// If a rule is violated, with the events that led to it and the program as text.
pub fn programs(input: &ProgramInput) {
    let mut faults = input.seed.map_or_else(Faults::none, Faults::all);
    faults.enomem = input.enomem % 64;
    let system = match input.system % 4 {
        0 => None,
        1 => Some(Personality::FreeBsd),
        2 => Some(Personality::Apple),
        _ => Some(Personality::NetBsd),
    };
    let program = Program::from_bytes(&input.program.0);
    let mut sim = SimLoop::on(system, faults);
    let ran = match input.closes {
        true => program.run_to_close(sim),
        false => program.run(&mut sim),
    };
    if let Err(violation) = ran {
        panic!("{violation}\n{program}");
    }
}
