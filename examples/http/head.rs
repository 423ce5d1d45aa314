//! The head of a request, and its checks.

use httparse::{EMPTY_HEADER, Header, Status};

/// The largest number of headers.
const HEADERS: usize = 64;
/// The longest head, in bytes.
pub(crate) const HEAD: usize = 16 << 10;
/// The longest body, in bytes.
pub(crate) const LONGEST_BODY: usize = 1 << 20;
/// The ends of a head. The second one is for clients that send no carriage returns.
pub(crate) const ENDS: [&[u8]; 2] = [b"\n\r\n", b"\n\n"];

/// How a body is sent.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// The parts of a head that the server uses.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// HTTP/1.0, in which a connection is kept alive only if both sides send the header.
    pub(crate) is_old: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects: bool,
}

impl Request {
    /// Parses a whole head. An error is the status of the answer.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, u16> {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(431),
            Err(httparse::Error::Version) => return Err(505),
            _ => return Err(400),
        }
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(400);
        };
        let headers = &*parsed.headers;
        let is_old = version == 0;
        if !is_old && headers.iter().filter(|header| is(header, "host")).count() != 1 {
            return Err(400);
        }
        let has = |name, wanted: &str| {
            headers
                .iter()
                .filter(|header| is(header, name))
                .any(|header| {
                    let values = header.value.split(|&byte| byte == b',');
                    values
                        .map(<[u8]>::trim_ascii)
                        .any(|value| value.eq_ignore_ascii_case(wanted.as_bytes()))
                })
        };
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            framing: framing(headers, is_old)?,
            keep_alive: match is_old {
                true => has("connection", "keep-alive"),
                false => !has("connection", "close"),
            },
            is_old,
            expects: !is_old && has("expect", "100-continue"),
        })
    }
}

fn is(header: &Header<'_>, name: &str) -> bool {
    header.name.eq_ignore_ascii_case(name)
}

/// Returns how the body is sent (RFC 9112, section 6). An ambiguous request is refused, because a proxy in front of
/// this server might have read it in the other way.
fn framing(headers: &[Header<'_>], is_old: bool) -> Result<Framing, u16> {
    let mut lengths = headers.iter().filter(|header| is(header, "content-length"));
    let mut codings = headers
        .iter()
        .filter(|header| is(header, "transfer-encoding"));
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (None, Some(coding)) if codings.next().is_none() && !is_old => {
            match coding.value.eq_ignore_ascii_case(b"chunked") {
                true => Ok(Framing::Chunked),
                false => Err(501),
            }
        }
        (Some(length), None) if lengths.next().is_none() => {
            let digits = std::str::from_utf8(length.value).map_err(|_| 400_u16)?;
            match digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
                // A number that does not fit is too large in any case.
                true => Ok(Framing::Length(digits.parse().unwrap_or(usize::MAX))),
                false => Err(400),
            }
        }
        _ => Err(400),
    }
}
