//! Detects that this process is a forked child of the one that made an object.
//!
//! A child shares its parent's epoll and eventfd: it would take the parent's wake-ups and remove its
//! registrations. A kqueue is not even inherited, and its number may be another file by
//! now. So the owner of such a thing asks before it uses it, and returns a clear error.

use crate::wipe_on_fork::WipedPage;
use std::io;
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Knows whether this is still the process in which it was made.
///
/// Cheap enough to ask on every turn: where the system can wipe a page at a fork (Linux, FreeBSD,
/// NetBSD, OpenBSD), it is one look at memory. Elsewhere it compares a count of the forks that led
/// here, which the C library's `fork` raises in each child, and the process id, for a fork that is
/// made without it. The id alone would not do: the system gives the parent's to another process when
/// that has ended. `vfork` is not noticed, and must do nothing but `exec` anyway.
#[derive(Debug)]
pub struct ForkGuard {
    wiped: WipedPage,
    /// For systems without such a page.
    count: Count,
}

/// The forks that led here, and the process.
#[derive(Debug, PartialEq)]
struct Count {
    forks: u32,
    pid: u32,
}

/// How many forks lie between this process and the first that had a guard.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Lets each child raise [`FORKS`], from the first call on.
fn count_forks() {
    /// In the child, before its `fork` returns. One store: nothing that takes a lock.
    unsafe extern "C" fn in_the_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    static COUNTED: Once = Once::new();
    // Under Miri there is no fork, nor the function.
    if !cfg!(miri) {
        COUNTED.call_once(|| {
            // SAFETY: the handler is a function of this program, which touches one atomic. Where there
            // is no memory for it, the process id is left.
            let _refused = unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
        });
    }
}

impl Count {
    fn now() -> Self {
        Self {
            forks: FORKS.load(Ordering::Relaxed),
            pid: process::id(),
        }
    }
}

impl ForkGuard {
    /// Remembers the process it is made in.
    ///
    /// # Errors
    ///
    /// None today: where the page is refused, forks are counted.
    pub fn new() -> io::Result<Self> {
        Ok(WipedPage::new().map_or_else(Self::counted, |wiped| Self {
            wiped,
            count: Count { forks: 0, pid: 0 },
        }))
    }

    fn counted() -> Self {
        count_forks();
        Self {
            wiped: WipedPage::none(),
            count: Count::now(),
        }
    }

    /// A guard that reports a fork, as if it had been made in the parent of this process: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn of_the_parent() -> Self {
        let mut guard = Self::counted();
        guard.count.forks = guard.count.forks.wrapping_sub(1);
        guard
    }

    /// Whether this is a child of the process in which the guard was made.
    #[must_use]
    #[inline]
    pub fn forked(&self) -> bool {
        !self.wiped.is_raised() && self.was_forked()
    }

    /// The same for a child, and for systems without a page: both are rare.
    #[cold]
    fn was_forked(&self) -> bool {
        self.wiped.exists() || self.count != Count::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unix::for_tests::printed_in_a_child;

    #[test]
    fn a_child_knows_that_it_is_one_and_the_parent_does_not() {
        for guard in [ForkGuard::new().unwrap(), ForkGuard::counted()] {
            assert!(!guard.forked());
            assert!(printed_in_a_child(|| guard.forked()).unwrap());
            assert!(!guard.forked());
        }
    }

    /// As if the parent had ended, and its number were the child's now.
    #[test]
    fn a_child_with_the_number_of_its_parent_knows_that_it_is_one() {
        let Count { forks, .. } = ForkGuard::counted().count;
        let of_the_parent = || {
            let mut guard = ForkGuard::counted();
            guard.count.forks = forks;
            guard
        };
        assert!(!of_the_parent().forked());
        assert!(printed_in_a_child(|| of_the_parent().forked()).unwrap());
        // And one that was made in the child is at home there.
        assert!(printed_in_a_child(|| !ForkGuard::counted().forked()).unwrap());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_reports_it_without_a_system_call() {
        assert!(ForkGuard::new().unwrap().wiped.exists());
    }
}
