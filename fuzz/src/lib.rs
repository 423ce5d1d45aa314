//! Interpreters of operation lists, one for each fuzz target. No list may make an interpreter panic.
//!
//! A target is a function with one argument, which `arbitrary` creates from bytes. The same function
//! runs under a coverage-guided fuzzer (`cargo fuzz run timers`), on bytes from a seed (`cargo test`,
//! see `smoke.rs`), and on a file that the fuzzer has saved (`cargo run --bin timers FILE`). The latter
//! two work with any compiler.

/// The slab and the timer heap are private to the library, so their sources are compiled into this
/// crate as well.
#[allow(dead_code, unused_imports)]
#[path = "../../src/base/mod.rs"]
mod base;
mod chunking;
mod programs;
mod reading;
mod sim_poller;
mod slab;
mod timers;

pub use chunking::{Exchange, chunking};
pub use programs::{ProgramInput, programs};
pub use reading::{Reads, reading};
pub use sim_poller::{PollerInput, sim_poller};
pub use slab::{SlabOps, slab};
pub use timers::{TimerOps, timers};

use arbitrary::{Arbitrary, Unstructured};
use std::fmt::Debug;
use std::ops::Deref;

/// A list that is long for most inputs. `arbitrary`'s `Vec` ends after each element with a probability
/// of one half, so a state that takes ten operations to reach would hardly be tested.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for List<T> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut list = Vec::new();
        while !bytes.is_empty() && bytes.ratio(63u8, 64u8)? {
            list.push(bytes.arbitrary()?);
        }
        Ok(Self(list))
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

#[doc(hidden)]
#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// Decodes `bytes` and runs `interpret` on the value. Bytes that cannot be decoded are ignored.
pub fn feed<'a, T: Arbitrary<'a>>(bytes: &'a [u8], interpret: impl Fn(&T)) {
    if let Ok(value) = T::arbitrary_take_rest(Unstructured::new(bytes)) {
        interpret(&value);
    }
}

/// Runs `interpret` on the files named on the command line, and prints the decoded values.
pub fn replay<T: for<'a> Arbitrary<'a> + Debug>(interpret: impl Fn(&T)) {
    for path in std::env::args_os().skip(1) {
        let name = path.to_string_lossy();
        let bytes = std::fs::read(&path).expect("the file can be read");
        feed(&bytes, |value| {
            println!("{name}: {value:?}");
            interpret(value);
        });
        println!("{name}: no panic");
    }
}

/// Defines the entry point of a fuzz target: the fuzzer's under cargo-fuzz, otherwise `main`.
#[cfg(fuzzing)]
#[macro_export]
macro_rules! target {
    ($interpret:ident) => {
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::feed(bytes, $crate::$interpret));
    };
}

/// Defines the entry point of a fuzz target: the fuzzer's under cargo-fuzz, otherwise `main`.
#[cfg(not(fuzzing))]
#[macro_export]
macro_rules! target {
    ($interpret:ident) => {
        fn main() {
            $crate::replay($crate::$interpret);
        }
    };
}

#[cfg(test)]
mod smoke;
