//! The files of every Unix, and the replacements for calls that some systems lack.

pub(crate) mod address;
pub mod child;
pub mod clock;
pub(crate) mod close;
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) mod cpu_bits;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub mod event;
pub(crate) mod file_id;
pub(crate) mod find_byte;
#[cfg(test)]
pub(crate) mod for_tests;
pub mod fork;
mod held;
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) mod many;
pub mod names;
pub mod nonblocking;
pub(crate) mod pipe;
pub mod poll;
pub mod readiness;
pub mod signal;
pub mod signal_mask;
pub mod socket;
pub mod standard_stream;
pub mod transfer;
pub(crate) mod wipe_on_fork;
pub(crate) mod with_std;
pub mod worker;

#[cfg(not(target_vendor = "apple"))]
pub(crate) mod new_fd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod nowait;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod peer_cred;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod poll_bits;
#[cfg(not(any(target_vendor = "apple", target_os = "netbsd")))]
pub(crate) mod ppoll;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod same_file;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod secure;
