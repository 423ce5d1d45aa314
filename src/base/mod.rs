//! Data structures that know no loop: the slab, the timer heap, the clock, the random numbers.
//!
//! Each of them can be read, tested against a model, and measured alone. None of them calls
//! user code: a structure returns what is removed from it, and the caller drops it, outside
//! every borrow (L8).
//!
//! The notes' "I/O, timers and callbacks" (N1) all end up in one of these.

pub(crate) mod byte_queue;
pub mod clock;
pub(crate) mod fd_slab;
pub(crate) mod fd_table;
pub(crate) mod fnv;
pub(crate) mod numbered;
pub(crate) mod rng;
pub(crate) mod shrink;
pub mod slab;
pub(crate) mod sort_pairs;
pub(crate) mod sync;
pub mod timer_heap;
pub(crate) mod unique_id;
