//! The names of hosts: `getaddrinfo(3)` and `getnameinfo(3)`. Both block, for seconds if a server of names
//! does not answer.

use super::address::Address;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::ptr::{null, null_mut};

/// Why a name or an address was not found.
#[derive(Debug)]
pub enum NameError {
    /// There is no such name, or it has no address (`EAI_NONAME`, `EAI_NODATA`).
    NotFound,
    /// No answer now: another attempt may succeed (`EAI_AGAIN`).
    TryAgain,
    /// A name with a zero byte in it.
    ZeroByte,
    /// Another error, in the words of `gai_strerror(3)`.
    Other(String),
    /// An error of a system call.
    System(io::Error),
}

impl NameError {
    fn new(code: c_int) -> Self {
        match code {
            libc::EAI_NONAME => Self::NotFound,
            // It has no name in the bindings of every system: EAI_NODATA of the GNU library.
            -5 if cfg!(all(target_os = "linux", target_env = "gnu")) => Self::NotFound,
            libc::EAI_AGAIN => Self::TryAgain,
            libc::EAI_SYSTEM => Self::System(io::Error::last_os_error()),
            code => {
                // SAFETY: takes a number, touches no memory of ours.
                let text = unsafe { libc::gai_strerror(code) };
                // SAFETY: any number has a text, a constant one that ends in a zero byte.
                let text = unsafe { CStr::from_ptr(text) };
                Self::Other(text.to_string_lossy().into_owned())
            }
        }
    }
}

/// The GNU library knows no name while it cannot open its files, and does not say why: then the error is that of an
/// `open` here.
fn unless_exhausted(error: NameError) -> NameError {
    if !matches!(error, NameError::NotFound | NameError::TryAgain) {
        return error;
    }
    match File::open("/dev/null") {
        Err(open) if matches!(open.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            NameError::System(open)
        }
        _ => error,
    }
}

/// The list that `getaddrinfo` returns; dropping it frees it.
struct Found(*mut libc::addrinfo);

impl Drop for Found {
    fn drop(&mut self) {
        // SAFETY: a list of `getaddrinfo`, which is freed once, here.
        unsafe { libc::freeaddrinfo(self.0) }
    }
}

/// Looks up the addresses of a host, in the order in which they are to be tried (RFC 6724). Blocks.
///
/// # Errors
///
/// [`NameError`].
pub fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, NameError> {
    let host = CString::new(host).map_err(|_| NameError::ZeroByte)?;
    // SAFETY: plain integers and null pointers, for which zero is a value.
    let mut hints: libc::addrinfo = unsafe { zeroed() };
    // Otherwise each address comes once for each kind of socket.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = null_mut();
    // SAFETY: a text that ends in a zero byte, no service, and places that outlive the call.
    let code = unsafe { libc::getaddrinfo(host.as_ptr(), null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(unless_exhausted(NameError::new(code)));
    }
    let list = Found(list);
    let mut addresses = Vec::new();
    let mut next = list.0;
    // SAFETY: null, or an entry of the list, which is not freed yet.
    while let Some(entry) = unsafe { next.as_ref() } {
        let mut address = Address::empty();
        let room = entry.ai_addrlen.min(Address::ROOM);
        let (to, _) = address.parts_mut();
        let from = entry.ai_addr.cast::<u8>();
        // SAFETY: the library's address has this length, there is room for as much, and they do not overlap.
        unsafe { from.copy_to_nonoverlapping(to.cast(), room as usize) };
        address.set_len(room);
        if let Some(mut addr) = address.to_std() {
            addr.set_port(port);
            addresses.push(addr);
        }
        next = entry.ai_next;
    }
    match addresses.is_empty() {
        true => Err(NameError::NotFound),
        false => Ok(addresses),
    }
}

/// The most that `NI_MAXHOST` is anywhere.
const MAX_HOST: usize = 1025;

/// Looks up the name of an address. Blocks.
///
/// # Errors
///
/// [`NameError`]; `NotFound` if the address has no name.
pub fn name(ip: IpAddr) -> Result<String, NameError> {
    let address = Address::from_std(&SocketAddr::new(ip, 0));
    let mut host = [0 as c_char; MAX_HOST];
    let (raw, len) = address.parts();
    // SAFETY: an address and its length, and a buffer and its length, which both outlive the call; no place for
    // a service.
    let code = unsafe {
        libc::getnameinfo(
            raw,
            len,
            host.as_mut_ptr(),
            MAX_HOST as _,
            null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if code != 0 {
        return Err(unless_exhausted(NameError::new(code)));
    }
    let name: Vec<u8> = host
        .iter()
        .map(|&c| c as u8)
        .take_while(|&c| c != 0)
        .collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_literal_has_its_address_and_a_name_of_this_machine_one_of_its_own() {
        let literal = addresses("127.0.0.1", 80).unwrap();
        assert_eq!(literal, [SocketAddr::from(([127, 0, 0, 1], 80))]);
        let local = addresses("localhost", 7).unwrap();
        assert!(
            local
                .iter()
                .all(|addr| addr.ip().is_loopback() && addr.port() == 7)
        );
        assert!(!local.is_empty());
    }

    #[test]
    fn a_name_that_cannot_be_is_not_found() {
        // RFC 2606 keeps this domain free. A machine without a network answers otherwise.
        for name in ["no-such-name.invalid", ""] {
            let error = addresses(name, 1).unwrap_err();
            assert!(
                matches!(
                    error,
                    NameError::NotFound | NameError::TryAgain | NameError::System(_)
                ),
                "{name:?}: {error:?}"
            );
        }
        assert!(matches!(addresses("a\0b", 1), Err(NameError::ZeroByte)));
        let long = "x".repeat(100_000);
        assert!(addresses(&long, 1).is_err());
    }

    #[test]
    fn an_address_has_a_name_or_is_not_found() {
        match name(Ipv4Addr::LOCALHOST.into()) {
            Ok(name) => assert!(!name.is_empty()),
            Err(error) => assert!(matches!(error, NameError::NotFound), "{error:?}"),
        }
    }
}
