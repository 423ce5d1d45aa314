//! Whether the environment may be trusted. The twin of `linux/secure.rs`.

/// Whether this program has rights that its caller has not: set-user-id, set-group-id. Its
/// environment is then chosen by a less trusted caller, and must not change what the program does.
#[must_use]
pub fn is_secure() -> bool {
    // SAFETY: takes nothing, touches no memory, cannot fail; so do the other three.
    let (user, real_user) = (unsafe { libc::geteuid() }, unsafe { libc::getuid() });
    // SAFETY: as above.
    let (group, real_group) = (unsafe { libc::getegid() }, unsafe { libc::getgid() });
    user != real_user || group != real_group
}
