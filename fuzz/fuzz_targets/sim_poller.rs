//! Fuzzes the pollers of the simulated kernel: see `src/sim_poller.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(sim_poller);
