//! Who is registered, under which token, and what is refused.

use std::collections::HashSet;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};

use readily::poll::{Interest, NOTIFIER, Readiness, Trigger};

use super::kit::{End, GUARD, World, allow_many, next, next_for, now, tokens};

fn code(answer: io::Result<()>) -> i32 {
    answer
        .expect_err("refused")
        .raw_os_error()
        .expect("an error of the system")
}

/// A descriptor with something to read, and what keeps it so.
fn ready(poller: &World) -> (End, End) {
    let (here, there) = poller.pair();
    (&there).write_all(b"a").unwrap();
    (here, there)
}

pub fn a_token_comes_back_whole(mut poller: World) {
    let (here, _there) = ready(&poller);
    for token in [
        0,
        1,
        u64::from(u32::MAX),
        1 << 63,
        0x0123_4567_89ab_cdef,
        NOTIFIER - 1,
    ] {
        poller
            .register(here.number(), token, Interest::READ, Trigger::Level)
            .unwrap();
        assert_eq!(next_for(&mut *poller, token), Readiness::READ);
        poller.remove(here.number()).unwrap();
    }
}

pub fn two_descriptors_have_two_tokens(mut poller: World) {
    let ((one, _keep_one), (two, wake_two)) = (ready(&poller), poller.pair());
    poller
        .register(one.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    poller
        .register(two.number(), 2, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    (&wake_two).write_all(b"a").unwrap();
    assert_eq!(tokens(&mut *poller, 2), HashSet::from([1, 2]));
}

pub fn both_directions_come_in_one_event(mut poller: World) {
    let (here, _there) = ready(&poller);
    poller
        .register(here.number(), 1, Interest::BOTH, Trigger::Level)
        .unwrap();
    // `next_for` fails for two events; the sum is to be in the one.
    assert_eq!(
        next_for(&mut *poller, 1),
        Readiness::READ | Readiness::WRITE
    );
}

pub fn modify_changes_the_token(mut poller: World) {
    let (here, _there) = ready(&poller);
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
    poller
        .modify(here.number(), 2, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 2), Readiness::READ);
}

pub fn events_are_appended(mut poller: World) {
    let (here, _there) = ready(&poller);
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    let mut events = next(&mut *poller);
    poller.wait(&mut events, Some(GUARD)).unwrap();
    assert_eq!(events.len(), 2);
}

pub fn a_removed_registration_is_never_reported(mut poller: World) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        let ((gone, peer_gone), (stays, _peer)) = (ready(&poller), ready(&poller));
        poller
            .register(gone.number(), 1, Interest::BOTH, trigger)
            .unwrap();
        poller
            .register(stays.number(), 2, Interest::READ, trigger)
            .unwrap();
        poller.remove(gone.number()).unwrap();
        drop(peer_gone);
        assert_eq!(next_for(&mut *poller, 2), Readiness::READ);
        poller.remove(stays.number()).unwrap();
        assert_eq!(now(&mut *poller), []);
    }
}

