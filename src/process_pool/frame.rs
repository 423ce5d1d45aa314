//! The frames that cross between the program and a worker, and the buffer that collects them.
//!
//! A frame is its length (four bytes, lowest first, of all that follows), its kind (one byte), and its
//! body. A length beyond the pool's bound is refused when it is read, before a byte of the body is stored
//! (B14). After that nothing in the stream can be trusted: the worker is replaced.
//!
//! The program sends `Setup` first, then one `Call` at a time. A worker sends `Ready` first, then one
//! frame for each call.

use super::wire::{Wire, WireError};

/// The version of this protocol, and of the encoding of the values.
pub(super) const VERSION: u32 = 1;

/// The length of a frame's length.
const HEADER: usize = size_of::<u32>();

/// The length of the largest frame that is not a call or a result.
const CONTROL: usize = 64 * 1024;

/// Which program a process runs: what identifies its file, and the sum of its table of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) version: u32,
    pub(super) jobs: u32,
    /// Device, inode, length, and time of change, of the executable's file.
    pub(super) file: [u64; 4],
}

impl Wire for Build {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        (self.version, self.jobs, self.file).encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        let (version, jobs, file) = Wire::decode(from)?;
        Ok(Self {
            version,
            jobs,
            file,
        })
    }
}

/// What a worker needs to know before its first job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// The largest body of a frame, in bytes.
    pub(super) limit: u64,
    /// The address space that the worker may use, in bytes.
    pub(super) memory: Option<u64>,
}

impl Wire for Setup {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        (self.limit, self.memory).encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        let (limit, memory) = Wire::decode(from)?;
        Ok(Self { limit, memory })
    }
}

/// Why a program that was started as a worker cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: String,
    /// The error of a system that has no thread or no memory left: later it may.
    pub(super) code: Option<i32>,
}

impl Wire for Refusal {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.text.encode(out)?;
        self.code.encode(out)
    }

    fn decode(from: &mut &[u8]) -> Result<Self, WireError> {
        let (text, code) = Wire::decode(from)?;
        Ok(Self { text, code })
    }
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To the worker: a [`Setup`].
    Setup = 1,
    /// To the worker: the number of a call and of its job, and the argument.
    Call = 2,
    /// From the worker: its [`Build`].
    Ready = 3,
    /// From the worker: the number of the call, and the result.
    Done = 4,
    /// From the worker: the number of the call, and the text of the panic.
    Panicked = 5,
    /// From the worker: the number of the call, and the reason why its argument or result did not cross.
    NotSent = 6,
    /// From the worker: the reason why it cannot work.
    Refused = 7,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::*;
        let all = [Setup, Call, Ready, Done, Panicked, NotSent, Refused];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why a stream of frames cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes")]
    TooLong(usize),
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    #[error("a frame without a kind")]
    Empty,
}

