//! The slab against a hash map: L1 at its root, with keys that have gone and keys that never were.

use crate::List;
use crate::base::slab::{Slab, SlabKey};
use arbitrary::Arbitrary;
use std::collections::HashMap;

/// What `slab` is run on.
pub type SlabOps = List<SlabOp>;

/// One call. Keys are picked among all that were ever given out.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum SlabOp {
    Insert,
    InsertWith,
    Remove(u8),
    RemoveNewest,
    Get(u8),
    Change(u8),
    /// A slot and a generation that are made up.
    Forge(u8, u8),
    ForgeAny(u64),
    First,
    Empty,
}

/// Runs `ops` on both.
///
/// # Panics
///
/// If they disagree.
pub fn slab(ops: &SlabOps) {
    let mut slab = Slab::default();
    let mut model: HashMap<SlabKey, usize> = HashMap::new();
    let mut all: Vec<SlabKey> = Vec::new();
    for (n, &op) in ops.iter().enumerate() {
        let pick = |pick: u8| all.get(usize::from(pick) % all.len().max(1)).copied();
        match op {
            SlabOp::Insert | SlabOp::InsertWith => {
                let mut told = None;
                let key = match op {
                    SlabOp::Insert => slab.insert(n),
                    _ => slab.insert_with(|key| {
                        told = Some(key);
                        n
                    }),
                };
                assert!(told.is_none_or(|told| told == key));
                assert!(!all.contains(&key), "{key:?} was given out before");
                assert_ne!(key.to_bits(), u64::MAX, "that is the poller's own");
                assert_eq!(SlabKey::from_bits(key.to_bits()), key);
                all.push(key);
                model.insert(key, n);
            }
            SlabOp::Remove(at) => {
                if let Some(key) = pick(at) {
                    assert_eq!(slab.remove(key), model.remove(&key));
                }
            }
            SlabOp::RemoveNewest => {
                if let Some(&key) = all.last() {
                    assert_eq!(slab.remove(key), model.remove(&key));
                }
            }
            SlabOp::Get(at) => {
                if let Some(key) = pick(at) {
                    assert_eq!(slab.get(key), model.get(&key));
                }
            }
            SlabOp::Change(at) => {
                if let Some(key) = pick(at) {
                    let (there, expected) = (slab.get_mut(key), model.get_mut(&key));
                    assert_eq!(there, expected);
                    there.into_iter().chain(expected).for_each(|n| *n += 1000);
                }
            }
            SlabOp::Forge(slot, generation) => {
                let bits = u64::from(generation) << 32 | u64::from(slot);
                look_up(bits, &mut slab, &mut model);
            }
            SlabOp::ForgeAny(bits) => look_up(bits, &mut slab, &mut model),
            SlabOp::First => {
                // In the order of slots, which are the lower half of a key's bits.
                let lowest = model.keys().min_by_key(|key| key.to_bits() as u32);
                assert_eq!(slab.first(), lowest.copied());
            }
            SlabOp::Empty => {
                while let Some(key) = slab.first() {
                    assert_eq!(slab.remove(key), model.remove(&key));
                }
                assert!(model.is_empty());
            }
        }
        slab.verify();
        assert_eq!(slab.len(), model.len());
        assert_eq!(slab.is_empty(), model.is_empty());
    }
    let left: HashMap<SlabKey, usize> = slab.iter().map(|(key, &n)| (key, n)).collect();
    assert_eq!(left, model);
}

/// A key that was made up finds what the true one would, and nothing else.
fn look_up(bits: u64, slab: &mut Slab<usize>, model: &mut HashMap<SlabKey, usize>) {
    let key = SlabKey::from_bits(bits);
    assert_eq!(slab.get(key), model.get(&key));
    assert_eq!(slab.get_mut(key), model.get_mut(&key));
    assert_eq!(slab.remove(key), model.remove(&key));
}
