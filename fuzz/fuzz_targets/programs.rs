//! Fuzzes a loop on the simulated kernel: see `src/programs.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(programs);
