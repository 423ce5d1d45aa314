//! Pollers that are broken on purpose, one thing each, and the promises that they are caught by.
//!
//! A suite that passes says little until it has been seen to fail. So each way to be broken names
//! promises that must notice; and each promise must notice a broken poller, or it may be one that
//! cannot be broken. They stand over the kernel in memory, where a failure takes no time.

#[path = "broken_poller.rs"]
mod broken_poller;

use broken_poller::{Broken, Way};
use readily::poll::poll2::PollPoller;
use readily_testing::Kernel;
use readily_testing::conformance::{Fixture, PROMISES, Promise};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Each way to be broken, and who must notice.
const WAYS: &[(Way, &[&str])] = &[
    (
        Way::LevelIsEdge,
        &[
            "a_level_event_repeats_until_drained",
            "modify_asks_anew_under_every_trigger",
            "a_listener_is_readable_while_a_connection_waits",
        ],
    ),
    (
        Way::EdgeIsLevel,
        &[
            "an_edge_is_reported_once_and_again_for_new_data",
            "a_hangup_by_the_edge_is_reported_once",
            "a_listener_by_the_edge_reports_each_arrival",
            "more_edges_than_a_batch_are_each_reported_once",
        ],
    ),
    (
        Way::OneShotIsLevel,
        &[
            "a_oneshot_is_silent_until_modified",
            "a_oneshot_in_one_direction_silences_the_other",
            "rearming_leaves_level_and_oneshot_alone",
        ],
    ),
    (
        Way::OneShotIsEdge,
        &[
            "a_oneshot_is_silent_until_modified",
            "a_oneshot_in_one_direction_silences_the_other",
        ],
    ),
    (
        Way::DropsEveryOtherEdge,
        &[
            "an_edge_is_reported_once_and_again_for_new_data",
            "a_writing_edge_comes_with_every_room_that_is_made",
            "an_edge_in_one_direction_leaves_the_other_waiting",
            "an_edge_for_data_is_followed_by_one_for_the_hangup",
        ],
    ),
    (
        Way::ForgetsWhatWasBefore,
        &["an_edge_before_the_registration_is_reported"],
    ),
    (
        Way::ClaimsToRearm,
        &["rearming_reports_again_what_still_holds"],
    ),
    (
        Way::RearmsAnything,
        &["rearming_leaves_level_and_oneshot_alone"],
    ),
    (
        Way::ModifyTellsNothing,
        &["modify_asks_anew_under_every_trigger"],
    ),
    (
        Way::ModifyAddsInterest,
        &["modify_takes_the_new_interest_alone"],
    ),
    (Way::ModifyKeepsToken, &["modify_changes_the_token"]),
    (
        Way::ModifyRegisters,
        &["what_is_not_registered_is_not_found"],
    ),
    (
        Way::ModifyNeverFails,
        &[
            "a_close_behind_our_back_makes_modify_an_error",
            "a_closed_descriptor_is_refused",
        ],
    ),
    (Way::NoInterestIsRead, &["no_interest_is_silent_about_data"]),
    (
        Way::AddsRead,
        &[
            "modify_takes_the_new_interest_alone",
            "a_half_close_is_no_news_to_a_writer",
        ],
    ),
    (
        Way::AlwaysWritable,
        &["a_full_buffer_is_not_writable_until_drained"],
    ),
    (
        Way::NeverWritable,
        &["a_connection_that_is_through_is_writable"],
    ),
    (
        Way::TellsEachDirectionApart,
        &["both_directions_come_in_one_event"],
    ),
    (Way::CutsTokens, &["a_token_comes_back_whole"]),
    (Way::TakesItsOwnToken, &["the_notifiers_token_is_refused"]),
    (
        Way::OneTokenForAll,
        &[
            "two_descriptors_have_two_tokens",
            "a_duplicate_is_a_registration_of_its_own",
        ],
    ),
    (
        Way::OneTokenForANumber,
        &["a_number_used_again_has_the_new_token_only"],
    ),
    (Way::ClearsTheList, &["events_are_appended"]),
    (
        Way::RemovesNothing,
        &["a_removed_registration_is_never_reported"],
    ),
    (
        Way::RemovesAll,
        &[
            "a_removed_registration_is_never_reported",
            "a_duplicate_is_a_registration_of_its_own",
        ],
    ),
    (
        Way::RemovesTwice,
        &[
            "what_is_not_registered_is_not_found",
            "a_closed_descriptor_is_refused",
        ],
    ),
    (
        Way::RegistersTwice,
        &["a_second_registration_is_refused_and_the_first_survives"],
    ),
    (
        Way::RemembersNumbers,
        &[
            "a_close_without_a_removal_does_not_block_the_number",
            "a_number_that_was_closed_and_used_again_is_registered_anew",
        ],
    ),
    (Way::RefusesAll, &["dev_null_is_refused_or_always_ready"]),
    (
        Way::TakesFiles,
        &["a_regular_file_and_a_directory_are_refused"],
    ),
    (
        Way::ServesTheFirst,
        &["more_than_a_batch_is_served_in_bounded_waits"],
    ),
    (
        Way::LosesALongBatch,
        &["more_edges_than_a_batch_are_each_reported_once"],
    ),
    (
        Way::HalfIsWhole,
        &[
            "a_half_close_is_readable_and_no_hangup",
            "data_before_a_half_close_stays_readable",
        ],
    ),
    (
        Way::ErrorEverywhere,
        &[
            "data_and_room_are_no_hangup",
            "an_own_half_close_is_no_hangup",
        ],
    ),
    (
        Way::ClosedIsNotReadable,
        &[
            "data_before_a_half_close_stays_readable",
            "data_before_a_hangup_stays_readable",
            "an_empty_pipe_without_a_writer_is_readable",
            "a_hangup_by_the_edge_is_reported_once",
        ],
    ),
    (
        Way::NoHangup,
        &[
            "a_full_close_is_a_hangup",
            "a_pipe_without_a_reader_is_reported_to_its_writer",
            "a_full_pipe_without_a_reader_is_reported_to_its_writer",
            "a_reset_is_a_hangup_and_leaves_its_error",
            "a_refused_connection_is_writable_with_its_error",
        ],
    ),
    (
        Way::EndsOfWhatIsAsked,
        &[
            "a_full_close_is_a_hangup_whatever_was_asked_for",
            "a_hangup_is_reported_without_any_interest",
            "a_half_close_that_becomes_whole_is_a_hangup",
        ],
    ),
    (
        Way::EndsOnce,
        &["the_end_of_a_pipe_is_reported_again_and_again_by_the_level"],
    ),
    (
        Way::UrgentEverywhere,
        &["urgent_data_is_not_reported_without_priority_interest"],
    ),
    (
        Way::UrgentNowhere,
        &["urgent_data_is_reported_with_priority_interest"],
    ),
    (Way::LooksForASecond, &["a_zero_timeout_only_looks"]),
    (
        Way::NeverWaits,
        &[
            "a_timeout_is_never_early",
            "no_timeout_lasts_until_a_notification",
        ],
    ),
    (
        Way::RoundsDown,
        &[
            "a_timeout_is_never_early",
            "a_deadline_is_reached_without_spinning",
        ],
    ),
    (
        Way::CountsIn32Bits,
        &[
            "the_longest_timeout_lasts_until_a_notification",
            "a_timeout_of_many_days_lasts_until_a_notification",
        ],
    ),
    (
        Way::HearsTwice,
        &[
            "a_notification_before_the_wait_ends_it",
            "many_notifications_between_two_waits_count_once",
        ],
    ),
    (
        Way::HidesNotifications,
        &[
            "a_notification_before_the_wait_ends_it",
            "a_notification_during_the_wait_ends_it",
            "many_notifications_between_two_waits_count_once",
        ],
    ),
    (
        Way::RingsAreEvents,
        &[
            "a_notification_during_the_wait_ends_it",
            "notifications_of_many_threads_are_never_lost",
        ],
    ),
    (
        Way::BellDiesWithThePoller,
        &["a_notification_after_the_poller_has_gone_is_harmless"],
    ),
    (
        Way::RingsDrownEvents,
        &["a_notification_keeps_no_event_back"],
    ),
    (
        Way::NamesAnotherDescriptor,
        &[
            "a_host_sees_events_and_notifications_in_the_pollers_descriptor",
            "the_pollers_descriptor_does_not_survive_exec",
        ],
    ),
];

