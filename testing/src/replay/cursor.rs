//! The tape as it is played: bytes, and how far they have been read.
//!
//! A file may be anything, so each look checks whether there is more. The recorder writes in
//! pieces, each with its length and a sum before it: a tape of which one byte is another is refused
//! as a whole, and not played up to there. Only of a last piece that was cut off nobody can say.

use super::format::Encode;
use super::{ReplayError, sum};

/// What stands at the beginning of a tape; the number is that of this format.
pub(super) const HEADER: &[u8] = b"readily tape 2\n";

/// The bytes of a tape, as far as they have been read.
pub(super) struct Cursor {
    bytes: Vec<u8>,
    at: usize,
    is_cut: bool,
}

/// Entries as they are written: behind their length and their sum.
pub(super) fn piece(entries: &[u8]) -> Vec<u8> {
    let mut piece = Vec::new();
    if !entries.is_empty() {
        entries.len().put(&mut piece);
        sum(entries).put(&mut piece);
        piece.extend_from_slice(entries);
    }
    piece
}

impl Cursor {
    /// The entries of a tape, if it is one and whole up to its end.
    pub(super) fn new(recording: &[u8]) -> Result<Self, ReplayError> {
        let pieces = recording
            .strip_prefix(HEADER)
            .ok_or(ReplayError::NotARecording)?;
        let (mut pieces, mut entries) = (Self::of(pieces.to_vec()), Vec::new());
        let mut is_cut = false;
        while !pieces.is_at_end() {
            let at = HEADER.len() + pieces.at();
            let (Ok(len), Ok(before)) = (usize::get(&mut pieces), i64::get(&mut pieces)) else {
                is_cut = true;
                break;
            };
            match pieces.bytes(len) {
                Ok(piece) if sum(piece) == before => entries.extend_from_slice(piece),
                Ok(_) => return Err(ReplayError::Corrupt { at }),
                Err(_) => {
                    // It was cut off, and is played for as long as it lasts.
                    entries.extend_from_slice(pieces.rest());
                    is_cut = true;
                    break;
                }
            }
        }
        Ok(Self {
            is_cut,
            ..Self::of(entries)
        })
    }

    /// Entries, from the first one on.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            at: 0,
            is_cut: false,
        }
    }

    /// Whether there was more of it once.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
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
