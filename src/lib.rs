//! A hand-rolled epoll and kqueue event loop (the seam to the kernel only, so far).
#![forbid(unsafe_code)]

pub mod poll;