fn is_broken(promise: &Promise, fixture: impl Into<Fixture>) -> bool {
    let fixture = fixture.into();
    catch_unwind(AssertUnwindSafe(|| promise.check(fixture))).is_err()
}

fn in_memory(way: Way) -> Fixture {
    let kernel = Kernel::new();
    Fixture::on(kernel.clone(), Broken::new(kernel.poller(), way))
}

fn over_the_system(way: Way) -> Fixture {
    Fixture::new(Broken::new(PollPoller::new().unwrap(), way))
}

#[test]
fn a_wrapper_that_changes_nothing_breaks_nothing() {
    for promise in PROMISES {
        promise.check(in_memory(Way::Honest));
        promise.check(over_the_system(Way::Honest));
    }
}

#[test]
fn each_broken_poller_is_noticed() {
    for (way, noticed_by) in WAYS {
        for name in *noticed_by {
            let promise = PROMISES.iter().find(|promise| promise.name == *name);
            let promise = promise.unwrap_or_else(|| panic!("{name} is no promise"));
            // There are no devices in memory.
            let fixture = match way {
                Way::RefusesAll => over_the_system(*way),
                _ => in_memory(*way),
            };
            assert!(
                is_broken(promise, fixture),
                "{way:?} is not noticed by {name}"
            );
        }
    }
}

#[test]
fn each_promise_rejects_a_broken_poller() {
    let noticing: BTreeSet<_> = WAYS.iter().flat_map(|(_, names)| *names).collect();
    let names = PROMISES.iter().map(|promise| promise.name);
    let idle: Vec<_> = names.filter(|name| !noticing.contains(name)).collect();
    assert_eq!(idle, [""; 0], "who would have to break these?");
}

#[test]
#[should_panic(expected = "it watches another kernel")]
fn a_poller_over_another_kernel_is_not_tried_with_the_systems_descriptors() {
    let _ = Fixture::new(Kernel::new().poller());
}
