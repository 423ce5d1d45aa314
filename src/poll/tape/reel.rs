//! The tape as it is played: bytes, and how far they have been read.
//!
//! A file may be anything, so each look checks whether there is more.
//!
//! Not in the notes.

use super::diverged::Diverged;

/// What stands at the beginning of a tape; the number is that of this format.
pub(super) const HEADER: &[u8] = b"readily tape 1\n";

/// The bytes of a tape, as far as they have been read.
pub(super) struct Reel {
    bytes: Vec<u8>,
    at: usize,
}

impl Reel {
    /// Behind the header, if there is one.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, Diverged> {
        match bytes.starts_with(HEADER) {
            true => Ok(Self {
                bytes,
                at: HEADER.len(),
            }),
            false => Err(Diverged::NotATape),
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn byte(&mut self) -> Result<u8, Diverged> {
        let byte = self.bytes.get(self.at).ok_or(Diverged::Ends)?;
        self.at += 1;
        Ok(*byte)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&[u8], Diverged> {
        let end = self.at.checked_add(len).ok_or(Diverged::Ends)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Diverged::Ends)?;
        self.at = end;
        Ok(bytes)
    }
}
