//! Fuzzes the slab: see `src/slab.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(slab);
