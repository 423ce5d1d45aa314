//! The unit tests of `translate.rs`.

use super::*;
use crate::poll::Trigger;
use crate::poll::kqueue::filters::filters;
use crate::poll::kqueue::filters::tests::{INTERESTS, TRIGGERS, everything_known, wanted};

const FD: usize = 7;
fn socket() -> Known {
    Known::new(FileKind::Socket)
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

/// The changes from nothing to these filters.
fn added(to: Filters) -> Changes {
    changes(FD, 42, &socket(), [None; 2], to, Interest::BOTH)
}

#[test]
fn each_trigger_has_its_flags() {
    let flags = |trigger| {
        let to = filters(&wanted(Interest::BOTH, trigger), &socket());
        listed(&added(to))
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
    let (from, to) = ([Some(Mode::Level), None], [Some(Mode::Edge), None]);
    let expected = [
        (Filter::Read, EV_DELETE),
        (Filter::Read, EV_ADD | EV_ENABLE | EV_CLEAR),
    ];
    let changes = changes(FD, 42, &socket(), from, to, Interest::NONE);
    assert_eq!(listed(&changes), expected);
}

#[test]
fn the_same_again_is_added_again_where_it_is_asked_anew() {
    let same = [Some(Mode::Edge), Some(Mode::Dispatch)];
    let again = |anew| listed(&changes(FD, 42, &socket(), same, same, anew));
    let read = (Filter::Read, EV_ADD | EV_ENABLE | EV_CLEAR);
    let write = (Filter::Write, EV_ADD | EV_ENABLE | EV_DISPATCH);
    assert_eq!(again(Interest::BOTH), [read, write]);
    assert_eq!(again(Interest::WRITE), [write]);
    assert_eq!(again(Interest::NONE), []);
}

#[test]
fn the_way_from_any_filters_to_any_others_ends_with_those() {
    let everything = || {
        let known = everything_known();
        let wanted = TRIGGERS.map(|t| INTERESTS.map(|i| wanted(i, t)));
        let wanted = wanted.concat();
        let pairs = wanted.into_iter();
        pairs.flat_map(move |w| known.clone().into_iter().map(move |k| filters(&w, &k)))
    };
    for from in everything() {
        for to in everything() {
            // A kqueue of two filters: what is added stays until removed, mode and all.
            let mut there = from.map(|mode| mode.map(flags));
            let changes = changes(FD, 42, &socket(), from, to, Interest::BOTH);
            for (filter, flags) in listed(&changes) {
                let slot = &mut there[usize::from(filter == Filter::Write)];
                if flags & EV_DELETE != 0 {
                    assert!(slot.take().is_some(), "it was not there: {from:?} {to:?}");
                } else {
                    slot.get_or_insert(flags & !(EV_ADD | EV_ENABLE));
                }
            }
            assert_eq!(there, to.map(|mode| mode.map(flags)), "{from:?} to {to:?}");
        }
    }
}
#[test]
fn no_amount_activates_a_filter_that_is_there_for_the_end_of_a_socket() {
    let of = |known: &Known| {
        let to = filters(&wanted(Interest::NONE, Trigger::Level), known);
        let changes = changes(FD, 42, known, [None; 2], to, Interest::BOTH);
        let [read] = changes.as_slice() else {
            panic!("the reading side is enough: {changes:?}")
        };
        assert_eq!(read.flags & EV_CLEAR, EV_CLEAR);
        (read.fflags, read.data)
    };
    assert_eq!(of(&socket()), (NOTE_LOWAT, i64::from(i32::MAX)));
    // Pipes and devices have no such mark, or refuse it.
    assert_eq!(of(&Known::new(FileKind::Pipe)), (0, 0));
    let device = Known {
        by_the_byte: true,
        ..Known::new(FileKind::Device)
    };
    assert_eq!(of(&device), (NOTE_LOWAT, 1));
}

#[test]
fn what_has_gone_already_is_removed_without_an_error() {
    let both = [Some(Mode::Level); 2];
    let removal = changes(FD, 42, &socket(), both, [None; 2], Interest::NONE);
    let gone = outcome(
        &removal,
        &[errno::ENOENT, errno::EBADF],
        false,
        [[None; 2]; 2],
    );
    assert_eq!(gone.map(|outcome| outcome.filters), Ok([None; 2]));
    assert_eq!(
        outcome(&removal, &[errno::EINVAL, 0], false, [[None; 2]; 2]),
        Err(errno::EINVAL)
    );
}

#[test]
fn a_pipe_without_a_reader_is_added_without_an_error_but_broken() {
    let to = [None, Some(Mode::Dispatch)];
    let added = added(to);
    let broken = Ok(Outcome {
        filters: [None; 2],
        broken: true,
        end_refused: false,
    });
    assert_eq!(
        outcome(&added, &[errno::EPIPE], false, [[None; 2], to]),
        broken
    );
    for code in [errno::ENOENT, errno::EBADF] {
        assert_eq!(outcome(&added, &[code], false, [[None; 2], to]), Err(code));
    }
    let netbsd = outcome(&added, &[errno::EBADF], true, [[None; 2], to]);
    assert_eq!(netbsd, broken, "what NetBSD says of a pipe");
}

#[test]
fn a_registration_does_not_fail_for_a_filter_that_was_not_asked_for() {
    let to = [Some(Mode::Level), Some(Mode::End)];
    let added = added(to);
    for (code, end_refused) in [(errno::EINVAL, true), (errno::ENOMEM, false)] {
        let expected = Ok(Outcome {
            filters: [Some(Mode::Level), None],
            broken: false,
            end_refused,
        });
        assert_eq!(outcome(&added, &[0, code], true, [[None; 2], to]), expected);
        assert_eq!(
            outcome(&added, &[code, 0], true, [[None; 2], to]),
            Err(code)
        );
    }
}

#[test]
fn a_filter_for_the_end_that_is_refused_where_it_is_already_is_there_still() {
    let both = [Some(Mode::End), None];
    let again = changes(FD, 42, &socket(), both, both, Interest::READ);
    let kept = outcome(&again, &[errno::ENOMEM], true, [both, both]);
    assert_eq!(kept.map(|outcome| outcome.filters), Ok(both));
    let from = [Some(Mode::Level), None];
    let replaced = changes(FD, 42, &socket(), from, both, Interest::NONE);
    let gone = outcome(&replaced, &[0, errno::ENOMEM], true, [from, both]);
    assert_eq!(gone.map(|outcome| outcome.filters), Ok([None; 2]));
}

#[test]
fn undoing_takes_all_out_and_puts_back_what_was() {
    let (read, write) = (Filter::Read, Filter::Write);
    let expected = [
        (read, EV_DELETE),
        (read, EV_ADD | EV_CLEAR),
        (write, EV_DELETE),
    ];
    let undone = |old| listed(&undoing(FD, 42, &socket(), old));
    assert_eq!(undone([Some(Mode::Edge), None]), expected);
    assert_eq!(undone([None; 2]), [(read, EV_DELETE), (write, EV_DELETE)]);
}

fn said(filter: Filter, flags: u32, fflags: u32) -> Kevent {
    Kevent {
        ident: FD,
        filter,
        flags,
        fflags,
        data: 0,
        udata: 42,
    }
}

#[test]
fn an_end_of_file_closes_the_direction_of_its_filter_only() {
    let say = |filter, flags, fflags| {
        let event = said(filter, flags, fflags);
        from_kevent(&event, Some(Mode::Level), &mut socket())
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
    for filter in [Filter::Read, Filter::Write] {
        let reset = say(filter, EV_EOF, 54);
        assert_eq!(reset, OVER | Readiness::ERROR, "an error ends both");
    }
    assert_eq!(say(Filter::User, EV_EOF, 0), Readiness::NONE);
}

/// The two ends in either order, wanted or watched: once both are known, each event says so.
#[test]
fn two_ends_of_file_are_a_hangup_whichever_comes_first_and_whatever_the_interest() {
    let filters = [Filter::Read, Filter::Write];
    for (first, second) in [(0, 1), (1, 0)] {
        for modes in [
            [Mode::Level, Mode::End],
            [Mode::End, Mode::Level],
            [Mode::End; 2],
        ] {
            let mut known = socket();
            let mut say = |at: usize, flags| {
                from_kevent(&said(filters[at], flags, 0), Some(modes[at]), &mut known)
            };
            let half = say(first, EV_EOF);
            assert!(!half.is_hangup(), "{half:?}");
            assert_eq!(half == Readiness::NONE, modes[first] == Mode::End);
            assert_eq!(say(second, EV_EOF), OVER);
            assert_eq!(say(first, EV_EOF), OVER, "it is remembered");
            assert!(known.is_over());
        }
    }
}

#[test]
fn an_arrival_where_only_the_end_is_of_interest_says_nothing() {
    let mut known = socket();
    assert_eq!(
        from_kevent(&said(Filter::Write, 0, 0), Some(Mode::End), &mut known),
        Readiness::NONE
    );
    // An error is reported whatever the interest.
    let reset = from_kevent(&said(Filter::Read, EV_EOF, 54), Some(Mode::End), &mut known);
    assert!(reset.is_hangup());
}

#[test]
fn one_end_of_file_of_a_pipe_is_both_until_it_is_opened_again() {
    for filter in [Filter::Read, Filter::Write] {
        let mut known = Known::new(FileKind::Pipe);
        let over = from_kevent(&said(filter, EV_EOF, 0), Some(Mode::Level), &mut known);
        assert_eq!(over, OVER);
        let opened = from_kevent(&said(filter, 0, 0), Some(Mode::Level), &mut known);
        assert!(!opened.is_hangup() && !known.is_over(), "{opened:?}");
    }
}
