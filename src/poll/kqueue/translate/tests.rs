//! The unit tests of `translate.rs`.

use super::*;

const FD: usize = 7;

fn wanted(interest: Interest, trigger: Trigger) -> Wanted {
    Wanted {
        token: 42,
        interest,
        trigger,
    }
}

fn listed(changes: &Changes) -> Vec<(Filter, u32)> {
    for change in changes.as_slice() {
        assert_eq!(change.ident, FD);
        assert_ne!(change.flags & EV_RECEIPT, 0, "a change without a receipt");
    }
    changes
        .as_slice()
        .iter()
        .map(|c| (c.filter, c.flags & !EV_RECEIPT))
        .collect()
}

#[test]
fn each_trigger_has_its_flags() {
    let flags = |trigger| {
        listed(&changes(FD, None, Some(&wanted(Interest::BOTH, trigger))))
            .iter()
            .map(|(_, flags)| flags & !(EV_ADD | EV_ENABLE))
            .collect::<Vec<_>>()
    };
    assert_eq!(flags(Trigger::Level), [0, 0]);
    assert_eq!(flags(Trigger::Edge), [EV_CLEAR, EV_DISPATCH]);
    assert_eq!(flags(Trigger::OneShot), [EV_DISPATCH, EV_DISPATCH]);
}

#[test]
fn another_mode_takes_a_removal_and_an_addition() {
    let (old, new) = (
        wanted(Interest::READ, Trigger::Level),
        wanted(Interest::READ, Trigger::Edge),
    );
    let expected = [
        (Filter::Read, EV_DELETE),
        (Filter::Read, EV_ADD | EV_ENABLE | EV_CLEAR),
    ];
    assert_eq!(listed(&changes(FD, Some(&old), Some(&new))), expected);
}

#[test]
fn the_same_again_is_added_again_so_that_it_is_asked_anew() {
    let same = wanted(Interest::WRITE, Trigger::OneShot);
    let expected = [(Filter::Write, EV_ADD | EV_ENABLE | EV_DISPATCH)];
    assert_eq!(listed(&changes(FD, Some(&same), Some(&same))), expected);
    assert_eq!(listed(&rearming(FD, &same, Interest::BOTH)), expected);
}

#[test]
fn the_way_from_any_interest_to_any_other_ends_with_what_is_wanted() {
    let triggers = [Trigger::Level, Trigger::Edge, Trigger::OneShot];
    let interests = [
        Interest::NONE,
        Interest::READ,
        Interest::WRITE,
        Interest::BOTH,
    ];
    let all = || {
        triggers
            .iter()
            .flat_map(|&t| interests.iter().map(move |&i| wanted(i, t)))
    };
    for (old, new) in all().flat_map(|old| all().map(move |new| (old, new))) {
        // A kqueue of two filters: what is added stays until removed, mode and all.
        let mut there = [Filter::Read, Filter::Write].map(|filter| {
            let bit = FILTERS
                .iter()
                .find(|(f, _)| *f == filter)
                .expect("a filter of ours")
                .1;
            old.interest
                .contains(bit)
                .then(|| mode(filter, old.trigger))
        });
        for (filter, flags) in listed(&changes(FD, Some(&old), Some(&new))) {
            let slot = &mut there[usize::from(filter == Filter::Write)];
            if flags & EV_DELETE != 0 {
                assert!(
                    slot.take().is_some(),
                    "removed what is not there: {old:?} {new:?}"
                );
            } else {
                slot.get_or_insert(flags & !(EV_ADD | EV_ENABLE));
            }
        }
        let expected =
            FILTERS.map(|(f, bit)| new.interest.contains(bit).then(|| mode(f, new.trigger)));
        assert_eq!(there, expected, "{old:?} to {new:?}");
    }
}

#[test]
fn what_has_gone_already_is_removed_without_an_error() {
    let removal = changes(FD, Some(&wanted(Interest::BOTH, Trigger::Level)), None);
    assert_eq!(
        outcome(&removal, &[errno::ENOENT, errno::EBADF], false),
        Outcome::Done
    );
    assert_eq!(
        outcome(&removal, &[errno::EINVAL, 0], false),
        Outcome::Failed(errno::EINVAL)
    );
}

#[test]
fn a_pipe_without_a_reader_is_added_without_an_error_but_broken() {
    let added = changes(FD, None, Some(&wanted(Interest::WRITE, Trigger::Edge)));
    assert_eq!(outcome(&added, &[errno::EPIPE], false), Outcome::Broken);
    assert_eq!(
        outcome(&added, &[errno::ENOENT], false),
        Outcome::Failed(errno::ENOENT)
    );
    assert_eq!(
        outcome(&added, &[errno::EBADF], false),
        Outcome::Failed(errno::EBADF)
    );
    assert_eq!(
        outcome(&added, &[errno::EBADF], true),
        Outcome::Broken,
        "what NetBSD says of a pipe"
    );
}

#[test]
fn undoing_takes_all_out_and_puts_back_what_was() {
    let old = wanted(Interest::READ, Trigger::Edge);
    let (read, write) = (Filter::Read, Filter::Write);
    let expected = [
        (read, EV_DELETE),
        (read, EV_ADD | EV_CLEAR),
        (write, EV_DELETE),
    ];
    assert_eq!(listed(&undoing(FD, Some(&old))), expected);
    assert_eq!(
        listed(&undoing(FD, None)),
        [(read, EV_DELETE), (write, EV_DELETE)]
    );
}

#[test]
fn an_end_of_file_closes_the_direction_of_its_filter_only() {
    let say = |filter, flags, fflags| {
        reported(&Kevent {
            ident: FD,
            filter,
            flags,
            fflags,
            data: 0,
            udata: 42,
        })
    };
    assert_eq!(say(Filter::Read, EV_ADD | EV_CLEAR, 0), Readiness::READ);
    assert_eq!(say(Filter::Write, 0, 0), Readiness::WRITE);
    assert_eq!(
        say(Filter::Read, EV_EOF, 0),
        Readiness::READ | Readiness::READ_CLOSED
    );
    assert_eq!(
        say(Filter::Write, EV_EOF, 0),
        Readiness::WRITE | Readiness::WRITE_CLOSED
    );
    let reset = say(Filter::Read, EV_EOF, 54);
    assert!(reset.is_hangup() && reset.contains(Readiness::READ | Readiness::WRITE));
    assert!(!reset.contains(Readiness::WRITE_CLOSED));
    assert_eq!(say(Filter::User, EV_EOF, 0), Readiness::NONE);
}
