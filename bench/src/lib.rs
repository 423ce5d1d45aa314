//! The code that the two programs share: the report.

pub mod report;
