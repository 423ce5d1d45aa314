//! Reports on standard error: used if there is no hook, or if the loop is gone.
//!
//! Standard error may be full, closed, or a pipe without a reader. A report that cannot be written
//! is lost, and the loop continues (R141).
//!
//! In asyncio this is the default exception handler, which logs.

use super::origin::Origin;
use super::panics::{Payload, catch, drop_quietly};
use super::report::Unhandled;
use std::fmt;
use std::io::{Write, stderr};

pub(super) fn panic(payload: &Payload, origin: Origin) -> Unhandled {
    let message = message(payload);
    Unhandled::Panic { origin, message }
}

/// Writes a report as one line; if it cannot be written, it is lost.
///
/// Not `eprintln!`, which panics if it cannot write. The text may come from an error of a user's
/// poller, whose `Display` may panic too.
#[cold]
pub(crate) fn print(report: &dyn fmt::Display) {
    match catch(|| format!("readily: {report}\n")) {
        // In one piece, so that the lines of two threads do not mix.
        Ok(line) => drop(stderr().write_all(line.as_bytes())),
        Err(payload) => drop_quietly(payload),
    }
}

/// Reports a panic whose loop is gone.
#[cold]
pub(crate) fn print_panic(payload: Payload, origin: Origin) {
    print(&panic(&payload, origin));
    drop_quietly(payload);
}

/// The message of a panic, if its payload is a string.
pub(crate) fn message(payload: &Payload) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(a payload that is not a string)".to_owned()
    }
}
