//! Whether the environment may be trusted, by the kernel's own flag (`AT_SECURE`). The twin of `unix/secure.rs`.

/// Whether this program has rights that its caller has not: set-user-id, capabilities. Its
/// environment is then chosen by a less trusted caller, and must not change what the program does.
#[must_use]
pub fn is_secure() -> bool {
    // SAFETY: takes a number, and reads what the kernel has put beside the arguments.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
