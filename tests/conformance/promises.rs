//! The promises, by what they are about. They know nothing of the test harness, so that
//! they can be tried on pollers that are written elsewhere.

pub mod connections;
pub mod hangups;
pub mod kit;
pub mod registrations;
pub mod rings;
pub mod timeouts;
pub mod triggers;
