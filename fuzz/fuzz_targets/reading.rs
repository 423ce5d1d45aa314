//! Fuzzes what is read through a buffer: see `src/reading.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(reading);
