//! Have we been forked?
//!
//! A child shares its parent's epoll and eventfd: it would steal wake-ups and take away
//! registrations. A kqueue is not even inherited, and its number may be another file by
//! now. So whoever owns such a thing asks before it uses it, and gives a clear error.
//!
//! Nothing in the notes; it is what N6's processes bring along.

use std::io;
use std::process;

use crate::wiped::Wiped;

/// Knows whether this is still the process in which it was made.
///
/// Cheap enough to ask on every turn: where the system can wipe a page at a fork, it is
/// one look at memory; elsewhere it compares process ids. `vfork` is not noticed, and must
/// do nothing but `exec` anyway.
#[derive(Debug)]
pub struct ForkGuard {
    mark: Mark,
}

#[derive(Debug)]
enum Mark {
    Wiped(Wiped),
    Pid(u32),
}

impl ForkGuard {
    /// Remembers the process it is made in.
    ///
    /// # Errors
    ///
    /// None today: where the page is refused, the process id is remembered.
    pub fn new() -> io::Result<Self> {
        let mark = Wiped::new().map_or_else(|| Mark::Pid(process::id()), Mark::Wiped);
        Ok(Self { mark })
    }

    /// Whether this is a child of the process in which the guard was made.
    #[must_use]
    #[inline]
    pub fn forked(&self) -> bool {
        match &self.mark {
            Mark::Wiped(wiped) => !wiped.is_raised(),
            Mark::Pid(pid) => *pid != process::id(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cvt;

    /// What the guard says in a child: its exit status.
    fn told_in_a_child(guard: &ForkGuard) -> bool {
        // SAFETY: the child of this threaded process looks at memory, asks for its process
        // id and calls `_exit`: nothing that takes a lock.
        let pid = cvt(unsafe { libc::fork() }).unwrap();
        if pid == 0 {
            let code = i32::from(guard.forked());
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` has space for the number that is written; the child is ours.
        cvt(unsafe { libc::waitpid(pid, &raw mut status, 0) }).unwrap();
        assert!(libc::WIFEXITED(status));
        libc::WEXITSTATUS(status) == 1
    }

    #[test]
    fn a_child_knows_that_it_is_one_and_the_parent_does_not() {
        for guard in [
            ForkGuard::new().unwrap(),
            ForkGuard {
                mark: Mark::Pid(process::id()),
            },
        ] {
            assert!(!guard.forked());
            assert!(told_in_a_child(&guard));
            assert!(!guard.forked());
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_it_without_a_system_call() {
        assert!(matches!(ForkGuard::new().unwrap().mark, Mark::Wiped(_)));
    }
}
