//! The processors that a thread may run on (`pthread_getaffinity_np(3)`). The twin of `linux/affinity.rs`.
//!
//! A set is a value of the C library, whose layout is hidden. A thread that was never pinned has an empty
//! set, and may run everywhere.
//!
//! In the notes: several cores (N12).

use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;

/// These calls return the error number.
fn checked(error: c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A set of processors, made by the C library.
struct Set(NonNull<libc::cpuset_t>);

impl Set {
    fn new() -> io::Result<Self> {
        // SAFETY: takes nothing; the set that it makes is empty.
        let set = unsafe { libc::_cpuset_create() };
        NonNull::new(set)
            .map(Self)
            .ok_or_else(io::Error::last_os_error)
    }

    fn size(&self) -> usize {
        // SAFETY: the set was made by `_cpuset_create`, and is destroyed by `drop` only.
        unsafe { libc::_cpuset_size(self.0.as_ptr()) }
    }

    fn has(&self, cpu: usize) -> bool {
        let Ok(cpu) = cpu.try_into() else {
            return false;
        };
        // SAFETY: the set was made by `_cpuset_create`; a number that is out of range is minus one.
        unsafe { libc::_cpuset_isset(cpu, self.0.as_ptr()) > 0 }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // SAFETY: the set was made by `_cpuset_create`, and nothing uses it any more.
        unsafe { libc::_cpuset_destroy(self.0.as_ptr()) };
    }
}

/// Returns the numbers of the processors that the calling thread may run on, in ascending order.
///
/// # Errors
///
/// Those of `pthread_getaffinity_np(3)`.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = Set::new()?;
    // SAFETY: takes nothing, touches no memory.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the call writes at most as many bytes as the set has; the thread is the calling one.
    checked(unsafe { libc::pthread_getaffinity_np(this, set.size(), set.0.as_ptr()) })?;
    let has = |cpu: &usize| set.has(*cpu);
    let pinned: Vec<usize> = (0..set.size() * 8).filter(has).collect();
    if !pinned.is_empty() {
        return Ok(pinned);
    }
    // SAFETY: takes a number, touches no memory.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    Ok((0..usize::try_from(online).unwrap_or(1)).collect())
}

/// Pins the calling thread to one processor.
///
/// # Errors
///
/// Those of `pthread_setaffinity_np(3)`: `EPERM`, unless `security.models.extensions.user_set_cpu_affinity`
/// allows users to pin threads.
pub fn pin(cpu: usize) -> io::Result<()> {
    let set = Set::new()?;
    let number = cpu.try_into().map_err(io::Error::other)?;
    // SAFETY: the set was made by `_cpuset_create`; a number that is out of range is an error.
    if unsafe { libc::_cpuset_set(number, set.0.as_ptr()) } != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: takes nothing, touches no memory.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the call reads at most as many bytes as the set has; the thread is the calling one.
    checked(unsafe { libc::pthread_setaffinity_np(this, set.size(), set.0.as_ptr()) })
}
