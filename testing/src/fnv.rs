//! A short hash of bytes (FNV-1a, 32 bits) that is the same on each machine and in each build.
//!
//! The standard library's hashes may change; this one is specified. It detects accidental differences,
//! and is no defence against an attacker.

/// Returns the hash of `bytes`.
pub(crate) fn sum(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let add = |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    bytes.into_iter().fold(0x811c_9dc5, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_the_specification() {
        assert_eq!(sum([]), 0x811c_9dc5);
        assert_eq!(sum(*b"a"), 0xe40c_292c);
        assert_eq!(sum(*b"foobar"), 0xbf9c_f968);
    }
}
