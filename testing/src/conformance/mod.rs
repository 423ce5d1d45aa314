//! The conformance suite for pollers: a test of each promise of the trait [`Poller`].
//!
//! The documentation of [`Poller`] makes promises; here a function checks each of them. The macro
//! [`poller_conformance!`](crate::poller_conformance) makes a test of each promise, so that a failure
//! is reported as `mine::a_level_event_repeats_until_drained`; [`PROMISES`] is the same as a list.
//! Where pollers differ, the suite uses the poller's own methods (`rearm_interest`, `as_fd`), not the
//! name of the system, and a check allows all that the trait's documentation allows. The pollers of
//! `readily` run the same suite.
//!
//! In the notes: what the operating system offers to the loop ([N2]).
//!
//! # Running the suite
//!
//! Write in a file of tests, with an expression that makes the poller:
//!
//! ```
//! # #![allow(clippy::test_attr_in_doctest)]
//! # mod my_crate { pub use readily::poll::poll2::PollPoller as MyPoller; }
//! use my_crate::MyPoller;
//!
//! readily_testing::poller_conformance! { mine => MyPoller::new().unwrap() }
//! # fn main() {}
//! ```
//!
//! Each test makes a new poller, which watches pipes, socket pairs and TCP sockets of the system.
//! For a poller over another kernel, the expression makes a [`Fixture`] of that kernel and the poller.
//! The kernel is a [`Backend`]; the simulated [`Kernel`](crate::Kernel) is one:
//!
//! ```
//! # fn main() {}
//! use readily_testing::{Kernel, Personality, conformance::Fixture};
//!
//! readily_testing::poller_conformance! { over_a_kqueue => {
//!     let kernel = Kernel::new();
//!     let poller = kernel.kqueue(Personality::FreeBsd);
//!     Fixture::on(kernel, poller).without_urgent_data()
//! } }
//! ```
//!
//! # Effects on the process
//!
//! A test may open some hundred descriptors and raise their soft limit, use descriptor numbers from
//! 4000 downwards, connect over the loopback, and start and join threads. Some tests read the clock,
//! but none depends on the speed of the machine: a wait may be late, not early. A broken promise is a
//! panic. A test waits for a missing event for as long as [`GUARD`], so the suite takes seconds for a
//! conforming poller, and twenty seconds more for each broken promise. A test of a lost notification
//! may not end.
//!
//! A signal may end a wait early and must not be an error. The suite does not check that promise,
//! because a signal handler belongs to the whole process; `tests/conformance.rs` of `readily` does.
//!
//! [N2]: https://docs.rs/readily/latest/readily/book/index.html#n2

mod backend;
mod backends;
mod connections;
mod fixture;
mod hangups;
mod rebuilds;
mod registrations;
mod triggers;
mod waits;

pub use self::backend::TestFd;
pub use self::backend::{Backend, BackendFd};
pub use self::backends::SystemBackend;
pub use self::fixture::{Fixture, GUARD};

