//! Promises about registrations: tokens, descriptor numbers, and the registrations that are refused.
//!
//! All pollers return the same errors, so that the loop does not depend on the poller. A kernel may
//! or may not drop the registration of a descriptor that was closed first; it must not report it to
//! the next owner of the number.
//!
//! In the notes: "register" and "cancel the registration" (N7).

use super::{Fixture, GUARD, TestFd};
use readily::poll::NOTIFIER;
use readily::{Interest, Readiness, Trigger};
use readily_sys::errno;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

fn code(answer: io::Result<()>) -> i32 {
    answer
        .expect_err("the call is refused")
        .raw_os_error()
        .expect("an error of the system")
}

/// A readable socket, and its peer.
pub(super) fn ready(fixture: &Fixture) -> (TestFd, TestFd) {
    let (here, there) = fixture.pair();
    there.put(b"a");
    (here, there)
}

pub(super) fn all_bits_of_a_token_are_returned(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    for token in [
        0,
        1,
        u64::from(u32::MAX),
        1 << 63,
        0x0123_4567_89ab_cdef,
        NOTIFIER - 1,
    ] {
        fixture.register(here.number(), token, Interest::READ, Trigger::Level);
        assert_eq!(fixture.next_for(token), Readiness::READ);
        fixture.remove(here.number());
    }
}

/// `NOTIFIER` is the token of the poller's own notifier: an event with it would be a notification.
pub(super) fn the_notifiers_token_is_refused(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    let fd = here.number();
    let refused = fixture
        .poller()
        .register(fd, NOTIFIER, Interest::READ, Trigger::Level);
    assert_eq!(code(refused), errno::EINVAL);
    fixture.register(fd, 1, Interest::READ, Trigger::Level);
    let refused = fixture
        .poller()
        .modify(fd, NOTIFIER, Interest::BOTH, Trigger::Level);
    assert_eq!(code(refused), errno::EINVAL);
    let refused = fixture.poller().rearm(fd, NOTIFIER, Interest::READ);
    assert_eq!(code(refused), errno::EINVAL);
    assert_eq!(fixture.next_for(1), Readiness::READ);
}

pub(super) fn two_descriptors_have_two_tokens(mut fixture: Fixture) {
    let ((one, _keep_one), (two, wake_two)) = (ready(&fixture), fixture.pair());
    fixture.register(one.number(), 1, Interest::READ, Trigger::Level);
    fixture.register(two.number(), 2, Interest::READ, Trigger::Level);
    assert_eq!(fixture.next_for(1), Readiness::READ);
    wake_two.put(b"a");
    assert_eq!(fixture.tokens(2), HashSet::from([1, 2]));
}

pub(super) fn both_directions_come_in_one_event(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    fixture.register(here.number(), 1, Interest::BOTH, Trigger::Level);
    // `next_for` fails for two events.
    assert_eq!(fixture.next_for(1), Readiness::READ | Readiness::WRITE);
}

pub(super) fn modify_changes_the_token(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    assert_eq!(fixture.next_for(1), Readiness::READ);
    fixture.modify(here.number(), 2, Interest::READ, Trigger::Level);
    assert_eq!(fixture.next_for(2), Readiness::READ);
}

pub(super) fn events_are_appended(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    let mut events = fixture.next_events();
    fixture.wait(&mut events, Some(GUARD));
    assert_eq!(events.len(), 2);
}

pub(super) fn a_removed_registration_is_never_reported(mut fixture: Fixture) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let ((gone, peer_gone), (stays, _peer)) = (ready(&fixture), ready(&fixture));
        fixture.register(gone.number(), 1, Interest::BOTH, trigger);
        fixture.register(stays.number(), 2, Interest::READ, trigger);
        fixture.remove(gone.number());
        drop(peer_gone);
        assert_eq!(fixture.next_for(2), Readiness::READ);
        fixture.remove(stays.number());
        assert_eq!(fixture.now(), []);
    }
}

