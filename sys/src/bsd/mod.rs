//! The files of systems that have a kqueue.

// The seam: `ffi.rs` is the system's own kqueue, `ffi_extern.rs` whichever is linked.
#[cfg_attr(readily_kqueue_extern, path = "ffi_extern.rs")]
mod ffi;
pub mod kqueue;
mod notify;

// A token travels in a pointer. On a narrower one it would come back cut off.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("readily keeps 64-bit tokens in kqueue's udata, which has no room for them here");
