//! Decodes the body of a request that is sent in chunks, as its bytes arrive.

use crate::head::LONGEST_BODY;

/// The longest line between two chunks, in bytes.
const LINE: usize = 16 << 10;

/// The part of a body that has arrived.
#[derive(Default)]
pub(crate) struct Chunks {
    body: Vec<u8>,
    /// The length of the trailers so far; `None` before the last chunk.
    trailers: Option<usize>,
}

impl Chunks {
    /// Takes whole lines and chunks from the input. Returns the body if its end has arrived. An error is the status of
    /// the answer.
    pub(crate) fn take_from(&mut self, input: &mut Vec<u8>) -> Result<Option<Vec<u8>>, u16> {
        let mut taken = 0;
        let ended = loop {
            let rest = &input[taken..];
            let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
                if rest.len() > LINE {
                    return Err(400);
                }
                break false;
            };
            let line = &rest[..end + 2];
            if let Some(trailers) = &mut self.trailers {
                taken += line.len();
                *trailers += line.len();
                match line.len() {
                    2 => break true,
                    _ if *trailers > LONGEST_BODY => return Err(431),
                    _ => continue,
                }
            }
            let size = match httparse::parse_chunk_size(line) {
                Ok(httparse::Status::Complete((_, size))) => {
                    usize::try_from(size).unwrap_or(usize::MAX)
                }
                _ => return Err(400),
            };
            if size == 0 {
                taken += line.len();
                self.trailers = Some(0);
                continue;
            }
            if size > LONGEST_BODY - self.body.len() {
                return Err(413);
            }
            let Some(chunk) = rest[line.len()..].get(..size + 2) else {
                break false;
            };
            let Some(bytes) = chunk.strip_suffix(b"\r\n") else {
                return Err(400);
            };
            self.body.extend_from_slice(bytes);
            taken += line.len() + chunk.len();
        };
        input.drain(..taken);
        Ok(ended.then(|| std::mem::take(&mut self.body)))
    }
}
