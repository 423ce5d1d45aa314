//! Mixes of faults, and the systems that the simulated kernel can follow.
//!
//! All faults at once hide each other: a wait that always ends early never has a full batch. So each
//! case enables each kind of fault or not, and chooses its rate (*swarm testing*); some cases have
//! none, some have all. Shrinking reduces the mix kind by kind, and keeps the seed, because another
//! seed is another case.

use crate::sim::{Faults, Personality};
use proptest::arbitrary::any;
use proptest::array::uniform10;
use proptest::sample::{select, subsequence};
use proptest::strategy::Strategy;
use readily_sys::errno::{EMFILE, ENOMEM};

/// Generates mixes of faults that a program does not see as errors: early returns, spurious events,
/// short transfers, interrupted calls, small batches, a lack of descriptors in `accept`, and a
/// shuffled order of what is ready at the same time.
///
/// # Examples
///
/// ```
/// use proptest::prelude::*;
/// use readily::gather;
/// use readily_testing::{SimLoop, strategies};
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(8))]
///     # /*
///     #[test]
///     # */
///     fn a_word_arrives_whatever_happens(faults in strategies::faults()) {
///         let mut sim = SimLoop::with(faults);
///         let (one, two) = sim.duplex()?;
///         let mut word = [0; 5];
///         let (sent, read) = sim.run(gather((one.write_all(b"hello"), two.read_exact(&mut word))))?;
///         sent?;
///         read?;
///         prop_assert_eq!(&word, b"hello");
///     }
/// }
/// # a_word_arrives_whatever_happens();
/// ```
pub fn faults() -> impl Strategy<Value = Faults> + Clone {
    mixes(8)
}

/// Generates the mixes of [`faults`] with refused calls besides: calls that fail for lack of memory,
/// now and then, or one call chosen by its number. A program gets these as errors; it may give up the
/// operation that failed, and nothing else.
///
/// # Examples
///
/// ```
/// use proptest::prelude::*;
/// use readily::io::{TcpListener, TcpStream};
/// use readily_testing::{SimLoop, strategies};
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(8))]
///     # /*
///     #[test]
///     # */
///     fn a_failed_connect_leaves_nothing_open(faults in strategies::refusals()) {
///         let mut sim = SimLoop::with(faults);
///         let _refused = sim.run(async {
///             let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
///             TcpStream::connect(listener.local_addr()?).await
///         })?;
///         sim.run_until_stalled()?;
///         drop(_refused);
///         prop_assert_eq!(sim.kernel().open(), 0);
///     }
/// }
/// # a_failed_connect_leaves_nothing_open();
/// ```
pub fn refusals() -> impl Strategy<Value = Faults> + Clone {
    mixes(10)
}

/// Mixes of the first `kinds` kinds: no kind is as frequent as three, or all.
fn mixes(kinds: usize) -> impl Strategy<Value = Faults> + Clone {
    let kinds = subsequence((0..kinds).collect::<Vec<usize>>(), 0..=kinds);
    let strengths = uniform10(0u8..4);
    let seed = any::<u64>().no_shrink();
    (kinds, strengths, seed, 1usize..8, 0u64..64).prop_map(
        |(kinds, strengths, seed, batch, nth)| {
            let on = |kind| kinds.contains(&kind);
            let chance = |kind: usize, least: u8| {
                if on(kind) {
                    least << strengths[kind]
                } else {
                    0
                }
            };
            let mut faults = Faults::seeded(seed);
            faults.shuffle = on(0);
            faults.short = chance(1, 16);
            faults.would_block = chance(2, 8);
            faults.interrupted = chance(3, 8);
            faults.early_return = chance(4, 8);
            faults.spurious = chance(5, 8);
            faults.batch = if on(6) { batch } else { 0 };
            faults.emfile = chance(7, 4);
            faults.enomem = chance(8, 4);
            let code = if seed & 1 == 0 { ENOMEM } else { EMFILE };
            faults.fails = on(9).then_some((nth, code));
            faults
        },
    )
}

/// Generates the systems that the simulated kernel can follow, as [`SimLoop::on`] takes them: `None`
/// has the rules of epoll, the others are kqueues.
///
/// [`SimLoop::on`]: crate::SimLoop::on
///
/// # Examples
///
/// ```
/// use proptest::prelude::*;
/// use readily_testing::{Faults, SimLoop, strategies};
/// use readily::sleep;
/// use std::time::Duration;
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(4))]
///     # /*
///     #[test]
///     # */
///     fn a_nap_takes_its_time_everywhere(system in strategies::personality()) {
///         let mut sim = SimLoop::on(system, Faults::none());
///         sim.run(sleep(Duration::from_secs(1)))?;
///         prop_assert_eq!(sim.elapsed(), Duration::from_secs(1));
///     }
/// }
/// # a_nap_takes_its_time_everywhere();
/// ```
pub fn personality() -> impl Strategy<Value = Option<Personality>> + Clone {
    select(vec![
        None,
        Some(Personality::FreeBsd),
        Some(Personality::Apple),
        Some(Personality::NetBsd),
    ])
}
