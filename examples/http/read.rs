//! Reads the head and the body of a request.

use crate::head::{ENDS, Framing, LONGEST_BODY, Request};
use readily::io::{BufReader, ReadError, TcpStream};
use std::io;

/// Why there is no request: it is wrong, with the status of the answer; or the stream has failed.
pub(crate) enum Wrong {
    Status(u16),
    Io(io::Error),
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLong { .. } => Self::Status(400),
            error => Self::Io(error.into()),
        }
    }
}

/// Reads the head of a request.
pub(crate) async fn head(reader: &mut BufReader<&TcpStream>) -> Result<Request, Wrong> {
    match reader.read_until_any(&ENDS).await {
        Ok(head) => Request::parse(head).map_err(Wrong::Status),
        Err(ReadError::TooLong { .. }) => Err(Wrong::Status(431)),
        Err(error) => Err(error.into()),
    }
}

/// Reads a body.
pub(crate) async fn body(
    reader: &mut BufReader<&TcpStream>,
    framing: Framing,
) -> Result<Vec<u8>, Wrong> {
    let mut body = Vec::new();
    let Framing::Chunked = framing else {
        let Framing::Length(length) = framing else {
            return Ok(body);
        };
        append(reader, length, &mut body).await?;
        return Ok(body);
    };
    loop {
        let line = reader.read_until(b"\r\n").await?;
        let size = match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((_, size))) => {
                usize::try_from(size).unwrap_or(usize::MAX)
            }
            _ => return Err(Wrong::Status(400)),
        };
        if size == 0 {
            break;
        }
        append(reader, size, &mut body).await?;
        if reader.read_exactly(2).await? != b"\r\n" {
            return Err(Wrong::Status(400));
        }
    }
    // Headers behind the body, which are not used.
    let mut trailers = 0;
    loop {
        let line = reader.read_until(b"\r\n").await?;
        trailers += line.len();
        match line.len() {
            2 => return Ok(body),
            _ if trailers > LONGEST_BODY => return Err(Wrong::Status(431)),
            _ => {}
        }
    }
}

/// Reads `length` more bytes.
async fn append(
    reader: &mut BufReader<&TcpStream>,
    mut length: usize,
    body: &mut Vec<u8>,
) -> Result<(), Wrong> {
    if length > LONGEST_BODY - body.len() {
        return Err(Wrong::Status(413));
    }
    while length > 0 {
        let bytes = reader.fill_buf().await.map_err(Wrong::Io)?;
        if bytes.is_empty() {
            return Err(Wrong::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let n = bytes.len().min(length);
        body.extend_from_slice(&bytes[..n]);
        reader.consume(n);
        length -= n;
    }
    Ok(())
}
