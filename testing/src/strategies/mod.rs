//! Strategies for [proptest](https://docs.rs/proptest): programs, fault mixes, and splits of a byte
//! stream.
//!
//! Most bugs of an event loop, or of code on it, depend on an order: what a callback does to other
//! registrations, where a read splits a message, which system call fails. So these strategies choose
//! orders, splits and faults, and prefer the ones that have found bugs. A failing case is shrunk to a
//! short list and reported as a transcript.
//!
//! This module needs the feature `proptest`, which is off by default.

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
pub use program::{ParseProgramError, Program, Report, Violation};
pub use scripted::Scripted;