/// Appends a frame to `out`: `write` appends its body.
///
/// # Errors
///
/// An error of `write`, or the length of a body beyond `limit`. `out` is as it was then.
pub(super) fn write_frame<E>(
    out: &mut Vec<u8>,
    kind: Kind,
    limit: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), WriteError<E>> {
    let start = out.len();
    let body = start + HEADER + 1;
    out.extend_from_slice(&[0; HEADER]);
    out.push(kind as u8);
    let written = write(out).map_err(WriteError::Body).and_then(|()| {
        let len = out.len() - body;
        let bound = limit.max(CONTROL).min(u32::MAX as usize - 1);
        match len <= bound {
            true => Ok(len as u32 + 1),
            false => Err(WriteError::TooLong(len)),
        }
    });
    match written {
        Ok(len) => {
            out[start..start + HEADER].copy_from_slice(&len.to_le_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Why a frame was not written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WriteError<E> {
    Body(E),
    TooLong(usize),
}

/// Received bytes, until they are whole frames.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    /// The number of bytes, from the front, of frames that were taken.
    taken: usize,
}

impl FrameBuffer {
    /// Whether all received bytes were taken, as whole frames.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Adds received bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame: its kind and its body; `None` if that has not been received.
    ///
    /// # Errors
    ///
    /// For a frame that cannot be one; then no later byte can be trusted.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<(Kind, &[u8])>, FrameError> {
        let rest = &self.bytes[self.taken..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*header) as usize;
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if len - 1 > limit.max(CONTROL) {
            return Err(FrameError::TooLong(len - 1));
        }
        if let Some(&byte) = rest.first() {
            Kind::of(byte).ok_or(FrameError::Kind(byte))?;
        }
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.taken + HEADER;
        self.taken = start + len;
        let byte = self.bytes[start];
        let kind = Kind::of(byte).ok_or(FrameError::Kind(byte))?;
        Ok(Some((kind, &self.bytes[start + 1..self.taken])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = CONTROL + 100;

    fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(body);
            Ok::<(), ()>(())
        };
        write_frame(&mut out, kind, LIMIT, write).unwrap();
        out
    }

    #[test]
    fn frames_arrive_whole_and_in_order_in_whatever_pieces_their_bytes_come() {
        let sent = [
            (Kind::Setup, vec![]),
            (Kind::Call, vec![1, 2, 3]),
            (Kind::Done, vec![7; 300]),
            (Kind::Refused, b"no".to_vec()),
        ];
        let bytes: Vec<u8> = sent
            .iter()
            .flat_map(|(kind, body)| frame(*kind, body))
            .collect();
        for piece in 1..=bytes.len() {
            let (mut buffer, mut received) = (FrameBuffer::default(), Vec::new());
            for piece in bytes.chunks(piece) {
                buffer.extend(piece);
                while let Some((kind, body)) = buffer.next(LIMIT).unwrap() {
                    received.push((kind, body.to_vec()));
                }
            }
            assert_eq!(received, sent, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_on_both_sides_and_before_its_body_comes() {
        let fill = |len: usize| {
            move |out: &mut Vec<u8>| {
                out.resize(out.len() + len, 0);
                Ok::<(), ()>(())
            }
        };
        let mut out = vec![5];
        let refused = write_frame(&mut out, Kind::Call, LIMIT, fill(LIMIT + 1));
        assert_eq!(refused, Err(WriteError::TooLong(LIMIT + 1)));
        assert_eq!(out, [5]);
        assert_eq!(
            write_frame(&mut out, Kind::Call, LIMIT, fill(LIMIT)),
            Ok(())
        );
        let mut buffer = FrameBuffer::default();
        buffer.extend(&out[1..]);
        assert_eq!(buffer.next(LIMIT).unwrap().unwrap().1.len(), LIMIT);
        for len in [LIMIT as u32 + 2, u32::MAX, 1 << 31] {
            let mut buffer = FrameBuffer::default();
            buffer.extend(&len.to_le_bytes());
            assert_eq!(
                buffer.next(LIMIT),
                Err(FrameError::TooLong(len as usize - 1))
            );
        }
    }

    #[test]
    fn a_body_that_fails_leaves_nothing_behind() {
        let mut out = vec![1, 2];
        let failed = write_frame(&mut out, Kind::Call, LIMIT, |out| {
            out.push(3);
            Err("no")
        });
        assert_eq!(failed, Err(WriteError::Body("no")));
        assert_eq!(out, [1, 2]);
    }

    #[test]
    fn garbage_is_refused_as_soon_as_its_kind_is_there() {
        let mut buffer = FrameBuffer::default();
        buffer.extend(&[9, 0, 0, 0, 99]);
        assert_eq!(buffer.next(LIMIT), Err(FrameError::Kind(99)));
        let mut buffer = FrameBuffer::default();
        buffer.extend(&[0; 4]);
        assert_eq!(buffer.next(LIMIT), Err(FrameError::Empty));
    }
}
