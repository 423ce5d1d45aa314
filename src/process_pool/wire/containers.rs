//! Values that contain others: strings, lists, maps, tuples.

use super::{Wire, WireError, decode_len, encode_len};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::hash::{BuildHasher, Hash};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

impl Wire for Duration {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        (self.as_secs(), self.subsec_nanos()).encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        match Wire::decode(from)? {
            (seconds, nanos @ 0..=999_999_999) => Ok(Self::new(seconds, nanos)),
            _ => Err(WireError::Invalid("Duration")),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        encode_len(self.len(), out)?;
        T::encode_all(self, out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        let len = decode_len(from)?;
        T::decode_all(len, from)
    }
}

impl Wire for String {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        encode_len(self.len(), out)?;
        u8::encode_all(self.as_bytes(), out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        Self::from_utf8(Wire::decode(from)?).map_err(|_| WireError::Invalid("String"))
    }
}

impl Wire for OsString {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        encode_len(self.len(), out)?;
        u8::encode_all(self.as_bytes(), out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        Wire::decode(from).map(Self::from_vec)
    }
}

impl Wire for PathBuf {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let bytes = self.as_os_str().as_bytes();
        encode_len(bytes.len(), out)?;
        u8::encode_all(bytes, out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        OsString::decode(from).map(Self::from)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.is_some().encode(out)?;
        self.iter().try_for_each(|value| value.encode(out))
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        bool::decode(from)?.then(|| T::decode(from)).transpose()
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.is_ok().encode(out)?;
        match self {
            Ok(value) => value.encode(out),
            Err(error) => error.encode(out),
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        match bool::decode(from)? {
            true => T::decode(from).map(Ok),
            false => E::decode(from).map(Err),
        }
    }
}

impl<T: Wire> Wire for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        (**self).encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        T::decode(from).map(Self::new)
    }
}

/// At least one byte, also of an empty array.
impl<T: Wire, const N: usize> Wire for [T; N] {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match N {
            0 => ().encode(out),
            _ => T::encode_all(self, out),
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        match N {
            0 => <()>::decode(from)?,
            _ if N > from.len() => return Err(WireError::Truncated),
            _ => {}
        }
        let all = T::decode_all(N, from)?;
        Ok(Self::try_from(all).unwrap_or_else(|_| unreachable!("`decode_all` returns N elements")))
    }
}

macro_rules! maps {
    ($([$($map:tt)+] [$($key:tt)+] [$($hasher:tt)*])*) => {$(
        impl<K: Wire + $($key)+, V: Wire, $($hasher)*> Wire for $($map)+ {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
                encode_len(self.len(), out)?;
                self.iter().try_for_each(|(key, value)| {
                    key.encode(out)?;
                    value.encode(out)
                })
            }
            fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
                (0..decode_len(from)?).map(|_| Wire::decode(from)).collect()
            }
        }
    )*};
}

maps! {
    [BTreeMap<K, V>] [Ord] []
    [HashMap<K, V, S>] [Eq + Hash] [S: BuildHasher + Default]
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        #[allow(non_snake_case)] // the fields have the names of their types
        impl<$($name: Wire),+> Wire for ($($name,)+) {
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
                let ($($name,)+) = self;
                $($name.encode(out)?;)+
                Ok(())
            }
            fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
                Ok(($($name::decode(from)?,)+))
            }
        }
    )*};
}

tuples!((A)(A B)(A B C)(A B C D)(A B C D E)(A B C D E F)(A B C D E F G)(A B C D E F G H));
