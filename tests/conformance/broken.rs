//! BrokenPoller pollers, with one bug each, and the promises that must detect them.
//!
//! A suite that passes proves little until it has been seen to fail. So each bug has a list of
//! promises that must detect it; and each promise must detect at least one bug, or the promise may
//! be one that cannot be broken. The pollers use the simulated kernel, where a failure takes no time.

#[path = "broken_poller.rs"]
mod broken_poller;

use broken_poller::{BrokenPoller, Bug};
use readily::poll::poll2::PollPoller;
use readily_testing::Kernel;
use readily_testing::conformance::{Fixture, PROMISES, Promise};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Each bug, and the promises that must detect it.
const BUGS: &[(Bug, &[&str])] = &[
    (
        Bug::LevelIsEdge,
        &[
            "a_level_event_repeats_until_drained",
            "modify_reports_what_is_ready_under_every_trigger",
            "a_listener_is_readable_while_a_connection_waits",
        ],
    ),
    (
        Bug::EdgeIsLevel,
        &[
            "an_edge_is_reported_once_and_again_for_new_data",
            "an_edge_hangup_is_reported_once",
            "an_edge_listener_reports_each_arrival",
            "more_edges_than_a_batch_are_each_reported_once",
        ],
    ),
    (
        Bug::OneShotIsLevel,
        &[
            "a_oneshot_is_silent_until_modified",
            "a_oneshot_in_one_direction_silences_the_other",
            "rearming_leaves_level_and_oneshot_alone",
        ],
    ),
    (
        Bug::OneShotIsEdge,
        &[
            "a_oneshot_is_silent_until_modified",
            "a_oneshot_in_one_direction_silences_the_other",
        ],
    ),
    (
        Bug::DropsEveryOtherEdge,
        &[
            "an_edge_is_reported_once_and_again_for_new_data",
            "a_write_edge_is_reported_each_time_room_is_made",
            "an_edge_in_one_direction_leaves_the_other_waiting",
            "an_edge_for_data_is_followed_by_one_for_the_hangup",
        ],
    ),
    (
        Bug::LosesEarlierEdges,
        &["an_edge_before_the_registration_is_reported"],
    ),
    (
        Bug::ClaimsToRearm,
        &["rearming_reports_again_what_still_holds"],
    ),
    (
        Bug::RearmsAnything,
        &["rearming_leaves_level_and_oneshot_alone"],
    ),
    (
        Bug::ModifyReportsNothing,
        &["modify_reports_what_is_ready_under_every_trigger"],
    ),
    (
        Bug::ModifyAddsInterest,
        &["modify_takes_the_new_interest_alone"],
    ),
    (Bug::ModifyKeepsToken, &["modify_changes_the_token"]),
    (
        Bug::ModifyRegisters,
        &["what_is_not_registered_is_not_found"],
    ),
    (
        Bug::ModifyNeverFails,
        &[
            "a_close_without_a_removal_makes_modify_an_error",
            "a_closed_descriptor_is_refused",
        ],
    ),
    (Bug::NoInterestIsRead, &["no_interest_is_silent_about_data"]),
    (
        Bug::AddsRead,
        &[
            "modify_takes_the_new_interest_alone",
            "a_half_close_is_not_reported_without_read_interest",
        ],
    ),
    (
        Bug::AlwaysWritable,
        &["a_full_buffer_is_not_writable_until_drained"],
    ),
    (
        Bug::NeverWritable,
        &["an_established_connection_is_writable"],
    ),
    (
        Bug::SplitsDirections,
        &["both_directions_come_in_one_event"],
    ),
    (Bug::TruncatesTokens, &["all_bits_of_a_token_are_returned"]),
    (
        Bug::AcceptsNotifierToken,
        &["the_notifiers_token_is_refused"],
    ),
    (
        Bug::OneTokenForAll,
        &[
            "two_descriptors_have_two_tokens",
            "a_duplicate_is_a_registration_of_its_own",
        ],
    ),
    (
        Bug::KeepsFirstToken,
        &["a_number_used_again_has_the_new_token_only"],
    ),
    (Bug::ClearsEvents, &["events_are_appended"]),
    (
        Bug::RemovesNothing,
        &["a_removed_registration_is_never_reported"],
    ),
    (
        Bug::RemovesAll,
        &[
            "a_removed_registration_is_never_reported",
            "a_duplicate_is_a_registration_of_its_own",
        ],
    ),
    (
        Bug::RemovesTwice,
        &[
            "what_is_not_registered_is_not_found",
            "a_closed_descriptor_is_refused",
        ],
    ),
    (
        Bug::RegistersTwice,
        &["a_second_registration_is_refused_and_the_first_survives"],
    ),
    (
        Bug::RefusesReusedNumbers,
        &[
            "a_close_without_a_removal_does_not_block_the_number",
            "a_number_that_was_closed_and_used_again_is_registered_anew",
        ],
    ),
    (Bug::RefusesAll, &["dev_null_is_refused_or_always_ready"]),
    (
        Bug::AcceptsFiles,
        &["a_regular_file_and_a_directory_are_refused"],
    ),
    (
        Bug::ServesLowestTokens,
        &["more_than_a_batch_is_served_in_bounded_waits"],
    ),
    (
        Bug::LosesALongBatch,
        &["more_edges_than_a_batch_are_each_reported_once"],
    ),
    (
        Bug::HalfCloseIsFull,
        &[
            "a_half_close_is_readable_and_no_hangup",
            "data_before_a_half_close_stays_readable",
        ],
    ),
    (
        Bug::ErrorEverywhere,
        &[
            "data_and_room_are_no_hangup",
            "an_own_half_close_is_no_hangup",
        ],
    ),
    (
        Bug::ClosedIsNotReadable,
        &[
            "data_before_a_half_close_stays_readable",
            "data_before_a_hangup_stays_readable",
            "an_empty_pipe_without_a_writer_is_readable",
            "an_edge_hangup_is_reported_once",
        ],
    ),
    (
        Bug::NoHangup,
        &[
            "a_full_close_is_a_hangup",
            "a_pipe_without_a_reader_is_reported_to_its_writer",
            "a_full_pipe_without_a_reader_is_reported_to_its_writer",
            "a_reset_is_a_hangup_and_leaves_its_error",
            "a_refused_connection_is_writable_with_its_error",
        ],
    ),
    (
        Bug::HangupsOfInterestOnly,
        &[
            "a_full_close_is_a_hangup_with_every_interest",
            "a_hangup_is_reported_without_any_interest",
            "a_half_close_that_becomes_whole_is_a_hangup",
        ],
    ),
    (
        Bug::HangupsOnce,
        &["a_level_hangup_of_a_pipe_is_reported_by_every_wait"],
    ),
    (
        Bug::UrgentEverywhere,
        &["urgent_data_is_not_reported_without_priority_interest"],
    ),
    (
        Bug::UrgentNowhere,
        &["urgent_data_is_reported_with_priority_interest"],
    ),
    (Bug::ZeroTimeoutWaits, &["a_zero_timeout_returns_at_once"]),
    (
        Bug::NeverWaits,
        &[
            "a_timeout_is_never_early",
            "no_timeout_lasts_until_a_notification",
        ],
    ),
    (
        Bug::RoundsDown,
        &[
            "a_timeout_is_never_early",
            "a_deadline_is_reached_without_spinning",
        ],
    ),
    (
        Bug::CountsIn32Bits,
        &[
            "the_longest_timeout_lasts_until_a_notification",
            "a_timeout_of_many_days_lasts_until_a_notification",
        ],
    ),
    (
        Bug::NotifiesTwice,
        &[
            "a_notification_before_the_wait_ends_it",
            "many_notifications_between_two_waits_count_once",
        ],
    ),
    (
        Bug::HidesNotifications,
        &[
            "a_notification_before_the_wait_ends_it",
            "a_notification_during_the_wait_ends_it",
            "many_notifications_between_two_waits_count_once",
        ],
    ),
    (
        Bug::NotificationsAreEvents,
        &[
            "a_notification_during_the_wait_ends_it",
            "notifications_of_many_threads_are_never_lost",
        ],
    ),
    (
        Bug::NotifierDiesWithPoller,
        &["a_notification_after_the_poller_has_gone_is_harmless"],
    ),
    (
        Bug::NotificationsDropEvents,
        &["a_notification_does_not_delay_an_event"],
    ),
    (
        Bug::ReturnsAnotherFd,
        &[
            "a_host_sees_events_and_notifications_in_the_pollers_descriptor",
            "the_pollers_descriptor_does_not_survive_exec",
        ],
    ),
    (
        Bug::NotifiesLate,
        &["a_notification_is_reported_however_many_events_are_ready"],
    ),
    (
        Bug::RebuildsNothing,
        &["a_rebuilt_poller_watches_what_it_was_given_and_nothing_else"],
    ),
    (
        Bug::RebuildsWithItsOwnToken,
        &["rebuilding_refuses_the_notifiers_token_and_changes_nothing_then"],
    ),
    (
        Bug::NotifiesWhenRebuilt,
        &["rebuilding_keeps_a_notification_and_makes_none"],
    ),
];

