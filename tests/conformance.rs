//! What every poller promises, written once and checked on all of them.
//!
//! A promise is a plain function that takes a poller; the macro makes a test of each
//! promise for each poller, so that a failure reads `epoll::a_level_event_repeats_…`. What
//! differs between pollers is said by the poller (`rearms`, `as_fd`), not asked of the
//! system, and a promise allows all that the trait's documentation allows.
//!
//! In the notes this is what the loop stands on (N2).

// A test may do what a program may not: make pipes and resets by hand.
#![allow(unsafe_code)]
// The promises are written as the public functions that they are to become.
#![allow(unreachable_pub)]

#[path = "conformance/promises.rs"]
mod promises;

macro_rules! conformance {
    ($poller:ident => $make:expr) => {
        mod $poller {
            #[allow(unused_imports)] // where a world is made by a function
            use crate::promises::kit::World;

            conformance! { @cases $make;
                triggers: [
                    a_level_event_repeats_until_drained,
                    an_edge_is_reported_once_and_again_for_new_data,
                    an_edge_before_the_registration_is_reported,
                    rearming_reports_again_what_still_holds,
                    rearming_leaves_level_and_oneshot_alone,
                    a_oneshot_is_silent_until_modified,
                    a_oneshot_in_one_direction_silences_the_other,
                    modify_asks_anew_under_every_trigger,
                    modify_takes_the_new_interest_alone,
                    no_interest_is_silent_about_data,
                    a_full_buffer_is_not_writable_until_drained,
                    a_writing_edge_comes_with_every_room_that_is_made,
                    an_edge_in_one_direction_leaves_the_other_waiting,
                ],
                registrations: [
                    a_token_comes_back_whole,
                    two_descriptors_have_two_tokens,
                    both_directions_come_in_one_event,
                    modify_changes_the_token,
                    events_are_appended,
                    a_removed_registration_is_never_reported,
                    a_second_registration_is_refused_and_the_first_survives,
                    what_is_not_registered_is_not_found,
                    a_closed_descriptor_is_refused,
                    a_regular_file_and_a_directory_are_refused,
                    dev_null_is_refused_or_always_ready,
                    a_duplicate_is_a_registration_of_its_own,
                    a_number_used_again_has_the_new_token_only,
                    a_close_without_a_removal_does_not_block_the_number,
                    a_close_behind_our_back_makes_modify_an_error,
                    more_than_a_batch_is_served_in_bounded_waits,
                    more_edges_than_a_batch_are_each_told_once,
                ],
                hangups: [
                    data_and_room_are_no_hangup,
                    a_half_close_is_readable_and_no_hangup,
                    a_half_close_is_no_news_to_a_writer,
                    data_before_a_half_close_stays_readable,
                    a_full_close_is_a_hangup,
                    data_before_a_hangup_stays_readable,
                    a_hangup_by_the_edge_is_told_once,
                    an_edge_for_data_is_followed_by_one_for_the_hangup,
                    an_empty_pipe_without_a_writer_is_readable,
                    a_pipe_without_a_reader_tells_its_writer,
                    a_reset_is_a_hangup_and_leaves_its_error,
                    an_own_half_close_is_no_hangup,
                ],
                connections: [
                    a_listener_is_readable_while_a_connection_waits,
                    a_listener_by_the_edge_tells_of_each_arrival,
                    a_connection_that_is_through_is_writable,
                    a_refused_connection_is_writable_with_its_error,
                    urgent_data_is_told_to_who_asked,
                    urgent_data_is_not_told_to_who_did_not_ask,
                ],
                timeouts: [
                    a_zero_timeout_only_looks,
                    a_timeout_is_never_early,
                    a_deadline_is_reached_without_spinning,
                    the_longest_timeout_lasts_until_a_ring,
                    a_timeout_of_many_days_lasts_until_a_ring,
                    no_timeout_lasts_until_a_ring,
                ],
                rings: [
                    a_ring_before_the_wait_ends_it,
                    a_ring_during_the_wait_ends_it,
                    many_rings_between_two_waits_count_once,
                    rings_of_many_threads_are_never_lost,
                    a_ring_after_the_poller_has_gone_is_harmless,
                    a_ring_keeps_no_event_back,
                    a_host_sees_events_and_rings_in_the_pollers_descriptor,
                    the_pollers_descriptor_does_not_survive_exec,
                    a_signal_is_an_early_return_and_no_error,
                ],
            }
        }
    };
    (@cases $make:expr; $($about:ident: [$($case:ident),+ $(,)?],)+) => { $($(
        #[test]
        fn $case() {
            crate::promises::$about::$case($make);
        }
    )+)+ };
}

#[cfg(any(target_os = "linux", target_os = "android"))]
conformance! { epoll => World::of_the_system(readily::poll::os::EpollPoller::new().unwrap()) }

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
conformance! { kqueue => World::of_the_system(readily::poll::kqueue::KqueuePoller::new().unwrap()) }

conformance! { portable => World::of_the_system(readily::poll::portable::PollPoller::new().unwrap()) }

conformance! { sim => {
    let kernel = readily::poll::sim::Kernel::new();
    World::in_memory(&kernel, kernel.poller())
} }

/// The kqueue poller over a kqueue in memory.
fn kqueue_as_on(system: readily::poll::sim::Personality) -> promises::kit::World {
    let kernel = readily::poll::sim::Kernel::new();
    promises::kit::World::in_memory(&kernel, kernel.kqueue(system))
}

conformance! { kqueue_as_on_freebsd => crate::kqueue_as_on(readily::poll::sim::Personality::FreeBsd) }

conformance! { kqueue_as_on_macos => crate::kqueue_as_on(readily::poll::sim::Personality::Apple) }

conformance! { kqueue_as_on_netbsd => crate::kqueue_as_on(readily::poll::sim::Personality::NetBsd) }
