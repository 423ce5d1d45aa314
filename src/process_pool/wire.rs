//! How a value crosses between the program and its workers: as bytes.
//!
//! Both sides are the same build of the same program (the handshake refuses any other), so the format
//! needs no names, no versions and no tags of types: a number is its bytes, lowest first, and a list is
//! its length and its elements. It is not a format for files or for other programs.
//!
//! In Python's process pool this is `pickle`. In the notes: what a process pool sends (N3, N6).

mod containers;

use std::fmt;

/// A value that can be sent to a worker, or back.
///
/// Implemented for numbers, `bool`, `char`, `String`, paths, `Duration`, and for `Vec`, `Option`, `Result`,
/// `Box`, maps, arrays and tuples of such values. For a type of one's own, encode its fields one after the
/// other, and decode them in the same order. (A type with serde's traits can be sent with any of serde's
/// binary formats: encode it to a `Vec<u8>`, and send that.)
///
/// A value must take at least one byte, so that a length in a damaged frame cannot ask for more elements
/// than there are bytes.
///
/// # Examples
///
/// ```
/// use readily::process_pool::{Wire, WireError};
///
/// struct Tile {
///     x: u32,
///     pixels: Vec<u8>,
/// }
///
/// impl Wire for Tile {
///     fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
///         self.x.encode(out)?;
///         self.pixels.encode(out)
///     }
///     fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
///         let (x, pixels) = Wire::decode(from)?;
///         Ok(Self { x, pixels })
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Tile { x: 7, pixels: vec![1, 2] }.encode(&mut bytes)?;
/// let tile = Tile::decode(&mut &bytes[..])?;
/// assert_eq!((tile.x, tile.pixels), (7, vec![1, 2]));
/// assert!(matches!(Tile::decode(&mut &bytes[..9]), Err(WireError::Truncated)));
/// # Ok::<(), WireError>(())
/// ```
#[doc(alias = "pickle")]
#[doc(alias = "serialize")]
pub trait Wire: Sized {
    /// Appends the value to `out`.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], or an error of the implementation's own ([`WireError::other`]). What was
    /// appended is discarded then.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError>;

    /// Takes a value from the front of `from`.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] and [`WireError::Invalid`] for bytes that are not a value of this type.
    fn decode(from: &mut &[u8]) -> Result<Self, WireError>;

    /// Appends the elements of a list. Bytes are copied at once.
    #[doc(hidden)]
    fn encode_all(values: &[Self], out: &mut Vec<u8>) -> Result<(), WireError> {
        values.iter().try_for_each(|value| value.encode(out))
    }

    /// Takes `len` elements, which is not more than there are bytes.
    #[doc(hidden)]
    fn decode_all(len: usize, from: &mut &[u8]) -> Result<Vec<Self>, WireError> {
        // Not all of `len` at once: an element may be much larger in memory than its bytes.
        let mut all = Vec::with_capacity(len.min(1024));
        for _ in 0..len {
            all.push(Self::decode(from)?);
        }
        Ok(all)
    }
}

/// Why a value could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end within the value.
    #[error("the bytes end within the value")]
    Truncated,
    /// Bytes are left after the value.
    #[error("{0} bytes are left after the value")]
    Left(usize),
    /// The bytes are no value of the type.
    #[error("the bytes are not a value of the type {0}")]
    Invalid(&'static str),
    /// A list of more than 2^32 − 1 elements.
    #[error("a list of {0} elements is too long")]
    TooLong(usize),
    /// The error of an implementation of [`Wire`].
    #[error("{0}")]
    Other(String),
}

impl WireError {
    /// The error of an implementation of [`Wire`], with its text.
    pub fn other(error: impl fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Decodes a value that is all of `bytes`.
pub(super) fn decode_whole<T: Wire>(mut bytes: &[u8]) -> Result<T, WireError> {
    let value = T::decode(&mut bytes)?;
    match bytes.len() {
        0 => Ok(value),
        left => Err(WireError::Left(left)),
    }
}

/// Takes `len` bytes from the front.
fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = from.split_at_checked(len).ok_or(WireError::Truncated)?;
    *from = rest;
    Ok(taken)
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (taken, rest) = from.split_first_chunk().ok_or(WireError::Truncated)?;
    *from = rest;
    Ok(*taken)
}

fn encode_len(len: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    let len = u32::try_from(len).map_err(|_| WireError::TooLong(len))?;
    len.encode(out)
}

/// A length, which is at most the number of bytes that are left.
fn decode_len(from: &mut &[u8]) -> Result<usize, WireError> {
    let len = u32::decode(from)? as usize;
    match len <= from.len() {
        true => Ok(len),
        false => Err(WireError::Truncated),
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
                out.extend_from_slice(&self.to_le_bytes());
                Ok(())
            }
            fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
                take_array(from).map(Self::from_le_bytes)
            }
        }
    )*};
}

