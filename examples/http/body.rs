//! The body of a request: so many bytes, or chunks.

use crate::request::Wrong;
use readily::io::{BufReader, TcpStream};
use std::io;

/// The longest body, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;

/// How a body is sent.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// Reads a body.
pub(crate) async fn read(
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
            _ if trailers > LONGEST => return Err(Wrong::Status(431)),
            _ => {}
        }
    }
}

/// Reads so many bytes more.
async fn append(
    reader: &mut BufReader<&TcpStream>,
    mut length: usize,
    body: &mut Vec<u8>,
) -> Result<(), Wrong> {
    if length > LONGEST - body.len() {
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
