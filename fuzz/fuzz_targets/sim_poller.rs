//! Fuzzes the pollers of the kernel in memory: see `src/sim_poller.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(sim_poller);
