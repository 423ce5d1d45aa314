//! Properties: what must hold for every program, checked against models that are simpler than the
//! code.
//!
//! The head of each file names the invariants of `docs/invariants.md` that its tests show, and each
//! test cites its own; that page lists the tests of each invariant. Each property has been seen to
//! fail on a bug of `tests/mutants.md`. Values come from small ranges, because eight keys collide
//! more often than eight thousand.

// The modules of one binary share items with `pub`; no other crate can use them.
#![allow(unreachable_pub)]

mod base;
/// The slab and the timer heap are private to the library, so their sources are compiled into this
/// binary too.
#[allow(dead_code, unused_imports)]
#[path = "../../src/base/mod.rs"]
mod base_sources;
mod cells;
mod channels;
mod children;
mod choices;
mod everywhere;
mod groups;
mod halves;
mod hangups;
mod interest;
mod kernels;
mod limits;
mod polled;
mod pools;
mod process_pools;
mod programs;
mod queues;
mod reading;
mod scripted;
mod simulated;
mod sources;
mod sync;
mod tasks;
mod timing;
mod touchy;
mod transports;
mod waits;
mod wakes;
mod writing;