pub(super) fn a_second_registration_is_refused_and_the_first_survives(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    let second = fixture
        .poller()
        .register(here.number(), 2, Interest::WRITE, Trigger::Level);
    let kind = second.as_ref().map_err(io::Error::kind);
    assert_eq!(kind, Err(io::ErrorKind::AlreadyExists));
    assert_eq!(code(second), errno::EEXIST);
    assert_eq!(fixture.next_for(1), Readiness::READ);
}

pub(super) fn what_is_not_registered_is_not_found(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    let fd = here.number();
    for _ in 0..2 {
        assert_eq!(
            code(
                fixture
                    .poller()
                    .modify(fd, 1, Interest::READ, Trigger::Level)
            ),
            errno::ENOENT
        );
        assert_eq!(
            code(fixture.poller().rearm(fd, 1, Interest::READ)),
            errno::ENOENT
        );
        assert_eq!(code(fixture.poller().remove(fd)), errno::ENOENT);
        assert_eq!(fixture.now(), [], "a refused call registers nothing");
        // In the second round the descriptor has been registered and removed.
        fixture.register(fd, 1, Interest::READ, Trigger::Level);
        fixture.remove(fd);
    }
}

pub(super) fn a_closed_descriptor_is_refused(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    let dead = here.renumbered(fixture.free_number()).number();
    for fd in [dead, -1, RawFd::MAX] {
        let register = fixture
            .poller()
            .register(fd, 1, Interest::READ, Trigger::Level);
        assert_eq!(code(register), errno::EBADF);
        assert_eq!(
            code(
                fixture
                    .poller()
                    .modify(fd, 1, Interest::READ, Trigger::Level)
            ),
            errno::EBADF
        );
        assert_eq!(
            code(fixture.poller().rearm(fd, 1, Interest::READ)),
            errno::EBADF
        );
        assert_eq!(code(fixture.poller().remove(fd)), errno::EBADF);
    }
    assert_eq!(fixture.now(), []);
}

pub(super) fn a_regular_file_and_a_directory_are_refused(mut fixture: Fixture) {
    for end in fixture.unpollable() {
        let fd = end.number();
        let refused = fixture
            .poller()
            .register(fd, 1, Interest::READ, Trigger::Level);
        let kind = refused.as_ref().map_err(io::Error::kind);
        assert_eq!(kind, Err(io::ErrorKind::PermissionDenied));
        assert_eq!(code(refused), errno::EPERM);
    }
    assert_eq!(fixture.now(), []);
}

/// epoll refuses `/dev/null` with `EPERM`, macOS with `EINVAL`; `poll(2)` and other kqueues report it
/// as ready, which is true.
pub(super) fn dev_null_is_refused_or_always_ready(mut fixture: Fixture) {
    if !fixture.backend().is_the_systems() {
        return; // a simulated kernel has no devices
    }
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .expect("every Unix has one");
    match fixture
        .poller()
        .register(null.as_raw_fd(), 1, Interest::BOTH, Trigger::Level)
    {
        Err(e) => assert!(
            matches!(e.raw_os_error(), Some(errno::EPERM | errno::EINVAL)),
            "{e}"
        ),
        Ok(()) => {
            let ready = fixture.next_for(1);
            assert_eq!(ready, Readiness::READ | Readiness::WRITE);
        }
    }
}

pub(super) fn a_duplicate_is_a_registration_of_its_own(mut fixture: Fixture) {
    let (here, _there) = ready(&fixture);
    let duplicate = here.duplicate();
    fixture.register(here.number(), 1, Interest::READ, Trigger::Level);
    fixture.register(duplicate.number(), 2, Interest::READ, Trigger::Level);
    assert_eq!(fixture.tokens(2), HashSet::from([1, 2]));
    fixture.remove(here.number());
    assert_eq!(fixture.next_for(2), Readiness::READ);
}

