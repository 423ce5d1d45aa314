//! A short hash of bytes (FNV-1a, 32 bits) that is the same on each machine and in each build.
//!
//! The standard library's hashes may change; this one is specified. It detects accidental differences, and is no defence against an attacker.

/// The sum of no bytes.
pub(crate) const EMPTY: u32 = 0x811c_9dc5;

/// The sum of `bytes` behind those of which `sum` is the sum.
pub(crate) fn add(mut sum: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_books() {
        assert_eq!(add(EMPTY, b""), 0x811c_9dc5);
        assert_eq!(add(EMPTY, b"a"), 0xe40c_292c);
        assert_eq!(add(add(EMPTY, b"foo"), b"bar"), 0xbf9c_f968);
    }
}
