//! The loop on real sockets, real time and real threads, in one binary.
//!
//! Both ends of each connection are in the test, on the loopback, on ports of the system's
//! choice. Nothing here sleeps in order to wait: a test turns the loop until what it waits for
//! has come. Each guarded test has a process of its own, which is ended if it makes no progress, and
//! then fails alone; how busy the machine is does not matter. (`READILY_IT_WATCHED` set to the name of a
//! test runs that one in the process itself, for a debugger.)
//!
//! The numbers `R…` are those of the project's catalogue of faults; `L`, `C`, `W`, `T` and `S`
//! are invariants.

mod always_ready;
mod bad_input;
mod cancelling;
#[cfg(target_os = "linux")]
mod child_numbers;
mod children;
mod core_servers;
mod cores;
mod counted;
mod datagrams;
mod deadlines;
mod depth;
mod descriptors;
mod dispatch;
mod embed;
mod enter;
mod examples;
mod fairness;
mod foreign;
mod forked;
mod frames;
mod futurelock;
mod handles;
mod hangup;
mod hosts;
mod hosts_in_c;
mod kit;
mod listen;
mod misuse;
mod moody;
mod names;
mod nothing;
#[cfg(target_os = "linux")]
mod open_errors;
mod own_kernel;
mod owned_waits;
mod panics;
mod payloads;
mod pipes;
mod polled;
mod pools;
mod process_pools;
mod readiness;
mod reading;
mod reentrancy;
mod refused;
mod remote_tasks;
mod reports;
mod retrieved;
mod servers;
mod shared_files;
mod shared_tasks;
mod signals;
mod sizes;
mod sources;
mod spent;
mod standard_streams;
mod stderr;
mod streams;
mod support;
mod tasks;
mod tcp_options;
mod threads;
mod timers;
mod transports;
mod unix_paths;
mod unix_streams;
mod unseen;
mod waiting;
mod wakers;
mod web_servers;
mod writing;
