//! A map in the order of its keys, in little code.
//!
//! The standard library's `BTreeMap` is faster, and takes as long to compile as two thousand lines of Rust,
//! once for each type of key and value. Here the entries lie in runs, which are short enough to insert into
//! their middle: to find an entry takes logarithmic time, to insert or remove one the time to move some
//! kilobytes at most.
//!
//! For tables that are looked at when a descriptor comes or goes, and in debug mode; not for a table that each
//! event needs.

/// With how many entries a run is split. Two runs that have half of it together become one.
const LONGEST: usize = 64;

/// A map whose entries are sorted by their keys.
#[derive(Debug)]
pub struct SortedMap<K, V> {
    /// The runs in their order; none is empty.
    runs: Vec<Vec<(K, V)>>,
}

impl<K, V> SortedMap<K, V> {
    /// An empty map, which has allocated nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Ord, V> SortedMap<K, V> {
    /// The run in which the key is, or would be, and the place there: of the key, or of the next one.
    fn find(&self, key: K) -> (usize, Result<usize, usize>) {
        let after = self.runs.partition_point(|run| run[0].0 <= key);
        let run = after.saturating_sub(1);
        let place = self.runs.get(run).map_or(Err(0), |run| {
            run.binary_search_by(|entry| entry.0.cmp(&key))
        });
        (run, place)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (run, place) = self.find(key);
        let place = place.ok()?;
        Some(&mut self.runs[run][place].1)
    }

    /// Sets the value of a key, and returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (run, place) = self.find(key);
        let place = match place {
            Ok(place) => return Some(std::mem::replace(&mut self.runs[run][place].1, value)),
            Err(place) => place,
        };
        if self.runs.is_empty() {
            self.runs.push(Vec::new());
        }
        let is_last = run + 1 == self.runs.len();
        let entries = &mut self.runs[run];
        // Keys that come in their order leave full runs behind.
        if is_last && place == LONGEST - 1 {
            self.runs.push(vec![(key, value)]);
            return None;
        }
        entries.insert(place, (key, value));
        if entries.len() == LONGEST {
            let second = entries.split_off(LONGEST / 2);
            self.runs.insert(run + 1, second);
        }
        None
    }

    /// Removes a key, and returns its value.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let (run, place) = self.find(key);
        let place = place.ok()?;
        let (_, value) = self.runs[run].remove(place);
        if self.runs[run].is_empty() {
            self.runs.remove(run);
        } else {
            self.join(run);
            self.join(run.saturating_sub(1));
        }
        Some(value)
    }

    /// Makes one run of this one and the next, if both are short.
    fn join(&mut self, run: usize) {
        if let Some([one, next]) = self.runs.get_mut(run..run + 2) {
            if one.len() + next.len() <= LONGEST / 2 {
                one.append(next);
                self.runs.remove(run + 1);
            }
        }
    }

    /// Calls `visit` with each entry from `key` on, in their order, for as long as it returns `true`.
    pub fn visit_from(&mut self, key: K, visit: &mut dyn FnMut(K, &mut V) -> bool) {
        let (mut run, place) = self.find(key);
        let (Ok(mut place) | Err(mut place)) = place;
        while let Some(entries) = self.runs.get_mut(run) {
            for (key, value) in &mut entries[place..] {
                if !visit(*key, value) {
                    return;
                }
            }
            (run, place) = (run + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn keys_that_come_in_their_order_leave_full_runs() {
        let mut map = SortedMap::new();
        for key in 0..1000 {
            assert_eq!(map.insert(key, key), None);
        }
        let full = LONGEST - 1;
        let lens: Vec<_> = map.runs.iter().map(Vec::len).collect();
        let (last, others) = lens.split_last().unwrap();
        assert!(others.iter().all(|&len| len == full), "{lens:?}");
        assert_eq!(others.len() * full + last, 1000);
    }

    #[test]
    fn it_answers_as_a_tree_does_whatever_is_inserted_and_removed() {
        let mut state: u32 = 7;
        let mut below = |bound: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % bound
        };
        for keys in [3, 100, 5_000] {
            let (mut map, mut model) = (SortedMap::new(), BTreeMap::new());
            for step in 0..40_000_u32 {
                let key = below(keys);
                // It grows, shrinks to almost nothing, and grows again.
                match below(8) < 2 + step / 8_000 % 2 * 4 {
                    true => assert_eq!(map.remove(key), model.remove(&key)),
                    false => assert_eq!(map.insert(key, step), model.insert(key, step)),
                }
                let other = below(keys);
                assert_eq!(map.get_mut(other), model.get_mut(&other));
                if step % 500 == 0 {
                    let from = model.range(other..).map(|(key, value)| (*key, *value));
                    let mut ours = Vec::new();
                    map.visit_from(other, &mut |key, value| {
                        ours.push((key, *value));
                        ours.len() < 100
                    });
                    assert!(from.take(100).eq(ours));
                    assert!(map.runs.iter().all(|run| (1..LONGEST).contains(&run.len())));
                    assert!(
                        map.runs.len() <= 4 * model.len() / LONGEST + 2,
                        "runs are joined"
                    );
                }
            }
        }
    }
}
