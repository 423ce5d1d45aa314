//! Fuzzes the deadline heap: see `src/timers.rs`.
#![cfg_attr(fuzzing, no_main)]
readily_fuzz::target!(timers);