numbers!(
    u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64
);

impl Wire for u8 {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.push(*self);
        Ok(())
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        take_array(from).map(|[byte]| byte)
    }

    fn encode_all(values: &[Self], out: &mut Vec<u8>) -> Result<(), WireError> {
        out.extend_from_slice(values);
        Ok(())
    }

    fn decode_all(len: usize, from: &mut &[u8]) -> Result<Vec<Self>, WireError> {
        take(from, len).map(<[u8]>::to_vec)
    }
}

impl Wire for bool {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        u8::from(*self).encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        match u8::decode(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Invalid("bool")),
        }
    }
}

impl Wire for char {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        u32::from(*self).encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        Self::from_u32(u32::decode(from)?).ok_or(WireError::Invalid("char"))
    }
}

/// One byte, as every value.
impl Wire for () {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        0u8.encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        match u8::decode(from)? {
            0 => Ok(()),
            _ => Err(WireError::Invalid("()")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashMap};
    use std::ffi::OsString;
    use std::fmt::Debug;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;
    use std::time::Duration;

    /// What is encoded is decoded; each prefix of it is refused, and so is one byte more.
    fn round_trip<T: Wire + PartialEq + Debug>(value: T) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        assert!(!bytes.is_empty(), "{value:?}");
        assert_eq!(decode_whole::<T>(&bytes).as_ref(), Ok(&value));
        for len in 0..bytes.len() {
            let cut = decode_whole::<T>(&bytes[..len]);
            assert_eq!(cut, Err(WireError::Truncated), "{value:?}, {len} bytes");
        }
        bytes.push(0);
        assert_eq!(decode_whole::<T>(&bytes), Err(WireError::Left(1)));
    }

    #[test]
    fn what_is_encoded_is_decoded_and_no_part_of_it() {
        round_trip((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX));
        round_trip((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, isize::MIN));
        round_trip((f32::MIN, f64::EPSILON, true, 'ß', ()));
        round_trip(String::from("Grüße"));
        round_trip((OsString::from_vec(vec![0xff, 0]), PathBuf::from("/a/b")));
        round_trip((vec![1u8, 2], vec![(), ()], Vec::<String>::new()));
        round_trip([Some(1u32), None]);
        round_trip([Ok::<u8, String>(1), Err("no".into())]);
        round_trip((
            Box::new(3i8),
            [0u8; 0],
            Duration::new(u64::MAX, 999_999_999),
        ));
        round_trip(BTreeMap::from([(1u8, "a".to_owned()), (2, "b".to_owned())]));
        round_trip(HashMap::<_, _>::from_iter([(1u8, 2u8)]));
        round_trip((1u8,));
    }

    #[test]
    fn a_damaged_length_asks_for_no_more_than_there_are_bytes() {
        let huge = [0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(decode_whole::<Vec<()>>(&huge), Err(WireError::Truncated));
        assert_eq!(decode_whole::<String>(&huge), Err(WireError::Truncated));
        let map = decode_whole::<HashMap<(), ()>>(&huge);
        assert_eq!(map, Err(WireError::Truncated));
    }

    #[test]
    fn bytes_that_are_no_value_are_refused_by_the_name_of_the_type() {
        assert_eq!(decode_whole::<bool>(&[2]), Err(WireError::Invalid("bool")));
        assert_eq!(decode_whole::<()>(&[1]), Err(WireError::Invalid("()")));
        let surrogate = 0xd800u32.to_le_bytes();
        assert_eq!(
            decode_whole::<char>(&surrogate),
            Err(WireError::Invalid("char"))
        );
        let text = decode_whole::<String>(&[1, 0, 0, 0, 0xff]);
        assert_eq!(text, Err(WireError::Invalid("String")));
        let mut nanos = Vec::new();
        (0u64, 1_000_000_000u32).encode(&mut nanos).unwrap();
        let late = decode_whole::<Duration>(&nanos);
        assert_eq!(late, Err(WireError::Invalid("Duration")));
    }
}
