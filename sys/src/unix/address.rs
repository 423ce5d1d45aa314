//! Socket addresses: the standard library's on our side, the kernel's on the other.
//!
//! The kernel's addresses are structures that begin with the same fields. A union of them is large
//! enough and aligned for each, so that only the reading of a field is unsafe.

use std::ffi::{OsStr, c_int};
use std::io;
use std::mem::{offset_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::{self, ffi::OsStrExt};
use std::path::Path;

use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, sockaddr_un, socklen_t};

#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

#[repr(C)]
#[derive(Clone, Copy)]
union Raw {
    any: sockaddr,
    v4: sockaddr_in,
    v6: sockaddr_in6,
    local: sockaddr_un,
    all: sockaddr_storage,
}

/// An address as the kernel has it.
pub(crate) struct Address {
    raw: Raw,
    len: socklen_t,
}

impl Address {
    /// The length of the space for an address.
    pub(crate) const ROOM: socklen_t = size_of::<Raw>() as socklen_t;

    /// Space for any address, for the kernel to fill in.
    pub(crate) fn empty() -> Self {
        // SAFETY: the structures are plain integers and arrays of them, for which zero is a
        // value; and `all` is the largest, so that no byte of the union is left out.
        let all = unsafe { zeroed::<sockaddr_storage>() };
        Self {
            raw: Raw { all },
            len: Self::ROOM,
        }
    }

    pub(crate) fn from_std(addr: &SocketAddr) -> Self {
        let mut address = Self::empty();
        match addr {
            SocketAddr::V4(addr) => {
                // SAFETY: plain integers, for which zero is a value. Not a literal, for the
                // BSDs have a length field in front, which their kernels fill in themselves.
                let mut v4 = unsafe { zeroed::<sockaddr_in>() };
                v4.sin_family = libc::AF_INET as libc::sa_family_t;
                v4.sin_port = addr.port().to_be();
                v4.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
                address.raw.v4 = v4;
                address.len = size_of::<sockaddr_in>() as socklen_t;
            }
            SocketAddr::V6(addr) => {
                // SAFETY: as for v4.
                let mut v6 = unsafe { zeroed::<sockaddr_in6>() };
                v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                v6.sin6_port = addr.port().to_be();
                v6.sin6_addr.s6_addr = addr.ip().octets();
                // As the standard library does: this number is not turned round.
                v6.sin6_flowinfo = addr.flowinfo();
                v6.sin6_scope_id = addr.scope_id();
                address.raw.v6 = v6;
                address.len = size_of::<sockaddr_in6>() as socklen_t;
            }
        }
        address
    }

    /// `InvalidInput` for a path that is too long or has a zero byte in it.
    pub(crate) fn from_path(path: &Path) -> io::Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        // SAFETY: as for v4; the path's end is marked by the zeroes that are left.
        let mut local = unsafe { zeroed::<sockaddr_un>() };
        if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= local.sun_path.len() {
            let message = "the path of a unix socket is empty, too long, or has a zero byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        local.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in local.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        let mut address = Self::empty();
        address.raw.local = local;
        address.len = (offset_of!(sockaddr_un, sun_path) + bytes.len() + 1) as socklen_t;
        Ok(address)
    }

