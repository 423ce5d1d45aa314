//! Faults of a kernel, on request: early returns, signals, short transfers, refusals.
//!
//! A real kernel may show each of these faults at any time, but rarely does so in a test. Each has a
//! probability, and the seed makes its occurrences reproducible.

use crate::rng::Rng;
use std::fmt;
use std::io;

/// The faults of a kernel in memory, each with its probability out of 256.
///
/// `Debug` prints Rust code that makes the same faults, to repeat a case that failed:
///
/// ```
/// use readily_testing::Faults;
///
/// let mut faults = Faults::seeded(42);
/// faults.short = 3;
/// let printed = "{ let mut faults = Faults::seeded(42); faults.short = 3; faults }";
/// assert_eq!(format!("{faults:?}"), printed);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Faults {
    seed: u64,
    rng: Rng,
    /// A wait also reports a registration that is not ready.
    pub spurious: u8,
    /// A wait returns at once, without events, as after a signal.
    pub early_return: u8,
    /// A read or write moves fewer bytes than it could.
    pub short: u8,
    /// A read or write that could move bytes returns `WouldBlock`; the poller reports the descriptor again.
    pub would_block: u8,
    /// A read or write is interrupted (`EINTR`).
    pub interrupted: u8,
    /// An accept fails because there are too many descriptors (`EMFILE`).
    pub emfile: u8,
    /// A registration fails because no memory is left (`ENOMEM`).
    pub enomem: u8,
    /// The most events that a wait reports; zero is no limit.
    pub batch: usize,
    /// Whether the events of a batch come in a random order.
    pub shuffle: bool,
    /// The index of the system call that fails, from zero, and its `errno`. For tests that let each call
    /// fail in turn.
    pub fails: Option<(u64, i32)>,
    syscalls: u64,
}

impl Faults {
    /// Returns no faults; events are reported in the order in which they happened.
    #[must_use]
    pub fn none() -> Self {
        Self::seeded(0)
    }

    /// Returns no faults, with a seed for those that the caller then sets.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::seeded(seed),
            spurious: 0,
            early_return: 0,
            short: 0,
            would_block: 0,
            interrupted: 0,
            emfile: 0,
            enomem: 0,
            batch: 0,
            shuffle: false,
            fails: None,
            syscalls: 0,
        }
    }

    /// Returns all faults that a program should survive, with small probabilities, and batches of a
    /// random size and order.
    #[must_use]
    pub fn all(seed: u64) -> Self {
        Self {
            spurious: 16,
            early_return: 16,
            short: 64,
            would_block: 16,
            interrupted: 16,
            emfile: 8,
            batch: 1 + (seed % 7) as usize,
            shuffle: true,
            ..Self::seeded(seed)
        }
    }

    /// Counts a system call, and returns its error if it is the one that [`fails`](Self::fails).
    pub(super) fn count_call(&mut self) -> io::Result<()> {
        let index = self.syscalls;
        self.syscalls += 1;
        match self.fails {
            Some((nth, code)) if nth == index => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(()),
        }
    }

    /// Returns the most events that a wait may report.
    pub(super) fn max_events(&self) -> usize {
        match self.batch {
            0 => usize::MAX,
            max => max,
        }
    }

    /// Returns how many system calls were counted so far.
    #[must_use]
    pub fn syscalls(&self) -> u64 {
        self.syscalls
    }

    /// Returns the generator of all random choices.
    pub(super) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Returns `true` with a probability of `chance` out of 256.
    pub(super) fn chance_256(&mut self, chance: u8) -> bool {
        self.rng.chance_256(chance)
    }
}

/// Rust code that makes the same faults, on one line. It does not include the state of the generator.
impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chances = [
            ("spurious", self.spurious),
            ("early_return", self.early_return),
            ("short", self.short),
            ("would_block", self.would_block),
            ("interrupted", self.interrupted),
            ("emfile", self.emfile),
            ("enomem", self.enomem),
        ];
        let enabled = chances.iter().filter(|(_, chance)| *chance > 0);
        let mut set: Vec<String> = enabled.map(|(name, n)| format!("{name} = {n}")).collect();
        if self.batch > 0 {
            set.push(format!("batch = {}", self.batch));
        }
        if self.shuffle {
            set.push("shuffle = true".to_owned());
        }
        if let Some((nth, code)) = self.fails {
            set.push(format!("fails = Some(({nth}, {code}))"));
        }
        let seeded = format!("Faults::seeded({})", self.seed);
        if set.is_empty() {
            return f.write_str(&seeded);
        }
        write!(f, "{{ let mut faults = {seeded}; ")?;
        for field in set {
            write!(f, "faults.{field}; ")?;
        }
        f.write_str("faults }")
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}
