//! The protocol of Redis, RESP2: commands in, answers out.

use readily::io::{BufReader, ReadError, TcpStream};

/// The longest argument, and the longest line, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;
/// The most arguments of a command, and bytes of all of them.
const ARGUMENTS: usize = 1024;
const TOGETHER: usize = 8 << 20;

/// A command: its name and its arguments.
pub(crate) type Command = Vec<Vec<u8>>;

/// Why there is no command. The connection ends.
pub(crate) enum Wrong {
    Protocol(&'static str),
    Read(ReadError),
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Reads a command: an array of strings, or the words of a line. It may have no words.
pub(crate) async fn command(reader: &mut BufReader<&TcpStream>) -> Result<Command, Wrong> {
    let line = reader.read_until(b"\n").await?.trim_ascii();
    let Some(count) = line.strip_prefix(b"*") else {
        let words = line.split(u8::is_ascii_whitespace);
        let words: Command = words
            .filter(|word| !word.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        return match words.len() <= ARGUMENTS {
            true => Ok(words),
            false => Err(Wrong::Protocol("too many words")),
        };
    };
    let count = number(count).filter(|&count| count <= ARGUMENTS);
    let count = count.ok_or(Wrong::Protocol("invalid multibulk length"))?;
    let (mut command, mut together) = (Vec::new(), 0);
    for _ in 0..count {
        let line = reader.read_until(b"\n").await?.trim_ascii();
        let len = line.strip_prefix(b"$").and_then(number);
        let len = len.filter(|&len| len <= LONGEST && together + len <= TOGETHER);
        let len = len.ok_or(Wrong::Protocol("invalid bulk length"))?;
        let bulk = reader.read_exactly(len + 2).await?.strip_suffix(b"\r\n");
        command.push(
            bulk.ok_or(Wrong::Protocol("a bulk string has no end"))?
                .to_vec(),
        );
        together += len;
    }
    Ok(command)
}

/// A decimal number without a sign.
fn number(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// An answer.
pub(crate) enum Answer {
    Simple(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Answer>),
}

impl Answer {
    pub(crate) fn error(text: &str) -> Self {
        Self::Error(format!("ERR {text}"))
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let mut line = |text: String| to.extend_from_slice(text.as_bytes());
        match self {
            Self::Simple(text) => line(format!("+{text}\r\n")),
            Self::Error(text) => line(format!("-{text}\r\n")),
            Self::Integer(n) => line(format!(":{n}\r\n")),
            Self::Nil => line("$-1\r\n".to_owned()),
            Self::Bulk(bytes) => {
                line(format!("${}\r\n", bytes.len()));
                to.extend_from_slice(bytes);
                to.extend_from_slice(b"\r\n");
            }
            Self::Array(all) => {
                line(format!("*{}\r\n", all.len()));
                all.iter().for_each(|answer| answer.write(to));
            }
        }
    }
}
