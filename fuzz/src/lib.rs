//! Interpreters of operation lists, one for each fuzz target: whatever the list, none may panic.
//!
//! A target is a function from a value to nothing, and the value comes from bytes by `arbitrary`.
//! So the same functions run under a fuzzer that looks for new branches (`cargo fuzz run timers`),
//! over bytes from a seed (`cargo test`, see `smoke.rs`), and over the file that a fuzzer left
//! behind (`cargo run --bin timers FILE`), the latter two on any compiler.

/// The slab and the timer heap are private to the library, so their sources are compiled into this
/// crate as well.
#[allow(dead_code, unused_imports)]
#[path = "../../src/base/mod.rs"]
mod base;
mod chunking;
mod programs;
mod sim_poller;
mod slab;
mod timers;

pub use chunking::{Exchange, chunking};
pub use programs::{Played, programs};
pub use sim_poller::{Watching, sim_poller};
pub use slab::{SlabOps, slab};
pub use timers::{TimerOps, timers};

use arbitrary::{Arbitrary, Unstructured};
use std::fmt::Debug;
use std::ops::Deref;

/// A list that is long for most bytes: one of `Vec`'s ends after each element with a chance of
/// one half, and what comes about only after ten operations would hardly be tried.
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

/// Runs `interpret` on what `bytes` stand for. Bytes that stand for nothing are left alone.
pub fn feed<'a, T: Arbitrary<'a>>(bytes: &'a [u8], interpret: impl Fn(&T)) {
    if let Ok(value) = T::arbitrary_take_rest(Unstructured::new(bytes)) {
        interpret(&value);
    }
}

/// Runs `interpret` on the files that are named on the command line, and shows what they stand for.
pub fn replay<T: for<'a> Arbitrary<'a> + Debug>(interpret: impl Fn(&T)) {
    for path in std::env::args_os().skip(1) {
        let name = path.to_string_lossy();
        let bytes = std::fs::read(&path).expect("the file can be read");
        feed(&bytes, |value| {
            println!("{name}: {value:?}");
            interpret(value);
        });
        println!("{name}: nothing found");
    }
}

/// The entry of a fuzz target: the fuzzer's under cargo-fuzz, `main` elsewhere.
#[cfg(fuzzing)]
#[macro_export]
macro_rules! target {
    ($interpret:ident) => {
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::feed(bytes, $crate::$interpret));
    };
}

/// The entry of a fuzz target: the fuzzer's under cargo-fuzz, `main` elsewhere.
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
