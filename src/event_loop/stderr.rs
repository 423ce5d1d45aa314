//! Reports on standard error: where there is no hook, or no loop any more.
//!
//! A program may run with a standard error that is full, closed, or a pipe without a reader. A report
//! that cannot be written is lost there, and that is all: the loop goes on (R141).
//!
//! In asyncio this is the default exception handler, which logs.

use super::handle::WeakHandle;
use super::origin::Origin;
use super::panics::{Payload, catch, drop_quietly};
use super::unhandled::Unhandled;
use std::fmt;
use std::io::{Write, stderr};

pub(super) fn panic(payload: &Payload, origin: Origin) -> Unhandled {
    let message = message(payload);
    Unhandled::Panic { origin, message }
}

/// Writes one line, as far as that is possible.
///
/// Not `eprintln!`, which panics where it cannot write. The text may come from an error of a user's
/// poller, whose `Display` may panic too.
#[cold]
pub(crate) fn print(report: &dyn fmt::Display) {
    match catch(|| format!("readily: {report}\n")) {
        // In one piece, so that the lines of two threads do not mix.
        Ok(line) => drop(stderr().write_all(line.as_bytes())),
        Err(payload) => drop_quietly(payload),
    }
}

/// Reports a panic whose loop has gone.
#[cold]
pub(crate) fn print_panic(payload: Payload, origin: Origin) {
    print(&panic(&payload, origin));
    drop_quietly(payload);
}

/// Reports a panic that belongs to no loop: to the one that runs here, or on standard error.
#[cold]
pub(crate) fn note_stray_panic(payload: Payload) {
    match WeakHandle::current() {
        Some(weak) => weak.note_panic(payload, Origin::Other),
        None => print_panic(payload, Origin::Other),
    }
}

/// What a panic said.
pub(crate) fn message(payload: &Payload) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(a payload that is not a string)".to_owned()
    }
}
