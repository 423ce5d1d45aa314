//! The format of a recording: a sequence of entries of a few bytes each.
//!
//! An entry is one byte for the operation, numbers for its arguments, and its result. The byte of an
//! operation never changes; its name is used to report a difference. Numbers are written in groups of
//! seven bits, the lowest first, because nearly all of them are small; a reading of the clock is the
//! difference to the last one. Encoding and decoding are side by side here, and a test checks that
//! they agree.

use super::ReplayError;
use super::cursor::Cursor;
use readily::Readiness;
use readily::poll::Event;
use readily_sys::socket::Kind;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A value that can be written to a recording and read from it.
pub(super) trait Encode: Sized {
    fn put(&self, recording: &mut Vec<u8>);
    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError>;
}

impl Encode for u64 {
    fn put(&self, recording: &mut Vec<u8>) {
        let mut left = *self;
        while left >= 0x80 {
            recording.push(left as u8 | 0x80);
            left >>= 7;
        }
        recording.push(left as u8);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = cursor.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ReplayError::Corrupt { at: cursor.at() })
    }
}

/// Zigzag: small numbers of either sign in few bytes, in the order 0, -1, 1, -2, …
impl Encode for i64 {
    fn put(&self, recording: &mut Vec<u8>) {
        ((self.wrapping_shl(1) ^ (self >> 63)) as u64).put(recording);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let bits = u64::get(cursor)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }
}

impl Encode for i32 {
    fn put(&self, recording: &mut Vec<u8>) {
        i64::from(*self).put(recording);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let at = cursor.at();
        i32::try_from(i64::get(cursor)?).map_err(|_| ReplayError::Corrupt { at })
    }
}

impl Encode for usize {
    fn put(&self, recording: &mut Vec<u8>) {
        (*self as u64).put(recording);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let at = cursor.at();
        usize::try_from(u64::get(cursor)?).map_err(|_| ReplayError::Corrupt { at })
    }
}

impl Encode for bool {
    fn put(&self, recording: &mut Vec<u8>) {
        recording.push(u8::from(*self));
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        Ok(cursor.byte()? != 0)
    }
}

impl Encode for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn get(_: &mut Cursor) -> Result<Self, ReplayError> {
        Ok(())
    }
}

impl<T: Encode> Encode for Option<T> {
    fn put(&self, recording: &mut Vec<u8>) {
        self.is_some().put(recording);
        if let Some(value) = self {
            value.put(recording);
        }
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        match bool::get(cursor)? {
            true => T::get(cursor).map(Some),
            false => Ok(None),
        }
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn put(&self, recording: &mut Vec<u8>) {
        self.0.put(recording);
        self.1.put(recording);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        Ok((A::get(cursor)?, B::get(cursor)?))
    }
}

impl Encode for Vec<u8> {
    fn put(&self, recording: &mut Vec<u8>) {
        self.len().put(recording);
        recording.extend_from_slice(self);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let len = usize::get(cursor)?;
        Ok(cursor.bytes(len)?.to_vec())
    }
}

impl Encode for Readiness {
    fn put(&self, recording: &mut Vec<u8>) {
        recording.push(self.bits());
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        cursor.byte().map(Self::from_bits)
    }
}

impl Encode for Event {
    fn put(&self, recording: &mut Vec<u8>) {
        self.token().put(recording);
        self.ready().put(recording);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let token = u64::get(cursor)?;
        let ready = Readiness::get(cursor)?;
        Ok(Self::new(token, ready))
    }
}

impl Encode for Vec<Event> {
    fn put(&self, recording: &mut Vec<u8>) {
        self.len().put(recording);
        self.iter().for_each(|event| event.put(recording));
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        // Not `with_capacity`: the length in a corrupt recording may be any number.
        let len = usize::get(cursor)?;
        (0..len).map(|_| Event::get(cursor)).collect()
    }
}

/// An error of the system as its number, another one as its text.
impl Encode for io::Error {
    fn put(&self, recording: &mut Vec<u8>) {
        let code = self.raw_os_error();
        code.put(recording);
        if code.is_none() {
            self.to_string().into_bytes().put(recording);
        }
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        if let Some(code) = Option::<i32>::get(cursor)? {
            return Ok(io::Error::from_raw_os_error(code));
        }
        let text = Vec::<u8>::get(cursor)?;
        Ok(io::Error::other(
            String::from_utf8_lossy(&text).into_owned(),
        ))
    }
}

impl<T: Encode> Encode for io::Result<T> {
    fn put(&self, recording: &mut Vec<u8>) {
        self.is_ok().put(recording);
        match self {
            Ok(value) => value.put(recording),
            Err(error) => error.put(recording),
        }
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        match bool::get(cursor)? {
            true => T::get(cursor).map(Ok),
            false => io::Error::get(cursor).map(Err),
        }
    }
}

impl Encode for SocketAddr {
    fn put(&self, recording: &mut Vec<u8>) {
        match self.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec().put(recording),
            IpAddr::V6(ip) => ip.octets().to_vec().put(recording),
        }
        u64::from(self.port()).put(recording);
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        let at = cursor.at();
        let octets = Vec::<u8>::get(cursor)?;
        let port = u64::get(cursor)?;
        let four = <[u8; 4]>::try_from(&octets[..]).map(IpAddr::from);
        let ip = four.or_else(|_| <[u8; 16]>::try_from(&octets[..]).map(IpAddr::from));
        match (ip, u16::try_from(port)) {
            (Ok(ip), Ok(port)) => Ok(SocketAddr::new(ip, port)),
            _ => Err(ReplayError::Corrupt { at }),
        }
    }
}

