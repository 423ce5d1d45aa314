//! A pseudo-random generator (xorshift64*): the same numbers for the same seed, on every machine.
//!
//! A random choice in a test must be reproducible, so each comes from this generator: the faults of a
//! kernel in memory, the order of a batch, the order of ready tasks. It is not for secrets.

/// A generator whose numbers depend only on its seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// Similar seeds give unrelated numbers.
    pub(crate) fn seeded(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
        Self {
            // The state must not be zero.
            state: state.max(1),
        }
    }

    /// Returns a number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        high as usize % bound
    }

    /// Returns `true` with a probability of `chance` out of 256. A chance of zero draws no number.
    pub(crate) fn chance_256(&mut self, chance: u8) -> bool {
        chance != 0 && self.below(256) < usize::from(chance)
    }

    /// Shuffles `items`; each order is equally likely.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut rng = Rng::seeded(seed);
            (0..50).map(|_| rng.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn all_orders_are_about_equally_frequent() {
        let mut counts: BTreeMap<[u8; 4], u32> = BTreeMap::new();
        let mut rng = Rng::seeded(1);
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            rng.shuffle(&mut items);
            *counts.entry(items).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(
            counts.values().all(|n| (800..1200).contains(n)),
            "{counts:?}"
        );
    }
}
