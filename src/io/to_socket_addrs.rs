//! What can be connected to or looked up: addresses, or the name of a host with a port.
//!
//! A literal is recognised here, so that it never costs a thread.
//!
//! In asyncio: the arguments `host` and `port`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// One address, several addresses, or the name of a host with a port. A text is `"host:port"`, with an IPv6 address in
/// brackets: `"localhost:80"`, `"[::1]:80"`.
///
/// Implemented for the types that implement [`std::net::ToSocketAddrs`], and for `([u8; 4], u16)`. The look-up of the
/// standard library's trait blocks; this trait is for [`lookup_host`](super::lookup_host), which does not.
pub trait ToSocketAddrs: sealed::Sealed {}

pub(super) mod sealed {
    use super::{Target, io};

    pub trait Sealed {
        #[doc(hidden)]
        #[allow(private_interfaces)] // it cannot be named outside
        fn target(self) -> io::Result<Target>;
    }
}

/// What is left to be done before an attempt to connect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Addr(SocketAddr),
    Addrs(Vec<SocketAddr>),
    Name(String, u16),
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// An address in brackets is one of IPv6; one without them is a literal of either family, or a name.
fn host(host: &str, port: u16) -> io::Result<Target> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Target::Addr(SocketAddr::new(ip, port)));
    }
    if host.is_empty() {
        return Err(invalid("the name of the host is empty"));
    }
    Ok(Target::Name(host.to_owned(), port))
}

fn host_and_port(text: &str) -> io::Result<Target> {
    if let Ok(addr) = text.parse() {
        return Ok(Target::Addr(addr));
    }
    let (name, port) = text
        .rsplit_once(':')
        .ok_or_else(|| invalid("a port is missing: host:port"))?;
    let port = port
        .parse()
        .map_err(|_| invalid("the port is not a number below 65536"))?;
    let name = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        // With the name of an interface, for example, which the system knows: [fe80::1%eth0]:80.
        Some(inner) if inner.contains(':') => inner,
        _ if name.contains([':', '[', ']']) => {
            return Err(invalid(
                "brackets are for an address of IPv6, and it needs them",
            ));
        }
        _ => name,
    };
    host(name, port)
}

macro_rules! to_socket_addrs {
    ($($type:ty: |$this:ident| $target:expr;)*) => {$(
        impl ToSocketAddrs for $type {}

        #[allow(private_interfaces)] // as the trait's
        impl sealed::Sealed for $type {
            fn target(self) -> io::Result<Target> {
                let $this = self;
                $target
            }
        }
    )*};
}

to_socket_addrs! {
    SocketAddr: |addr| Ok(Target::Addr(addr));
    SocketAddrV4: |addr| Ok(Target::Addr(addr.into()));
    SocketAddrV6: |addr| Ok(Target::Addr(addr.into()));
    (IpAddr, u16): |addr| Ok(Target::Addr(addr.into()));
    (Ipv4Addr, u16): |addr| Ok(Target::Addr(addr.into()));
    (Ipv6Addr, u16): |addr| Ok(Target::Addr(addr.into()));
    ([u8; 4], u16): |addr| Ok(Target::Addr(addr.into()));
    ([u8; 16], u16): |addr| Ok(Target::Addr(addr.into()));
    ([u16; 8], u16): |addr| Ok(Target::Addr(addr.into()));
    &[SocketAddr]: |addrs| Ok(Target::Addrs(addrs.to_vec()));
    Vec<SocketAddr>: |addrs| Ok(Target::Addrs(addrs));
    &str: |text| host_and_port(text);
    &String: |text| host_and_port(text);
    String: |text| host_and_port(&text);
    (&str, u16): |to| host(to.0, to.1);
    (String, u16): |to| host(&to.0, to.1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealed::Sealed;

    #[test]
    fn a_text_is_a_literal_or_a_name_with_a_port() {
        let addr = |text: &str| Target::Addr(text.parse().unwrap());
        for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%3]:80"] {
            assert_eq!(text.target().unwrap(), addr(text));
        }
        let name = Target::Name("localhost".to_owned(), 80);
        assert_eq!("localhost:80".target().unwrap(), name);
        assert_eq!(("localhost", 80).target().unwrap(), name);
        assert_eq!(("127.0.0.1", 80).target().unwrap(), addr("127.0.0.1:80"));
        let scoped = Target::Name("fe80::1%lo".to_owned(), 80);
        assert_eq!("[fe80::1%lo]:80".target().unwrap(), scoped);
        assert_eq!(("::1", 80).target().unwrap(), addr("[::1]:80"));
    }

    #[test]
    fn a_text_that_is_neither_is_refused_with_a_reason() {
        for (text, reason) in [
            ("localhost", "port is missing"),
            ("", "port is missing"),
            ("localhost:", "not a number"),
            ("localhost:http", "not a number"),
            ("localhost:65536", "not a number"),
            ("localhost:-1", "not a number"),
            (":80", "empty"),
            ("::1:80", "brackets"),
            ("[::1]", "not a number"),
            ("[localhost:80", "brackets"),
            ("[localhost]:80", "brackets"),
            ("[127.0.0.1]:80", "brackets"),
            ("[::1]x:80", "brackets"),
        ] {
            let error = text.target().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
    }
}
