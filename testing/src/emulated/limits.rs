//! The differences that remain because Linux decides, and an emulation has no influence.
//!
//! In the notes this is the difference between "epoll on Linux" and "kqueue on macOS" (N2).

use readily_sys::kq_abi::Personality::{self, Apple, FreeBsd, NetBsd};

/// A difference from the emulated system that remains on Linux.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limit {
    /// The name that tests, scripts and pages use.
    pub name: &'static str,
    /// The systems that differ.
    pub systems: &'static [Personality],
    /// The behaviour of those systems.
    pub there: &'static str,
    /// The behaviour of the emulation.
    pub here: &'static str,
}

const ALL: &[Personality] = &[Apple, FreeBsd, NetBsd];

const fn limit(
    name: &'static str,
    systems: &'static [Personality],
    there: &'static str,
    here: &'static str,
) -> Limit {
    Limit {
        name,
        systems,
        there,
        here,
    }
}

/// All limits of the emulation. `docs/platforms.md` has the same table, and `.ci/kqueue-on-linux`
/// names its rows.
pub const LIMITS: &[Limit] = &[
    limit(
        "reset-for-unread",
        &[FreeBsd, NetBsd],
        "closing a TCP connection with unread bytes sends an end",
        "Linux sends a reset, and that is reported",
    ),
    limit(
        "unix-reset",
        ALL,
        "a Unix peer that closes with unread bytes is an end",
        "reported as an end; but the next read fails with ECONNRESET, once",
    ),
    limit(
        "unix-shut-reading",
        ALL,
        "a Unix peer that shuts its reading side is not noticed",
        "a write fails with EPIPE, and EVFILT_WRITE reports EV_EOF as for our own shutdown",
    ),
    limit(
        "accept-of-reset",
        &[FreeBsd, NetBsd],
        "accepting a connection that was reset meanwhile fails with ECONNABORTED",
        "Linux accepts it, and its first read fails",
    ),
    limit(
        "error-name",
        ALL,
        "fflags has the socket's error",
        "Linux reports it only to the call that takes it: ECONNREFUSED for a connection that was never made, \
         else ECONNRESET, numbered as in this process; SO_ERROR has the true one, still",
    ),
    limit(
        "datagram-bytes",
        ALL,
        "data counts all bytes that are queued",
        "data counts the bytes of the first datagram",
    ),
    limit(
        "unix-pending",
        ALL,
        "data counts the connections that wait at a Unix listener, and EV_CLEAR repeats after an accept",
        "data is 1, and EV_CLEAR does not repeat",
    ),
    limit(
        "acknowledged",
        ALL,
        "EVFILT_WRITE with EV_CLEAR fires with each acknowledgement",
        "it fires in the next wait; an acknowledgement alone does not end a wait",
    ),
    limit(
        "no-news",
        ALL,
        "a shutdown or an end of one direction does not activate the filter of the other",
        "with EV_CLEAR the other filter may repeat its last report",
    ),
    limit(
        "buffer-sizes",
        ALL,
        "buffers and their low-water marks are those of the system",
        "they are those of Linux",
    ),
    limit(
        "urgent-bytes",
        ALL,
        "data counts the bytes behind an urgent one, too",
        "Linux counts to the mark",
    ),
    limit(
        "same-file-again",
        ALL,
        "closing a number drops its registrations at once",
        "the close is detected when the registration is evaluated next; not if the number refers to the same open \
         file again by then",
    ),
    limit(
        "inherited",
        ALL,
        "a child does not inherit the queue, nor its number",
        "the numbers are open in the child, and each call on the queue fails there",
    ),
    limit(
        "numbers",
        ALL,
        "a queue is one descriptor",
        "a queue is five descriptors, and two more for a pipe on NetBSD",
    ),
    limit(
        "above-the-limit",
        &[Apple],
        "a number above the soft limit of descriptors is refused (EINVAL)",
        "the number is watched",
    ),
    limit(
        "other-filters",
        ALL,
        "EVFILT_TIMER, EVFILT_SIGNAL, EVFILT_PROC, EVFILT_VNODE, files by EVFILT_READ",
        "refused (EINVAL); EVFILT_USER is only the notifier of the queue",
    ),
];

#[cfg(test)]
mod tests {
    use super::LIMITS;

    #[test]
    fn the_page_about_platforms_has_each_limit_in_these_words() {
        let page = include_str!("../../../docs/platforms.md");
        for limit in LIMITS {
            let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let systems: Vec<_> = limit.systems.iter().map(|it| format!("{it:?}")).collect();
            let systems = match systems.len() {
                3 => "all".to_owned(),
                _ => systems.join(", "),
            };
            let (there, here) = (squeeze(limit.there), squeeze(limit.here));
            let row = format!("| `{}` | {systems} | {there} | {here} |", limit.name);
            assert!(page.contains(&row), "the page lacks\n{row}");
        }
    }
}