#[cfg(doc)]
use readily::poll::Poller;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One promise of the trait [`Poller`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Promise {
    /// The group: `triggers`, `registrations`, `rebuilds`, `hangups`, `connections` or `waits`.
    pub about: &'static str,
    /// The promise, as a sentence with underscores.
    pub name: &'static str,
    check: fn(Fixture),
}

impl Promise {
    /// Checks the promise with a poller that has not been used yet.
    ///
    /// # Panics
    ///
    /// If the promise is broken; its name is in the message.
    #[track_caller]
    pub fn check(&self, poller: impl Into<Fixture>) {
        let fixture = poller.into();
        let checked = catch_unwind(AssertUnwindSafe(|| (self.check)(fixture)));
        if let Err(payload) = checked {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("it panicked");
            panic!("the promise `{}` is broken: {text}", self.name);
        }
    }
}

/// Checks the promise with this name, as a test of [`poller_conformance!`](crate::poller_conformance)
/// does.
///
/// # Panics
///
/// If the promise is broken, or if no promise has this name.
#[track_caller]
pub fn check(name: &str, poller: impl Into<Fixture>) {
    let promise = PROMISES.iter().find(|promise| promise.name == name);
    match promise {
        Some(promise) => promise.check(poller),
        None => panic!("no promise is called `{name}`; they are in `PROMISES`"),
    }
}

/// All promises of a poller, by group.
///
/// # Examples
///
/// Find the promises that a poller without level triggers breaks:
///
/// ```
/// # use readily::poll::{Event, Notify, Poller, WaitResult};
/// # use readily::spi::VirtualKernel;
/// # use readily::{Interest, Trigger};
/// # use std::{io, os::fd::{BorrowedFd, RawFd}, rc::Rc, sync::Arc, time::Duration};
/// use readily_testing::{Kernel, SimPoller};
/// use readily_testing::conformance::{PROMISES, Fixture};
/// use std::panic;
///
/// struct EdgesOnly(SimPoller);
///
/// impl Poller for EdgesOnly {
///     fn register(&mut self, fd: RawFd, token: u64, i: Interest, _: Trigger) -> io::Result<()> {
///         self.0.register(fd, token, i, Trigger::Edge)
///     }
///     // All other methods call `self.0`.
/// #   fn modify(&mut self, fd: RawFd, token: u64, i: Interest, t: Trigger) -> io::Result<()> {
/// #       self.0.modify(fd, token, i, t)
/// #   }
/// #   fn rearm(&mut self, fd: RawFd, token: u64, i: Interest) -> io::Result<()> {
/// #       self.0.rearm(fd, token, i)
/// #   }
/// #   fn rearm_interest(&self) -> Interest { self.0.rearm_interest() }
/// #   fn remove(&mut self, fd: RawFd) -> io::Result<()> { self.0.remove(fd) }
/// #   fn wait(&mut self, events: &mut Vec<Event>, t: Option<Duration>) -> io::Result<WaitResult> {
/// #       self.0.wait(events, t)
/// #   }
/// #   fn notifier(&self) -> Arc<dyn Notify> { self.0.notifier() }
/// #   fn as_fd(&self) -> Option<BorrowedFd<'_>> { self.0.as_fd() }
/// #   fn kernel(&self) -> Option<Rc<dyn VirtualKernel>> { self.0.kernel() }
/// }
///
/// let broken: Vec<&str> = PROMISES
///     .iter()
///     .filter(|promise| {
///         let kernel = Kernel::new();
///         let poller = EdgesOnly(kernel.poller());
///         let fixture = Fixture::on(kernel, poller);
///         panic::catch_unwind(panic::AssertUnwindSafe(|| promise.check(fixture))).is_err()
///     })
///     .map(|promise| promise.name)
///     .collect();
/// assert!(broken.contains(&"a_level_event_repeats_until_drained"));
/// assert!(!broken.contains(&"an_edge_is_reported_once_and_again_for_new_data"));
/// ```
pub const PROMISES: &[Promise] = crate::poller_promises! { table () };

/// Makes a module of tests that check each promise of the trait [`Poller`] for one poller.
///
/// The argument is `name => expression`: the tests are in the module `name`, and each evaluates the
/// expression, which makes a poller or a [`Fixture`]. All names in scope at the macro are in scope in
/// the expression. See [`conformance`](crate::conformance).
///
/// # Examples
///
/// ```
/// # #![allow(clippy::test_attr_in_doctest)]
/// readily_testing::poller_conformance! { mine => readily::poll::poll2::PollPoller::new().unwrap() }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! poller_conformance {
    ($name:ident => $poller:expr $(,)?) => {
        mod $name {
            // The expression may use full paths only.
            #[allow(unused_imports, clippy::wildcard_imports)]
            use super::*;

            $crate::poller_promises! { tests ($poller) }
        }
    };
}

