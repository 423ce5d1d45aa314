//! The slab, compared with a hash map: L1, also with stale keys and keys that were never issued.

use crate::List;
use crate::base::slab::{Slab, SlabKey};
use arbitrary::Arbitrary;
use std::collections::HashMap;

/// The input of [`slab`].
pub type SlabOps = List<SlabOp>;

/// One call. Keys are chosen from all that were ever issued.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum SlabOp {
    Insert,
    InsertWith,
    Remove(u8),
    RemoveNewest,
    Get(u8),
    Change(u8),
    /// A made-up slot and generation.
    Forge(u8, u8),
    ForgeAny(u64),
    First,
    Empty,
}

/// Runs `ops` on the slab and on the map.
///
/// # Panics
///
/// If their results differ.
pub fn slab(ops: &SlabOps) {
    let mut slab = Slab::default();
    let mut model: HashMap<SlabKey, usize> = HashMap::new();
    let mut all: Vec<SlabKey> = Vec::new();
    for (n, &op) in ops.iter().enumerate() {
        let pick = |pick: u8| all.get(usize::from(pick) % all.len().max(1)).copied();
        match op {
            SlabOp::Insert | SlabOp::InsertWith => {
                let mut passed = None;
                let key = match op {
                    SlabOp::Insert => slab.insert(n),
                    _ => slab.insert_with(|key| {
                        passed = Some(key);
                        n
                    }),
                };
                assert!(passed.is_none_or(|passed| passed == key));
                assert!(!all.contains(&key), "{key:?} was issued before");
                assert_ne!(key.to_bits(), u64::MAX, "this key is reserved for the poller");
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
                // In the order of slots: the slot is the lower half of a key's bits.
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

/// A made-up key finds a value only if it equals an issued key.
fn look_up(bits: u64, slab: &mut Slab<usize>, model: &mut HashMap<SlabKey, usize>) {
    let key = SlabKey::from_bits(bits);
    assert_eq!(slab.get(key), model.get(&key));
    assert_eq!(slab.get_mut(key), model.get_mut(&key));
    assert_eq!(slab.remove(key), model.remove(&key));
}
