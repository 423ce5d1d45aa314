//! Promises about registrations: who is registered, under which token, and what is refused.
//!
//! The errors are the same in all pollers, so that whoever stands above need not ask which one
//! it is. That a kernel forgets what was closed behind its back, and another does not, is allowed
//! for; that it reports it to the number's next owner is not.
//!
//! In the notes this is "register" and "cancel the registration" (N7).

use super::{Fixture, GUARD, TestFd};
use readily::poll::NOTIFIER;
use readily::{Interest, Readiness, Trigger};
use readily_sys::errno;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

fn code(answer: io::Result<()>) -> i32 {
    answer
        .expect_err("refused")
        .raw_os_error()
        .expect("an error of the system")
}

/// A descriptor with something to read, and what keeps it so.
fn ready(fixture: &Fixture) -> (TestFd, TestFd) {
    let (here, there) = fixture.pair();
    there.put(b"a");
    (here, there)
}

pub(super) fn a_token_comes_back_whole(mut fixture: Fixture) {
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

/// That one is for the poller's own notifier: under it an event would be taken for a ring.
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
    // `next_for` fails for two events; the sum is to be in the one.
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
        assert_eq!(fixture.now(), [], "asking about it has not registered it");
        // The second time round it is one that has been removed.
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

/// epoll refuses it with `EPERM`, macOS with `EINVAL`; `poll(2)` and other kqueues say that
/// it is ready, which is true.
pub(super) fn dev_null_is_refused_or_always_ready(mut fixture: Fixture) {
    if !fixture.backend().is_the_systems() {
        return; // there is none
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

/// What happens to whoever closes before removing: a clear error or none, and no trace that
/// keeps the number's next owner out.
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

/// The same without even the removal: the number stands for another file, which nobody has registered.
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

pub(super) fn a_close_behind_our_back_makes_modify_an_error(mut fixture: Fixture) {
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
    // As many waits as there are descriptors, at most.
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
        tokens.extend(fixture.next_events().iter().map(|e| e.token));
    }
    assert_eq!(fixture.now(), []);
    tokens.sort_unstable();
    assert!(tokens.iter().copied().eq(0..300));
}
