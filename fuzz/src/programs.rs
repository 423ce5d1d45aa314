//! A loop on a kernel in memory, under programs of the testing kit: each call of a callback is held
//! against its model (`readily_testing::strategies`), which `tests/props` does for programs that
//! chance chooses.
//!
//! Here bytes decide what each operation is, so that a fuzzer can look for those that lead
//! somewhere new.

use arbitrary::Arbitrary;
use readily_testing::strategies::Program;
use readily_testing::{Faults, Personality, SimLoop};

/// What `programs` is run on.
#[derive(Arbitrary, Clone, Debug)]
pub struct Played {
    pub system: u8,
    /// No seed, no faults.
    pub seed: Option<u64>,
    /// How often a registration is refused.
    pub enomem: u8,
    /// Whether the loop is closed at the end with all that is there, or all is taken back.
    pub closes: bool,
    pub program: Bytes,
}

/// All that are left.
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
/// If a rule is broken, with the story of how it came to that, and the program as text.
pub fn programs(played: &Played) {
    let mut faults = played.seed.map_or_else(Faults::none, Faults::all);
    faults.enomem = played.enomem % 64;
    let system = match played.system % 4 {
        0 => None,
        1 => Some(Personality::FreeBsd),
        2 => Some(Personality::Apple),
        _ => Some(Personality::NetBsd),
    };
    let program = Program::from_bytes(&played.program.0);
    let mut sim = SimLoop::on(system, faults);
    let ran = match played.closes {
        true => program.run_to_close(sim),
        false => program.run(&mut sim),
    };
    if let Err(violation) = ran {
        panic!("{violation}\n{program}");
    }
}
