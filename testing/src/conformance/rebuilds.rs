//! Promises about a poller that is rebuilt: what it watches from then on, what it refuses, and that no
//! notification is lost or made up.
//!
//! A poller that does not support this returns `false`, and goes on as before.
//!
//! In the notes this is the selector (N2).

use super::Fixture;
use super::registrations::ready;
use super::waits::{no_notification_comes, wait_for_a_notification};
use readily::poll::{NOTIFIER, Watched};
use readily::{Interest, Trigger};
use std::io;
use std::os::fd::RawFd;

/// Of those that are left out, none is an error, and of two entries for a descriptor the first counts.
pub(super) fn a_rebuilt_poller_watches_what_it_was_given_and_nothing_else(mut fixture: Fixture) {
    let (left, kept) = (ready(&fixture), ready(&fixture));
    for (token, (here, _)) in [(1, &left), (2, &kept)] {
        fixture.register(here.number(), token, Interest::READ, Trigger::Level);
    }
    let mut all = vec![watch(kept.0.number(), 3), watch(kept.0.number(), 4)];
    all.push(watch(fixture.free_number(), 5));
    let unpollable = fixture.unpollable();
    all.extend(unpollable.iter().map(|it| watch(it.number(), 6)));
    let rebuilt = fixture.poller().rebuild(&all);
    let rebuilt = rebuilt.unwrap_or_else(|error| panic!("it was not rebuilt: {error}"));
    let expected: &[u64] = if rebuilt { &[3] } else { &[1, 2] };
    assert_eq!(tokens_now(&mut fixture), expected);
    if rebuilt {
        fixture.register(left.0.number(), 7, Interest::READ, Trigger::Level);
        assert_eq!(tokens_now(&mut fixture), [3, 7]);
    }
}

pub(super) fn rebuilding_refuses_the_notifiers_token_and_changes_nothing_then(
    mut fixture: Fixture,
) {
    let (one, two) = (ready(&fixture), ready(&fixture));
    for (token, (here, _)) in [(1, &one), (2, &two)] {
        fixture.register(here.number(), token, Interest::READ, Trigger::Level);
    }
    let all = [watch(one.0.number(), 3), watch(two.0.number(), NOTIFIER)];
    let refused = fixture.poller().rebuild(&all);
    let refused = refused.expect_err("that token is the poller's own");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(tokens_now(&mut fixture), [1, 2]);
}

pub(super) fn rebuilding_keeps_a_notification_and_makes_none(mut fixture: Fixture) {
    let notifier = fixture.poller().notifier();
    for _ in 0..2 {
        notifier.notify();
        wait_for_a_notification(&mut fixture);
        fixture.poller().rebuild(&[]).expect("it can be made anew");
        no_notification_comes(&mut fixture);
        notifier.notify();
        fixture.poller().rebuild(&[]).expect("it can be made anew");
        wait_for_a_notification(&mut fixture);
        no_notification_comes(&mut fixture);
    }
}

fn watch(fd: RawFd, token: u64) -> Watched {
    Watched {
        fd,
        token,
        interest: Interest::READ,
        trigger: Trigger::Level,
    }
}

fn tokens_now(fixture: &mut Fixture) -> Vec<u64> {
    let mut tokens: Vec<_> = fixture.now().iter().map(|event| event.token()).collect();
    tokens.sort_unstable();
    tokens
}