impl Encode for Kind {
    fn put(&self, recording: &mut Vec<u8>) {
        recording.push(match self {
            Kind::Stream => 0,
            Kind::Listener => 1,
            Kind::Datagram => 2,
            Kind::Other => 3,
        });
    }

    fn get(cursor: &mut Cursor) -> Result<Self, ReplayError> {
        Ok(match cursor.byte()? {
            0 => Kind::Stream,
            1 => Kind::Listener,
            2 => Kind::Datagram,
            _ => Kind::Other,
        })
    }
}

macro_rules! ops {
    ($($op:ident = $byte:literal, $name:literal;)+) => {
        /// The operation of an entry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Op { $($op),+ }

        impl Op {
            pub(super) fn byte(self) -> u8 {
                match self { $(Self::$op => $byte),+ }
            }

            pub(super) fn of(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$op),)+ _ => None }
            }

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$op => $name),+ }
            }
        }
    };
}

ops! {
    Register = b'r', "register";
    Modify = b'm', "modify";
    Rearm = b'a', "rearm";
    Remove = b'x', "remove";
    Wait = b'w', "wait";
    Clock = b'c', "a reading of the clock";
    SystemClock = b'y', "a reading of the system clock";
    ReplayedOr = b'd', "a fact about other threads";
    TraceCall = b'n', "a call of a callback or task";
    Listen = b'L', "listen";
    Connect = b'C', "connect";
    Import = b'A', "the import of a descriptor";
    Kind = b'k', "a query of the kind of a descriptor";
    Nonblocking = b'b', "set_nonblocking";
    Read = b'R', "read";
    Write = b'W', "write";
    Send = b'S', "send";
    Accept = b'P', "accept";
    Shutdown = b's', "shutdown";
    TakeError = b'e', "take_error";
    IsConnected = b'i', "is_connected";
    Readiness = b'f', "a query of the readiness";
    IsUnconnected = b'q', "is_unconnected";
    BytesAvailable = b'u', "a query of the unread bytes";
    Peek = b'p', "peek";
    ReadPeek = b'E', "a read that leaves the bytes";
    Facts = b'F', "a query of the facts";
    IsPipe = b'h', "is_pipe";
    LocalAddr = b'l', "local_addr";
    PeerAddr = b'o', "peer_addr";
    Nodelay = b't', "set_nodelay";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    #[track_caller]
    fn round_trip<T: Encode + Debug>(values: impl IntoIterator<Item = T>) {
        for value in values {
            let mut recording = Vec::new();
            value.put(&mut recording);
            let mut cursor = Cursor::of(recording);
            let decoded = T::get(&mut cursor).unwrap();
            assert_eq!(format!("{decoded:?}"), format!("{value:?}"));
            assert!(cursor.is_at_end());
        }
    }

    #[test]
    fn a_value_is_decoded_as_it_was_encoded() {
        round_trip([0, 1, 127, 128, 1 << 35, u64::MAX]);
        round_trip([0, -1, 1, -64, 64, i64::MIN, i64::MAX]);
        round_trip([i32::MIN, -1, 0, i32::MAX]);
        round_trip([true, false]);
        round_trip([None, Some(7u64)]);
        round_trip([Vec::new(), b"hello".to_vec()]);
        round_trip([Kind::Stream, Kind::Listener, Kind::Datagram, Kind::Other]);
        round_trip(["127.0.0.1:80", "[::1]:65535"].map(|addr| addr.parse::<SocketAddr>().unwrap()));
        let ready = Readiness::READ | Readiness::PRIORITY;
        round_trip([vec![Event::new(1 << 40, ready); 3]]);
        round_trip([
            Ok((3usize, ())),
            Err(io::Error::from_raw_os_error(11)),
            Err(io::Error::other("without a number")),
        ]);
    }

    #[test]
    fn small_numbers_are_one_byte() {
        let mut recording = Vec::new();
        (0..128u64).for_each(|n| n.put(&mut recording));
        (-64..64i64).for_each(|n| n.put(&mut recording));
        assert_eq!(recording.len(), 256);
    }

    #[test]
    fn a_truncated_or_corrupt_recording_is_reported() {
        assert!(matches!(
            Cursor::new(b"a file"),
            Err(ReplayError::NotARecording)
        ));
        let cursor = |bytes: &[u8]| Cursor::of(bytes.to_vec());
        assert_eq!(u64::get(&mut cursor(&[0x80])), Err(ReplayError::Ends));
        assert!(matches!(
            u64::get(&mut cursor(&[0xff; 10])),
            Err(ReplayError::Corrupt { .. })
        ));
        assert_eq!(Vec::<u8>::get(&mut cursor(&[9, 1])), Err(ReplayError::Ends));
        // A length that is larger than the memory is an error, and nothing is allocated for it.
        let mut long = Vec::new();
        u64::MAX.put(&mut long);
        assert_eq!(Vec::<u8>::get(&mut cursor(&long)), Err(ReplayError::Ends));
    }

    #[test]
    fn each_operation_has_a_byte_of_its_own() {
        let all: Vec<Op> = (0..=u8::MAX).filter_map(Op::of).collect();
        assert_eq!(all.len(), 31);
        assert!(all.iter().all(|op| Op::of(op.byte()) == Some(*op)));
    }
}
