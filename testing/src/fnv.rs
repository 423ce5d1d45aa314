//! A short sum of bytes: the same on each machine and in each build, and nothing more than that.
//!
//! The standard library's hashes are its own, and may change; this one is written down (FNV-1a, of
//! 32 bits). It tells apart what differs by chance, and is no defence against anybody.

/// The sum of `bytes`.
pub(crate) fn sum(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let add = |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    bytes.into_iter().fold(0x811c_9dc5, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_books() {
        assert_eq!(sum([]), 0x811c_9dc5);
        assert_eq!(sum(*b"a"), 0xe40c_292c);
        assert_eq!(sum(*b"foobar"), 0xbf9c_f968);
    }
}