/// The list of the promises: as tests, or as a table.
#[doc(hidden)]
#[macro_export]
macro_rules! poller_promises {
    (@tests ($poller:expr); $($about:ident: [$($name:ident,)+],)+) => { $($(
        #[test]
        fn $name() {
            $crate::conformance::check(stringify!($name), $poller);
        }
    )+)+ };
    (@table (); $($about:ident: [$($name:ident,)+],)+) => {
        &[$($(
            Promise { about: stringify!($about), name: stringify!($name), check: $about::$name },
        )+)+]
    };
    ($how:ident $with:tt) => {
        $crate::poller_promises! { @$how $with;
            triggers: [
                a_level_event_repeats_until_drained,
                an_edge_is_reported_once_and_again_for_new_data,
                an_edge_before_the_registration_is_reported,
                rearming_reports_again_what_still_holds,
                rearming_leaves_level_and_oneshot_alone,
                a_oneshot_is_silent_until_modified,
                a_oneshot_in_one_direction_silences_the_other,
                modify_reports_what_is_ready_under_every_trigger,
                modify_takes_the_new_interest_alone,
                no_interest_is_silent_about_data,
                a_full_buffer_is_not_writable_until_drained,
                a_write_edge_is_reported_each_time_room_is_made,
                an_edge_in_one_direction_leaves_the_other_waiting,
            ],
            registrations: [
                all_bits_of_a_token_are_returned,
                the_notifiers_token_is_refused,
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
                a_number_that_was_closed_and_used_again_is_registered_anew,
                a_close_without_a_removal_makes_modify_an_error,
                more_than_a_batch_is_served_in_bounded_waits,
                more_edges_than_a_batch_are_each_reported_once,
            ],
            rebuilds: [
                a_rebuilt_poller_watches_what_it_was_given_and_nothing_else,
                rebuilding_refuses_the_notifiers_token_and_changes_nothing_then,
                rebuilding_keeps_a_notification_and_makes_none,
            ],
            hangups: [
                data_and_room_are_no_hangup,
                a_half_close_is_readable_and_no_hangup,
                a_half_close_is_not_reported_without_read_interest,
                data_before_a_half_close_stays_readable,
                a_full_close_is_a_hangup,
                data_before_a_hangup_stays_readable,
                an_edge_hangup_is_reported_once,
                an_edge_for_data_is_followed_by_one_for_the_hangup,
                an_empty_pipe_without_a_writer_is_readable,
                a_pipe_without_a_reader_is_reported_to_its_writer,
                a_reset_is_a_hangup_and_leaves_its_error,
                an_own_half_close_is_no_hangup,
                a_full_close_is_a_hangup_with_every_interest,
                a_hangup_is_reported_without_any_interest,
                a_half_close_that_becomes_whole_is_a_hangup,
                a_full_pipe_without_a_reader_is_reported_to_its_writer,
                a_level_hangup_of_a_pipe_is_reported_by_every_wait,
            ],
            connections: [
                a_listener_is_readable_while_a_connection_waits,
                an_edge_listener_reports_each_arrival,
                an_established_connection_is_writable,
                a_refused_connection_is_writable_with_its_error,
                urgent_data_is_reported_with_priority_interest,
                urgent_data_is_not_reported_without_priority_interest,
            ],
            waits: [
                a_zero_timeout_returns_at_once,
                a_timeout_is_never_early,
                a_deadline_is_reached_without_spinning,
                the_longest_timeout_lasts_until_a_notification,
                a_timeout_of_many_days_lasts_until_a_notification,
                no_timeout_lasts_until_a_notification,
                a_notification_before_the_wait_ends_it,
                a_notification_during_the_wait_ends_it,
                many_notifications_between_two_waits_count_once,
                notifications_of_many_threads_are_never_lost,
                a_notification_after_the_poller_has_gone_is_harmless,
                a_notification_does_not_delay_an_event,
                a_notification_is_reported_however_many_events_are_ready,
                a_host_sees_events_and_notifications_in_the_pollers_descriptor,
                the_pollers_descriptor_does_not_survive_exec,
            ],
        }
    };
}