pub(super) fn a_number_used_again_has_the_new_token_only(mut fixture: Fixture) {
    let ((old, _old_peer), (new, new_peer)) = (ready(&fixture), fixture.pair());
    let first = old.renumbered(fixture.free_number());
    let fd = first.number();
    fixture.register(fd, 1, Interest::READ, Trigger::Level);
    fixture.remove(fd);
    drop(first);
    let _second = new.renumbered(fd);
    fixture.register(fd, 2, Interest::READ, Trigger::Level);
    assert_eq!(fixture.now(), []);
    new_peer.put(b"a");
    assert_eq!(fixture.next_for(2), Readiness::READ);
}

/// A close before the removal: `remove` returns a clear error or none, and the number can be
/// registered again.
pub(super) fn a_close_without_a_removal_does_not_block_the_number(mut fixture: Fixture) {
    let (old, _old_peer) = fixture.pair();
    let fd = {
        let fd = old.renumbered(fixture.free_number()).number();
        let first = old.renumbered(fd);
        drop(old);
        fixture.register(fd, 1, Interest::READ, Trigger::Level);
        drop(first);
        fd
    };
    if let Err(e) = fixture.poller().remove(fd) {
        assert!(
            matches!(e.raw_os_error(), Some(errno::EBADF | errno::ENOENT)),
            "{e}"
        );
    }
    let (new, _new_peer) = ready(&fixture);
    let _second = new.renumbered(fd);
    fixture.register(fd, 2, Interest::READ, Trigger::Level);
    assert_eq!(fixture.next_for(2), Readiness::READ);
}

/// A close without any removal: the number then belongs to another file, which is not registered.
pub(super) fn a_number_that_was_closed_and_used_again_is_registered_anew(mut fixture: Fixture) {
    let ((old, _old_peer), (new, _new_peer)) = (ready(&fixture), ready(&fixture));
    let first = old.renumbered(fixture.free_number());
    let fd = first.number();
    fixture.register(fd, 1, Interest::READ, Trigger::Level);
    drop((first, old));
    let _second = new.renumbered(fd);
    fixture.register(fd, 2, Interest::READ, Trigger::Level);
    assert_eq!(fixture.next_for(2), Readiness::READ);
}

pub(super) fn a_close_without_a_removal_makes_modify_an_error(mut fixture: Fixture) {
    let (old, _peer) = fixture.pair();
    let first = old.renumbered(fixture.free_number());
    let fd = first.number();
    fixture.register(fd, 1, Interest::READ, Trigger::Level);
    drop((first, old));
    let refused = code(
        fixture
            .poller()
            .modify(fd, 1, Interest::BOTH, Trigger::Level),
    );
    assert!(matches!(refused, errno::EBADF | errno::ENOENT));
}

pub(super) fn more_than_a_batch_is_served_in_bounded_waits(mut fixture: Fixture) {
    fixture.allow_many();
    let all: Vec<_> = (0..300).map(|_| ready(&fixture)).collect();
    for (token, (here, _)) in (0..).zip(&all) {
        fixture.register(here.number(), token, Interest::READ, Trigger::Level);
    }
    // `tokens` waits at most once for each descriptor.
    assert_eq!(fixture.tokens(all.len()).len(), all.len());
}

pub(super) fn more_edges_than_a_batch_are_each_reported_once(mut fixture: Fixture) {
    fixture.allow_many();
    let all: Vec<_> = (0..300).map(|_| ready(&fixture)).collect();
    for (token, (here, _)) in (0..).zip(&all) {
        fixture.register(here.number(), token, Interest::READ, Trigger::Edge);
    }
    let mut tokens = Vec::new();
    while tokens.len() < all.len() {
        tokens.extend(fixture.next_events().iter().map(|e| e.token()));
    }
    assert_eq!(fixture.now(), []);
    tokens.sort_unstable();
    assert!(tokens.iter().copied().eq(0..300));
}
