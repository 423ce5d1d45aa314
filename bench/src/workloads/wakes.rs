//! Wakes that come from another thread.

use super::Row;

pub fn rows() -> Vec<Row> {
    vec![]
}
