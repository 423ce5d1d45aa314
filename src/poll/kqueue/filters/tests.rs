//! The unit tests of `filters.rs`.

use super::*;

pub(in crate::poll::kqueue) const TRIGGERS: [Trigger; 3] =
    [Trigger::Level, Trigger::Edge, Trigger::OneShot];
pub(in crate::poll::kqueue) const INTERESTS: [Interest; 4] = [
    Interest::NONE,
    Interest::READ,
    Interest::WRITE,
    Interest::BOTH,
];
const KINDS: [FileKind; 3] = [FileKind::Socket, FileKind::Pipe, FileKind::Other];

pub(in crate::poll::kqueue) fn wanted(interest: Interest, trigger: Trigger) -> Wanted {
    Wanted {
        token: 42,
        interest,
        trigger,
    }
}

/// All that can be known.
pub(in crate::poll::kqueue) fn everything_known() -> Vec<Known> {
    let mut all = Vec::new();
    for kind in KINDS {
        for bits in 0..8 {
            let ended = match bits & 3 {
                0 => Readiness::NONE,
                1 => Readiness::READ_CLOSED,
                2 => Readiness::WRITE_CLOSED,
                _ => CLOSED,
            };
            all.push(Known {
                ended,
                room_reported: bits & 4 != 0,
                ..Known::new(kind)
            });
        }
    }
    all
}

/// On every input there is: what is wanted is asked for, and what is not, only for its end.
#[test]
fn a_direction_without_interest_is_watched_for_its_end_only_where_that_is_news() {
    for known in everything_known() {
        for trigger in TRIGGERS {
            for interest in INTERESTS {
                let [read, write] = filters(&wanted(interest, trigger), &known);
                let what = format!("{known:?} {trigger:?} {interest:?}: {read:?} {write:?}");
                let wants = |mode: Option<Mode>| !matches!(mode, None | Some(Mode::End));
                assert_eq!(wants(read), interest.contains(Interest::READ), "{what}");
                let is_pipe = known.kind == FileKind::Pipe;
                let ended = |side| known.ended.contains(side) && !is_pipe;
                let disabled = known.room_reported
                    && trigger == Trigger::Edge
                    && interest.contains(Interest::WRITE);
                if disabled && ended(Readiness::READ_CLOSED) {
                    assert_eq!(write, Some(Mode::End), "{what}");
                } else {
                    assert_eq!(wants(write), interest.contains(Interest::WRITE), "{what}");
                }
                if !wants(write) {
                    assert_eq!(write.is_some(), ended(Readiness::READ_CLOSED), "{what}");
                }
                if !wants(read) {
                    let silent = interest == Interest::NONE || disabled;
                    let watched = silent || is_pipe || ended(Readiness::WRITE_CLOSED);
                    assert_eq!(read.is_some(), watched, "{what}");
                }
            }
        }
    }
}

#[test]
fn an_end_is_repeated_by_us_only_by_the_level_and_where_no_filter_repeats_it() {
    for trigger in TRIGGERS {
        for interest in INTERESTS {
            for kind in KINDS {
                let silent = match interest {
                    Interest::NONE => true,
                    Interest::WRITE => kind == FileKind::Pipe,
                    _ => false,
                };
                let (wanted, known) = (wanted(interest, trigger), Known::new(kind));
                let expected = silent && trigger == Trigger::Level;
                assert_eq!(repeats(&wanted, &known, OVER), expected);
                assert!(!repeats(&wanted, &known, Readiness::READ));
            }
        }
    }
}
