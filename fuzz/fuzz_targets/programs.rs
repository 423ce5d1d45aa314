//! Fuzzes a loop on a kernel in memory: see `src/programs.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(programs);
