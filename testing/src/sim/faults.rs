//! What a kernel may do to us, on request: early returns, signals, short transfers, refusals.
//!
//! None of it is a lie: a system may do each at any time, and hardly ever does when somebody is
//! looking. How often is a number out of 256, and the seed makes it the same each time.

use crate::rng::Rng;
use std::fmt;
use std::io;

/// Which faults there are, and how often. Each number is a chance out of 256.
///
/// They are printed as one types them in, to have a case that failed again:
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
    /// A wait reports, besides, one that is not ready.
    pub spurious: u8,
    /// A wait returns at once and without events, as after a signal.
    pub early_return: u8,
    /// A read or write moves fewer bytes than it could.
    pub short: u8,
    /// A read or write that could move bytes gives `WouldBlock`; the poller reports again.
    pub would_block: u8,
    /// A read or write is interrupted (`EINTR`).
    pub interrupted: u8,
    /// Accepting fails for want of a descriptor (`EMFILE`).
    pub emfile: u8,
    /// A registration is refused for want of memory (`ENOMEM`).
    pub enomem: u8,
    /// As many events a wait reports at most; zero means all.
    pub batch: usize,
    /// Whether the order within a batch is shuffled.
    pub shuffle: bool,
    /// The how-manieth call of all fails, from zero, and with which error: to try each in turn.
    pub fails: Option<(u64, i32)>,
    calls: u64,
}

impl Faults {
    /// No faults; the order of events is that in which they came about.
    #[must_use]
    pub fn none() -> Self {
        Self::seeded(0)
    }

    /// No faults yet, and a seed for those that are to be set.
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
            calls: 0,
        }
    }

    /// All of them now and then, batches of any size, in any order.
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

    /// One more call: its error, if it is the one that is to fail.
    pub(super) fn call(&mut self) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        match self.fails {
            Some((nth, code)) if nth == number => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(()),
        }
    }

    /// How many events a wait may report.
    pub(super) fn most(&self) -> usize {
        match self.batch {
            0 => usize::MAX,
            most => most,
        }
    }

    /// How many calls there were so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// What comes by chance comes from here.
    pub(super) fn chance(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Whether something with this chance happens now.
    pub(super) fn strikes(&mut self, chance: u8) -> bool {
        self.rng.chance_256(chance)
    }
}

/// The text from which they can be made again, on one line: what has struck already is not in it.
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
        let on = chances.iter().filter(|(_, chance)| *chance > 0);
        let mut set: Vec<String> = on.map(|(name, n)| format!("{name} = {n}")).collect();
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
