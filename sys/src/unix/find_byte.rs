//! The search for a byte: `memchr(3)`, which the C library has for each processor.
//!
//! Nothing in the notes; it is what makes a line cheap.

/// Where `byte` is in `bytes`.
#[must_use]
pub fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    // SAFETY: it reads no more than the bytes, which are borrowed for the call.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use super::find_byte;

    #[test]
    fn a_byte_is_found_where_it_is_first_and_nowhere_else() {
        let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
        for byte in 0..=255 {
            assert_eq!(find_byte(&bytes, byte), Some(byte.into()));
            assert_eq!(find_byte(&bytes[..byte.into()], byte), None);
        }
        assert_eq!(find_byte(&[], 0), None);
    }
}
