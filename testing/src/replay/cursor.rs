//! A recording that is read: its bytes, and the position of the next one.
//!
//! The file may contain anything, so each read checks that enough bytes are left. The recorder writes
//! chunks, each after its length and its checksum: a recording with a changed byte is refused as a
//! whole, and not replayed up to that byte. Only a truncated last chunk cannot be checked.

use super::format::Encode;
use super::{ReplayError, checksum};

/// The first bytes of a recording; the number is the version of the format.
pub(super) const HEADER: &[u8] = b"readily tape 2\n";

/// The entries of a recording, and the position of the next one.
pub(super) struct Cursor {
    bytes: Vec<u8>,
    at: usize,
    is_truncated: bool,
}

/// Entries as a chunk: their length, their checksum, the entries.
pub(super) fn chunk(entries: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::new();
    if !entries.is_empty() {
        entries.len().put(&mut chunk);
        checksum(entries).put(&mut chunk);
        chunk.extend_from_slice(entries);
    }
    chunk
}

impl Cursor {
    /// The entries of a recording. All chunks but a truncated last one are checked.
    pub(super) fn new(recording: &[u8]) -> Result<Self, ReplayError> {
        let chunks = recording
            .strip_prefix(HEADER)
            .ok_or(ReplayError::NotARecording)?;
        let (mut chunks, mut entries) = (Self::of(chunks.to_vec()), Vec::new());
        let mut is_truncated = false;
        while !chunks.is_at_end() {
            let at = HEADER.len() + chunks.at();
            let (Ok(len), Ok(expected)) = (usize::get(&mut chunks), i64::get(&mut chunks)) else {
                is_truncated = true;
                break;
            };
            match chunks.bytes(len) {
                Ok(chunk) if checksum(chunk) == expected => entries.extend_from_slice(chunk),
                Ok(_) => return Err(ReplayError::Corrupt { at }),
                Err(_) => {
                    // Truncated: replayed up to its end.
                    entries.extend_from_slice(chunks.rest());
                    is_truncated = true;
                    break;
                }
            }
        }
        Ok(Self {
            is_truncated,
            ..Self::of(entries)
        })
    }

    /// A cursor at the first of these entries.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            at: 0,
            is_truncated: false,
        }
    }

    /// Whether the recording was truncated.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn byte(&mut self) -> Result<u8, ReplayError> {
        let byte = self.bytes.get(self.at).ok_or(ReplayError::Ends)?;
        self.at += 1;
        Ok(*byte)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&[u8], ReplayError> {
        let end = self.at.checked_add(len).ok_or(ReplayError::Ends)?;
        let bytes = self.bytes.get(self.at..end).ok_or(ReplayError::Ends)?;
        self.at = end;
        Ok(bytes)
    }
}
