//! The code that the two programs share: the report, and the builds that it is about.

pub mod build;
pub mod report;