    /// A path, or a name of Linux's abstract namespace; `InvalidInput` for an address without either.
    pub(crate) fn from_unix(addr: &unix::net::SocketAddr) -> io::Result<Self> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = SocketAddrExt::as_abstract_name(addr) {
            return Ok(Self::from_abstract(name));
        }
        Self::from_path(addr.as_pathname().unwrap_or(Path::new("")))
    }

    /// A name that begins with a zero byte and has no other mark of its end than its length, which the
    /// standard library has checked.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn from_abstract(name: &[u8]) -> Self {
        // SAFETY: as for v4; the first byte stays zero.
        let mut local = unsafe { zeroed::<sockaddr_un>() };
        local.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in local.sun_path[1..].iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        let mut address = Self::empty();
        address.raw.local = local;
        address.len = (offset_of!(sockaddr_un, sun_path) + 1 + name.len()) as socklen_t;
        address
    }

    /// `None` for an address that is neither v4 nor v6: unix sockets have none worth the
    /// name, and some systems leave the peer out when it has gone already.
    pub(crate) fn to_std(&self) -> Option<SocketAddr> {
        match self.family() {
            libc::AF_INET => {
                // SAFETY: all of the union is initialised, and any bytes are a `sockaddr_in`.
                let v4 = unsafe { self.raw.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: all of the union is initialised, and any bytes are a `sockaddr_in6`.
                let v6 = unsafe { self.raw.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// A path, an abstract name, or no name.
    pub(crate) fn to_unix(&self) -> io::Result<unix::net::SocketAddr> {
        // SAFETY: all of the union is initialised, and any bytes are a `sockaddr_un`.
        let local = unsafe { self.raw.local };
        let bytes = local.sun_path.map(|byte| byte as u8);
        let len = (self.len as usize).saturating_sub(offset_of!(sockaddr_un, sun_path));
        let name = &bytes[..len.min(bytes.len())];
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let [0, name @ ..] = name {
            return <unix::net::SocketAddr as SocketAddrExt>::from_abstract_name(name);
        }
        let end = name.iter().position(|byte| *byte == 0);
        let path = &name[..end.unwrap_or(name.len())];
        unix::net::SocketAddr::from_pathname(OsStr::from_bytes(path))
    }

    /// Stores the length of the address that the kernel has written.
    pub(crate) fn set_len(&mut self, len: socklen_t) {
        self.len = len;
    }

    pub(crate) fn family(&self) -> c_int {
        // SAFETY: all of the union is initialised, and each member begins like this one.
        c_int::from(unsafe { self.raw.any }.sa_family)
    }

    /// For calls that read an address.
    pub(crate) fn parts(&self) -> (*const sockaddr, socklen_t) {
        ((&raw const self.raw).cast(), self.len)
    }

    /// For calls that write one: whatever was here is forgotten.
    pub(crate) fn parts_mut(&mut self) -> (*mut sockaddr, *mut socklen_t) {
        self.len = Self::ROOM;
        ((&raw mut self.raw).cast(), &raw mut self.len)
    }
}

/// An address as the standard library has it: of the internet, or of the local domain.
pub trait SocketAddress: sealed::Sealed + Sized {}

pub(crate) mod sealed {
    use super::Address;
    use std::io;

    /// The conversions.
    pub trait Sealed: Sized {
        #[doc(hidden)]
        #[allow(private_interfaces)] // it cannot be named outside
        fn to_address(&self) -> io::Result<Address>;
        #[doc(hidden)]
        #[allow(private_interfaces)] // as above
        fn of_address(address: &Address) -> io::Result<Self>;
    }
}

impl SocketAddress for SocketAddr {}

#[allow(private_interfaces)] // as the trait's
impl sealed::Sealed for SocketAddr {
    fn to_address(&self) -> io::Result<Address> {
        Ok(Address::from_std(self))
    }

    fn of_address(address: &Address) -> io::Result<Self> {
        address
            .to_std()
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl SocketAddress for unix::net::SocketAddr {}

#[allow(private_interfaces)] // as the trait's
impl sealed::Sealed for unix::net::SocketAddr {
    fn to_address(&self) -> io::Result<Address> {
        Address::from_unix(self)
    }

    fn of_address(address: &Address) -> io::Result<Self> {
        address.to_unix()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_the_local_domain_survives_the_kernels_form() {
        for path in ["/tmp/x", "x", &"y".repeat(103)] {
            let addr = unix::net::SocketAddr::from_pathname(path).unwrap();
            let back = Address::from_unix(&addr).unwrap().to_unix().unwrap();
            assert_eq!(back.as_pathname(), Some(Path::new(path)));
        }
        let mut unnamed = Address::empty();
        unnamed.set_len(offset_of!(sockaddr_un, sun_path) as socklen_t);
        assert!(unnamed.to_unix().unwrap().is_unnamed());
        unnamed.set_len(0);
        assert!(unnamed.to_unix().unwrap().is_unnamed());
    }

    fn round_trip(text: &str) {
        let addr: SocketAddr = text.parse().unwrap();
        assert_eq!(Address::from_std(&addr).to_std(), Some(addr));
    }

    #[test]
    fn addresses_of_both_families_survive_the_kernels_form() {
        round_trip("127.0.0.1:80");
        round_trip("1.2.3.4:65535");
        round_trip("[::1]:1");
        round_trip("[2001:db8:1:2:3:4:5:6]:258");
    }

    #[test]
    fn scope_and_flow_of_a_v6_address_survive() {
        let ip = "fe80::1".parse().unwrap();
        let addr = SocketAddr::from(SocketAddrV6::new(ip, 0x0102, 0x000a_bcde, 7));
        assert_eq!(Address::from_std(&addr).to_std(), Some(addr));
    }

    #[test]
    fn port_and_ip_are_in_network_order() {
        let address = Address::from_std(&"1.2.3.4:258".parse().unwrap());
        // SAFETY: the union is initialised, and was filled in as this member.
        let v4 = unsafe { address.raw.v4 };
        assert_eq!(v4.sin_port.to_ne_bytes(), [1, 2]);
        assert_eq!(v4.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
        assert_eq!(address.len as usize, size_of::<sockaddr_in>());
    }

    #[test]
    fn a_path_is_counted_with_its_end() {
        let address = Address::from_path(Path::new("/tmp/x")).unwrap();
        assert_eq!(address.family(), libc::AF_UNIX);
        assert_eq!(address.len as usize, offset_of!(sockaddr_un, sun_path) + 7);
        assert_eq!(address.to_std(), None);
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        for bad in ["", "a\0b", &"x".repeat(108)] {
            let error = Address::from_path(Path::new(bad)).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
