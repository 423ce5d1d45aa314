//! The files of Linux.

pub mod affinity;
pub mod epoll;
pub mod error_queue;
pub mod event;
pub mod exit_fd;
pub mod facts;
#[cfg_attr(readily_force_pipe, allow(dead_code, unreachable_pub))]
pub(crate) mod notify;
pub(crate) mod nowait;
pub(crate) mod peer_cred;
pub(crate) mod poll_bits;
pub(crate) mod same_file;
pub(crate) mod secure;
pub mod timer;
pub(crate) mod wipe;
