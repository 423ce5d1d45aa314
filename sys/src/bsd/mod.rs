//! The BSDs.
