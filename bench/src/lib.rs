//! What the binaries here share: the report.

pub mod report;
