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
    mark: Mark,
}

#[derive(Debug)]
enum Mark {
    Wiped(WipedPage),
    Counted { forks: u32, pid: u32 },
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

impl Mark {
    fn counted() -> Self {
        count_forks();
        Self::Counted {
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
        let mark = WipedPage::new().map_or_else(Mark::counted, Mark::Wiped);
        Ok(Self { mark })
    }

    /// A guard that reports a fork, as if it had been made in the parent of this process: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn of_the_parent() -> Self {
        count_forks();
        let mark = Mark::Counted {
            forks: FORKS.load(Ordering::Relaxed).wrapping_sub(1),
            pid: process::id(),
        };
        Self { mark }
    }

    /// Whether this is a child of the process in which the guard was made.
    #[must_use]
    #[inline]
    pub fn forked(&self) -> bool {
        match &self.mark {
            Mark::Wiped(wiped) => !wiped.is_raised(),
            Mark::Counted { forks, pid } => was_counted(*forks, *pid),
        }
    }
}

/// Whether there was a fork since the count and the process had these numbers. Out of line, for systems
/// that are rare.
#[inline(never)]
fn was_counted(forks: u32, pid: u32) -> bool {
    FORKS.load(Ordering::Relaxed) != forks || process::id() != pid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unix::for_tests::printed_in_a_child;

    #[test]
    fn a_child_knows_that_it_is_one_and_the_parent_does_not() {
        let counted = Mark::counted();
        for guard in [ForkGuard::new().unwrap(), ForkGuard { mark: counted }] {
            assert!(!guard.forked());
            assert!(printed_in_a_child(|| guard.forked()).unwrap());
            assert!(!guard.forked());
        }
    }

    /// As if the parent had ended, and its number were the child's now.
    #[test]
    fn a_child_with_the_number_of_its_parent_knows_that_it_is_one() {
        let Mark::Counted { forks, .. } = Mark::counted() else {
            unreachable!("it is counted");
        };
        let of_the_parent = || ForkGuard {
            mark: Mark::Counted {
                forks,
                pid: process::id(),
            },
        };
        assert!(!of_the_parent().forked());
        assert!(printed_in_a_child(|| of_the_parent().forked()).unwrap());
        // And one that was made in the child is at home there.
        let at_home = || {
            !(ForkGuard {
                mark: Mark::counted(),
            })
            .forked()
        };
        assert!(printed_in_a_child(at_home).unwrap());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_reports_it_without_a_system_call() {
        assert!(matches!(ForkGuard::new().unwrap().mark, Mark::Wiped(_)));
    }
}
