//! The handler of the process, and the actions of signals.
//!
//! In the notes: one more thing that a loop waits for (N1).

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{self, MaybeUninit};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::slots::{Bits, MAX, slots};
use crate::{cvt, errno_location};

/// The process to which the slots belong; zero before the first use.
pub(super) static OWNER: AtomicU32 = AtomicU32::new(0);
/// The numbers whose action was the default before ours.
pub(super) static WAS_DEFAULT: Bits = Bits::new();
/// The numbers whose second signal ends the process, and those that have had their first.
pub(super) static SECOND_ENDS: Bits = Bits::new();
pub(super) static HAD_FIRST: Bits = Bits::new();

/// Installed for each number that has a listener.
unsafe extern "C" fn handler(number: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: returns the address of this thread's `errno`, and is safe in a handler.
    let errno = unsafe { errno_location() };
    // SAFETY: it is this thread's, for as long as the thread lives.
    let before = unsafe { *errno };
    if process::id() != OWNER.load(Ordering::Acquire) {
        if WAS_DEFAULT.has(number) {
            raise_default(number);
        }
    } else {
        if SECOND_ENDS.has(number) && HAD_FIRST.set(number) {
            raise_default(number);
        }
        for slot in slots() {
            slot.notify(number);
        }
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Restores the default action, and sends the signal to this thread. In the handler the signal is
/// blocked, and has its effect when the handler returns.
fn raise_default(number: c_int) {
    let _ = set_action(number, &action(libc::SIG_DFL, 0));
    // SAFETY: takes a number; it is safe in a handler.
    unsafe { libc::raise(number) };
}

/// An action with an empty mask: other signals may interrupt the handler.
pub(super) fn action(handler: libc::sighandler_t, flags: c_int) -> libc::sigaction {
    // SAFETY: numbers, a set of bits, and perhaps an optional function; for all of these zero is a value.
    let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
    // An empty set is all zeroes on each of these systems, so `sigemptyset` is not needed.
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

/// Installs [`handler`]. `SA_RESTART`, so that calls of other threads are not disturbed; `SA_ONSTACK`,
/// because a host may run us on a thread with a small stack, and an alternate one for signals.
pub(super) fn our_action() -> libc::sigaction {
    let function = handler as unsafe extern "C" fn(_, _, _);
    let flags = libc::SA_RESTART | libc::SA_ONSTACK | libc::SA_SIGINFO;
    action(function as libc::sighandler_t, flags)
}

pub(super) fn set_action(number: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: `action` is borrowed, and only read; the previous one is not asked for. A handler in it is
    // ours, which is safe to run anywhere, or was the process's before.
    cvt(unsafe { libc::sigaction(number, ptr::from_ref(action), ptr::null_mut()) })?;
    Ok(())
}

/// Sets the default action, between fork and exec.
pub(crate) fn set_default(number: c_int) {
    // SIGKILL and numbers that the system does not have are refused, and need nothing.
    let _ = set_action(number, &action(libc::SIG_DFL, 0));
}

pub(super) fn current_action(number: c_int) -> io::Result<libc::sigaction> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: nothing is changed; `current` has space for what is written.
    cvt(unsafe { libc::sigaction(number, ptr::null(), current.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded, and has written it.
    Ok(unsafe { current.assume_init() })
}

pub(super) fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == our_action().sa_sigaction
}

/// Whether the calling thread blocks this signal.
#[must_use]
pub fn is_blocked(number: c_int) -> bool {
    is_member(&blocked(), number)
}

/// Whether the calling thread blocks any signal.
#[must_use]
pub fn is_any_blocked() -> bool {
    let blocked = blocked();
    (1..=MAX).any(|number| is_member(&blocked, number))
}

fn blocked() -> MaybeUninit<libc::sigset_t> {
    let mut blocked = MaybeUninit::zeroed();
    // SAFETY: nothing is changed, because there is no new mask; the old one is written to `blocked`.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) };
    blocked
}

fn is_member(set: &MaybeUninit<libc::sigset_t>, number: c_int) -> bool {
    // SAFETY: the set was written, or is all zeroes, which is an empty one.
    unsafe { libc::sigismember(set.as_ptr(), number) == 1 }
}

/// Unblocks all signals on this thread, between fork and exec.
pub(crate) fn unblock_all() {
    let none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: all zeroes is an empty set, which is only read; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}

/// Ends the process by the signal, as if it had no handler: its parent sees that. A signal whose default
/// action does not end a process leads to an exit with the status that shells use.
pub fn end_process(number: c_int) -> ! {
    raise_unblocked(number);
    process::exit(128 + number)
}

fn raise_unblocked(number: c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: an empty set, to which the number is added; `set` is ours alone.
    unsafe { libc::sigaddset(set.as_mut_ptr(), number) };
    let _ = set_action(number, &action(libc::SIG_DFL, 0));
    // SAFETY: `set` is initialized, and only read; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
    // SAFETY: takes a number.
    unsafe { libc::raise(number) };
}
