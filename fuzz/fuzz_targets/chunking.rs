//! Fuzzes bytes through TCP streams: see `src/chunking.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(chunking);