pub fn a_second_registration_is_refused_and_the_first_survives(mut poller: World) {
    let (here, _there) = ready(&poller);
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    let second = poller.register(here.number(), 2, Interest::WRITE, Trigger::Level);
    assert_eq!(
        second.as_ref().unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(code(second), libc::EEXIST);
    assert_eq!(next_for(&mut *poller, 1), Readiness::READ);
}

pub fn what_is_not_registered_is_not_found(mut poller: World) {
    let (here, _there) = ready(&poller);
    let fd = here.number();
    for _ in 0..2 {
        assert_eq!(
            code(poller.modify(fd, 1, Interest::READ, Trigger::Level)),
            libc::ENOENT
        );
        assert_eq!(code(poller.rearm(fd, 1, Interest::READ)), libc::ENOENT);
        assert_eq!(code(poller.remove(fd)), libc::ENOENT);
        assert_eq!(
            now(&mut *poller),
            [],
            "asking about it has not registered it"
        );
        // The second time round it is one that has been removed.
        poller
            .register(fd, 1, Interest::READ, Trigger::Level)
            .unwrap();
        poller.remove(fd).unwrap();
    }
}

pub fn a_closed_descriptor_is_refused(mut poller: World) {
    let (here, _there) = ready(&poller);
    let dead = here.renumbered(poller.free_number()).number();
    for fd in [dead, -1, RawFd::MAX] {
        let register = poller.register(fd, 1, Interest::READ, Trigger::Level);
        assert_eq!(code(register), libc::EBADF);
        assert_eq!(
            code(poller.modify(fd, 1, Interest::READ, Trigger::Level)),
            libc::EBADF
        );
        assert_eq!(code(poller.rearm(fd, 1, Interest::READ)), libc::EBADF);
        assert_eq!(code(poller.remove(fd)), libc::EBADF);
    }
    assert_eq!(now(&mut *poller), []);
}

pub fn a_regular_file_and_a_directory_are_refused(mut poller: World) {
    for end in poller.unpollable() {
        let fd = end.number();
        let refused = poller.register(fd, 1, Interest::READ, Trigger::Level);
        assert_eq!(
            refused.as_ref().unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert_eq!(code(refused), libc::EPERM);
    }
    assert_eq!(now(&mut *poller), []);
}

/// epoll refuses it with `EPERM`, macOS with `EINVAL`; `poll(2)` and other kqueues say that
/// it is ready, which is true.
pub fn dev_null_is_refused_or_always_ready(mut poller: World) {
    if poller.is_in_memory() {
        return; // there is none
    }
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    match poller.register(null.as_raw_fd(), 1, Interest::BOTH, Trigger::Level) {
        Err(e) => assert!(
            matches!(e.raw_os_error(), Some(libc::EPERM | libc::EINVAL)),
            "{e}"
        ),
        Ok(()) => {
            let ready = next_for(&mut *poller, 1);
            assert_eq!(ready, Readiness::READ | Readiness::WRITE);
        }
    }
}

pub fn a_duplicate_is_a_registration_of_its_own(mut poller: World) {
    let (here, _there) = ready(&poller);
    let twin = here.try_clone();
    poller
        .register(here.number(), 1, Interest::READ, Trigger::Level)
        .unwrap();
    poller
        .register(twin.number(), 2, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(tokens(&mut *poller, 2), HashSet::from([1, 2]));
    poller.remove(here.number()).unwrap();
    assert_eq!(next_for(&mut *poller, 2), Readiness::READ);
}

pub fn a_number_used_again_has_the_new_token_only(mut poller: World) {
    let ((old, _old_peer), (new, new_peer)) = (ready(&poller), poller.pair());
    let first = old.renumbered(poller.free_number());
    let fd = first.number();
    poller
        .register(fd, 1, Interest::READ, Trigger::Level)
        .unwrap();
    poller.remove(fd).unwrap();
    drop(first);
    let _second = new.renumbered(fd);
    poller
        .register(fd, 2, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(now(&mut *poller), []);
    (&new_peer).write_all(b"a").unwrap();
    assert_eq!(next_for(&mut *poller, 2), Readiness::READ);
}

/// What happens to whoever closes before removing: a clear error or none, and no trace that
/// keeps the number's next owner out.
pub fn a_close_without_a_removal_does_not_block_the_number(mut poller: World) {
    let (old, _old_peer) = poller.pair();
    let fd = {
        let fd = old.renumbered(poller.free_number()).number();
        let first = old.renumbered(fd);
        drop(old);
        poller
            .register(fd, 1, Interest::READ, Trigger::Level)
            .unwrap();
        drop(first);
        fd
    };
    if let Err(e) = poller.remove(fd) {
        assert!(
            matches!(e.raw_os_error(), Some(libc::EBADF | libc::ENOENT)),
            "{e}"
        );
    }
    let (new, _new_peer) = ready(&poller);
    let _second = new.renumbered(fd);
    poller
        .register(fd, 2, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(next_for(&mut *poller, 2), Readiness::READ);
}

pub fn a_close_behind_our_back_makes_modify_an_error(mut poller: World) {
    let (old, _peer) = poller.pair();
    let first = old.renumbered(poller.free_number());
    let fd = first.number();
    poller
        .register(fd, 1, Interest::READ, Trigger::Level)
        .unwrap();
    drop((first, old));
    let refused = code(poller.modify(fd, 1, Interest::BOTH, Trigger::Level));
    assert!(matches!(refused, libc::EBADF | libc::ENOENT));
}

pub fn more_than_a_batch_is_served_in_bounded_waits(mut poller: World) {
    allow_many();
    let all: Vec<_> = (0..300).map(|_| ready(&poller)).collect();
    for (token, (here, _)) in (0..).zip(&all) {
        poller
            .register(here.number(), token, Interest::READ, Trigger::Level)
            .unwrap();
    }
    // As many waits as there are descriptors, at most.
    assert_eq!(tokens(&mut *poller, all.len()).len(), all.len());
}

pub fn more_edges_than_a_batch_are_each_told_once(mut poller: World) {
    allow_many();
    let all: Vec<_> = (0..300).map(|_| ready(&poller)).collect();
    for (token, (here, _)) in (0..).zip(&all) {
        poller
            .register(here.number(), token, Interest::READ, Trigger::Edge)
            .unwrap();
    }
    let mut tokens = Vec::new();
    while tokens.len() < all.len() {
        tokens.extend(next(&mut *poller).iter().map(|e| e.token));
    }
    assert_eq!(now(&mut *poller), []);
    tokens.sort_unstable();
    assert!(tokens.iter().copied().eq(0..300));
}
