//! Strategies for [proptest](https://docs.rs/proptest), for who tests on the kernel in memory.
//!
//! What an event loop, or what runs on it, gets wrong is a matter of order: of what a callback
//! does to its neighbours, of where a stream is cut, of what fails just then. So the orders, the
//! cuts and the faults are what is chosen here, with a liking for the awkward ones; and what
//! failed is cut down to the shortest list that still does, and told as a transcript.
//!
//! In the notes this is nothing. Behind the feature `proptest`, which is off by default.

mod checker;
mod chunks;
mod descriptors;
mod faults;
mod generate;
mod harness;
mod interpreter;
mod model;
mod op;
mod poller_check;
mod program;
mod runner;
mod scripted;
mod shrink;
mod streams;

pub use chunks::{Chunking, Chunks, chunks};
pub use faults::{faults, personality, refusals};
pub use generate::program;
pub use program::{NoProgram, Program, Report, Violation};
pub use scripted::Scripted;
