//! Strategies for [proptest](https://docs.rs/proptest), for who tests on the kernel in memory.
//!
//! What an event loop, or what runs on it, gets wrong is a matter of order: of what a callback
//! does to its neighbours, of where a stream is cut, of what fails just then. So the orders, the
//! cuts and the faults are what is chosen here, with a liking for the awkward ones; and what
//! failed is cut down to the shortest list that still does, and told as a story.
//!
//! In the notes this is nothing. Behind the feature `proptest`, which is off by default.

mod actor;
mod bytes;
mod changes;
mod chunks;
mod connections;
mod deeds;
mod descriptors;
mod ending;
mod faults;
mod generate;
mod judge;
mod model;
mod next;
mod op;
mod operands;
mod play;
mod program;
mod registrations;
mod reports;
mod scripted;
mod shrink;
mod stage;
mod tasks;
mod text;
mod work;

pub use chunks::{Chunking, Chunks, chunks};
pub use faults::{faults, personality, refusals};
pub use generate::program;
pub use program::{NoProgram, Program, Report, Violation};
pub use scripted::Scripted;
