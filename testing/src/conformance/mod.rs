//! What every poller promises, for a poller of your own.
//!
//! [`Poller`] says what it promises; here each promise is a function that tries it. The macro
//! [`poller_conformance!`](crate::poller_conformance) makes a test of each, so that a failure
//! reads `mine::a_level_event_repeats_until_drained`; [`PROMISES`] is the same as a list. What
//! differs between pollers is said by the poller (`rearm_interest`, `as_fd`), not asked of the
//! system, and a promise allows all that the trait's documentation allows. Our own pollers
//! run the same suite.
//!
//! In the notes this is what the loop stands on ([N2]).
//!
//! # Running them
//!
//! In a file of tests, with an expression that makes the poller:
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
//! It is made anew for each promise, and watches pipes, pairs and TCP sockets of the system.
//! For a poller over another kernel there is a [`Fixture`], which says what it stands on, and what
//! it may lack. The kernel is a [`Backend`]; ours in memory is one:
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
//! # What they do to the process
//!
//! They open some hundred descriptors each and raise the soft limit for them, use numbers from
//! 4000 downwards, connect over the loopback, start threads and end them. Some look at the clock,
//! none at how fast the machine is: a wait may be late, not early. A promise that is broken is a
//! panic. Each event that does not come is waited for, for as long as [`GUARD`] says, so that the suite
//! takes seconds for a poller that keeps its promises, and for a bad one twenty seconds for each
//! that it breaks. A ring that is lost may be a test that does not end.
//!
//! That a signal ends a wait early, and is no error, is promised too and not tried here: a handler
//! is the whole process's. `tests/conformance.rs` tries it for ours.
//!
//! [N2]: https://docs.rs/readily/latest/readily/book/index.html#n2

mod backend;
mod backends;
mod connections;
mod fixture;
mod hangups;
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
    /// What it is about: `triggers`, `registrations`, `hangups`, `connections` or `waits`.
    pub about: &'static str,
    /// The promise, as a sentence.
    pub name: &'static str,
    check: fn(Fixture),
}

impl Promise {
    /// Tries it on a poller that has not been used yet.
    ///
    /// # Panics
    ///
    /// If the promise is broken; its name is in the text.
    #[track_caller]
    pub fn check(&self, poller: impl Into<Fixture>) {
        let fixture = poller.into();
        let checked = catch_unwind(AssertUnwindSafe(|| (self.check)(fixture)));
        if let Err(why) = checked {
            let text = why.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| why.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("it panicked");
            panic!("the promise `{}` is broken: {text}", self.name);
        }
    }
}

/// Tries the promise of this name: what a test of [`poller_conformance!`](crate::poller_conformance)
/// does.
///
/// # Panics
///
/// If it is broken, or if there is none of this name.
#[track_caller]
pub fn check(name: &str, poller: impl Into<Fixture>) {
    let promise = PROMISES.iter().find(|promise| promise.name == name);
    match promise {
        Some(promise) => promise.check(poller),
        None => panic!("no promise is called `{name}`; they are in `PROMISES`"),
    }
}

/// All promises, by what they are about.
///
/// # Examples
///
/// Which of them does a poller break that knows no level?
///
/// ```
/// # use readily::poll::{Event, Notify, Poller, WaitResult};
/// # use readily::spi::VirtualKernel;
/// # use readily::{Interest, Trigger};
/// # use std::{io, os::fd::{BorrowedFd, RawFd}, rc::Rc, sync::Arc, time::Duration};
/// use readily_testing::{Kernel, sim};
/// use readily_testing::conformance::{PROMISES, Fixture};
/// use std::panic;
///
/// struct EdgesOnly(sim::SimPoller);
///
/// impl Poller for EdgesOnly {
///     fn register(&mut self, fd: RawFd, token: u64, i: Interest, _: Trigger) -> io::Result<()> {
///         self.0.register(fd, token, i, Trigger::Edge)
///     }
///     // The rest as it was.
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

/// Makes a module of tests, one for each promise of the trait
/// [`Poller`], that a poller of your own has to keep.
///
/// `name => expression`: the tests are in the module `name`, and each begins by making its poller
/// with the expression, or its [`Fixture`]. The expression sees
/// what its surroundings see. See [`testing::conformance`](crate::conformance).
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
            // An expression that names everything in full needs none of it.
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
                modify_asks_anew_under_every_trigger,
                modify_takes_the_new_interest_alone,
                no_interest_is_silent_about_data,
                a_full_buffer_is_not_writable_until_drained,
                a_writing_edge_comes_with_every_room_that_is_made,
                an_edge_in_one_direction_leaves_the_other_waiting,
            ],
            registrations: [
                a_token_comes_back_whole,
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
                a_close_behind_our_back_makes_modify_an_error,
                more_than_a_batch_is_served_in_bounded_waits,
                more_edges_than_a_batch_are_each_reported_once,
            ],
            hangups: [
                data_and_room_are_no_hangup,
                a_half_close_is_readable_and_no_hangup,
                a_half_close_is_no_news_to_a_writer,
                data_before_a_half_close_stays_readable,
                a_full_close_is_a_hangup,
                data_before_a_hangup_stays_readable,
                a_hangup_by_the_edge_is_reported_once,
                an_edge_for_data_is_followed_by_one_for_the_hangup,
                an_empty_pipe_without_a_writer_is_readable,
                a_pipe_without_a_reader_is_reported_to_its_writer,
                a_reset_is_a_hangup_and_leaves_its_error,
                an_own_half_close_is_no_hangup,
                a_full_close_is_a_hangup_whatever_was_asked_for,
                a_hangup_is_reported_without_any_interest,
                a_half_close_that_becomes_whole_is_a_hangup,
                a_full_pipe_without_a_reader_is_reported_to_its_writer,
                the_end_of_a_pipe_is_reported_again_and_again_by_the_level,
            ],
            connections: [
                a_listener_is_readable_while_a_connection_waits,
                a_listener_by_the_edge_reports_each_arrival,
                a_connection_that_is_through_is_writable,
                a_refused_connection_is_writable_with_its_error,
                urgent_data_is_reported_with_priority_interest,
                urgent_data_is_not_reported_without_priority_interest,
            ],
            waits: [
                a_zero_timeout_only_looks,
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
                a_notification_keeps_no_event_back,
                a_host_sees_events_and_notifications_in_the_pollers_descriptor,
                the_pollers_descriptor_does_not_survive_exec,
            ],
        }
    };
}
