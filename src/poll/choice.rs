//! The poller that the environment variable `READILY_POLLER` names.
//!
//! An unknown name is an error and not a default: a test run on the wrong poller proves
//! nothing. libev has such a variable, too (`LIBEV_FLAGS`). `default_poller.rs` has the names.

use super::Poller;
use std::ffi::OsStr;
use std::io;

/// The variable.
pub(super) const VARIABLE: &str = "READILY_POLLER";

/// The names of the kqueues that `readily_testing` emulates: see [`default`](super::default_poller::default).
const EMULATED: [&str; 3] = ["kqueue-apple", "kqueue-freebsd", "kqueue-netbsd"];

/// A function that makes a poller.
pub(super) type Make = fn() -> io::Result<Box<dyn Poller>>;

/// The function that makes the poller of this name; `None` if there is no name, or an empty one.
pub(super) fn choose(name: Option<&OsStr>, named: &[(&str, Make)]) -> io::Result<Option<Make>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if let Some((_, make)) = named.iter().find(|(known, _)| *known == name) {
        return Ok(Some(*make));
    }
    let mut text = format!("{VARIABLE} is {name:?}, and the pollers of this system are ");
    for (n, (known, _)) in named.iter().enumerate() {
        text.push_str(if n > 0 { ", " } else { "" });
        text.push_str(known);
    }
    if EMULATED.iter().any(|emulated| *emulated == name) {
        text += "; for tests on Linux there is `readily_testing::emulated::poller`, a poller for \
                 `EventLoop::with`";
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::poll2::PollPoller;

    const NAMED: &[(&str, Make)] = &[
        ("one", || Err(io::ErrorKind::NotFound.into())),
        ("poll", || Ok(Box::new(PollPoller::new()?))),
    ];

    #[test]
    fn a_name_chooses_its_poller_and_none_the_default() {
        assert!(choose(None, NAMED).unwrap().is_none());
        assert!(choose(Some(OsStr::new("")), NAMED).unwrap().is_none());
        let poll = choose(Some(OsStr::new("poll")), NAMED).unwrap().unwrap();
        assert!(poll().is_ok());
        let one = choose(Some(OsStr::new("one")), NAMED).unwrap().unwrap();
        assert!(one().is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_those_that_are() {
        for name in ["Poll", "kqueue-macos", "epoll "] {
            let error = choose(Some(OsStr::new(name)), NAMED).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.contains(name) && text.ends_with("one, poll"), "{text}");
        }
        for name in EMULATED {
            let error = choose(Some(OsStr::new(name)), NAMED).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.contains("readily_testing::emulated"), "{text}");
        }
    }
}
