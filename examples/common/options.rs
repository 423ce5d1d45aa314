//! The options of the example servers.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

/// The options of every server.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) addr: SocketAddr,
    /// The most connections at the same time.
    pub(crate) connections: usize,
    /// How long a client may take for the next request, or to read an answer.
    pub(crate) idle: Duration,
    /// How long a shutdown may take.
    pub(crate) limit: Duration,
}

/// What each server accepts, for its usage.
pub(crate) const USAGE: &str = "[--addr 127.0.0.1:0] [--connections 10000] [--idle milliseconds, default 60000] \
                                [--limit milliseconds, default 5000]";

impl Options {
    /// Parses the arguments of the process. `None` if they ask for help, which is printed. An option that
    /// only this server has goes to `other`, which returns whether there is one with this name.
    pub(crate) fn parse(
        usage: &str,
        mut other: impl FnMut(&str, &str) -> Result<bool, String>,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let mut options = Self {
            addr: ([127, 0, 0, 1], 0).into(),
            connections: 10_000,
            idle: Duration::from_secs(60),
            limit: Duration::from_secs(5),
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            if name == "--help" || name == "-h" {
                println!("usage: {usage}");
                return Ok(None);
            }
            let usage = format!("usage: {usage}");
            let value = args.next().ok_or(usage.clone())?;
            let wrong = |error: String| format!("{name} {value}: {error}; {usage}");
            let number = || value.parse().map_err(|error| wrong(format!("{error}")));
            match name.as_str() {
                "--addr" => {
                    options.addr = value.parse().map_err(|error| wrong(format!("{error}")))?;
                }
                "--connections" => {
                    options.connections = usize::try_from(number()?).unwrap_or(usize::MAX);
                }
                "--idle" => options.idle = Duration::from_millis(number()?),
                "--limit" => options.limit = Duration::from_millis(number()?),
                _ if other(&name, &value).map_err(wrong)? => {}
                _ => return Err(usage.into()),
            }
        }
        Ok(Some(options))
    }
}
