//! The answer to a request, and its head.

use crate::head::Request;

/// The longest answer, in bytes.
const LONGEST: usize = 1 << 30;
/// The bytes of a generated answer.
pub(crate) const BYTES: [u8; 16 << 10] = [b'x'; 16 << 10];

/// The header `Connection` of an answer.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Connection {
    /// No header: in HTTP/1.1 the connection then goes on.
    Default,
    KeepAlive,
    Close,
}

impl Connection {
    /// Selects the header for the answer to this request.
    pub(crate) fn after(request: &Request, is_last: bool) -> Self {
        match request.keep_alive && !is_last {
            false => Self::Close,
            true if request.is_old => Self::KeepAlive,
            true => Self::Default,
        }
    }
}

/// An answer: its status, a body, and a number of bytes of [`BYTES`] after it.
pub(crate) struct Answer<'a> {
    status: u16,
    length: usize,
    pub(crate) body: &'a [u8],
    pub(crate) generated: usize,
}

impl<'a> Answer<'a> {
    /// The answer to a request with this body.
    pub(crate) fn to(request: &Request, body: &'a [u8]) -> Self {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let wanted = query.split('&').find_map(|one| one.strip_prefix("n="));
        let (is_get, is_head) = (request.method == "GET", request.method == "HEAD");
        let mut answer = match (path, wanted) {
            ("/", _) if request.method == "POST" => Self {
                length: body.len(),
                body,
                ..Self::status(200)
            },
            ("/", None) if is_get || is_head => Self::status(200),
            ("/", Some(wanted)) if is_get || is_head => match wanted.parse() {
                Ok(length) if length <= LONGEST => Self {
                    length,
                    generated: length,
                    ..Self::status(200)
                },
                _ => Self::status(400),
            },
            ("/", _) => Self::status(405),
            _ => Self::status(404),
        };
        if is_head {
            answer.generated = 0;
        }
        answer
    }

    /// An answer without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            length: 0,
            body: &[],
            generated: 0,
        }
    }

    pub(crate) fn head(&self, connection: Connection) -> Vec<u8> {
        let (status, length) = (self.status, self.length);
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            505 => "HTTP Version Not Supported",
            _ => "",
        };
        let allow = match status {
            405 => "Allow: GET, HEAD, POST\r\n",
            _ => "",
        };
        let connection = match connection {
            Connection::Default => "",
            Connection::KeepAlive => "Connection: keep-alive\r\n",
            Connection::Close => "Connection: close\r\n",
        };
        format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {length}\r\n{allow}{connection}\r\n")
            .into_bytes()
    }
}