fn is_broken(promise: &Promise, fixture: impl Into<Fixture>) -> bool {
    let fixture = fixture.into();
    catch_unwind(AssertUnwindSafe(|| promise.check(fixture))).is_err()
}

fn simulated(bug: Bug) -> Fixture {
    let kernel = Kernel::new();
    Fixture::on(kernel.clone(), BrokenPoller::new(kernel.poller(), bug))
}

fn on_system(bug: Bug) -> Fixture {
    Fixture::new(BrokenPoller::new(PollPoller::new().unwrap(), bug))
}

#[test]
fn a_wrapper_that_changes_nothing_breaks_nothing() {
    for promise in PROMISES {
        promise.check(simulated(Bug::Correct));
        promise.check(on_system(Bug::Correct));
    }
}

#[test]
fn each_broken_poller_is_detected() {
    for (bug, detected_by) in BUGS {
        for name in *detected_by {
            let promise = PROMISES.iter().find(|promise| promise.name == *name);
            let promise = promise.unwrap_or_else(|| panic!("no promise is called {name}"));
            // The simulated kernel has no devices.
            let fixture = match bug {
                Bug::RefusesAll => on_system(*bug),
                _ => simulated(*bug),
            };
            assert!(
                is_broken(promise, fixture),
                "{bug:?} is not detected by {name}"
            );
        }
    }
}

#[test]
fn each_promise_rejects_a_broken_poller() {
    let detecting: BTreeSet<_> = BUGS.iter().flat_map(|(_, names)| *names).collect();
    let names = PROMISES.iter().map(|promise| promise.name);
    let idle: Vec<_> = names.filter(|name| !detecting.contains(name)).collect();
    assert_eq!(idle, [""; 0], "no bug breaks these promises");
}

#[test]
#[should_panic(expected = "the poller watches another kernel")]
fn a_poller_of_another_kernel_is_refused_by_new() {
    let _ = Fixture::new(Kernel::new().poller());
}
