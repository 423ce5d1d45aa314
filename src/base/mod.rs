//! What knows nothing of loops: the slab, the timer heap, the clock, chance from a seed.
//!
//! They are apart so that each can be read, tested against a model, and measured alone.
//! Nothing here calls user code; what a structure gives up, it hands back to be dropped by
//! the caller, outside every borrow (L8).
//!
//! The notes' "I/O, timers and callbacks" (N1) all end up in one of these.

pub mod clock;
pub(crate) mod fnv;
pub(crate) mod int_hash;
pub(crate) mod numbered;
pub(crate) mod rng;
pub(crate) mod shrink;
pub mod slab;
pub(crate) mod sync;
pub mod timer_heap;
pub(crate) mod unique_id;
