//! The simulated kernel with very many objects: each costs as little as the first.
//!
//! A scan of all descriptors for each of a hundred thousand would take minutes of processor time,
//! which the watchdog of a guarded test ends. The test measures no other time.

use crate::support::guard;
use readily_testing::Kernel;
use std::net::SocketAddr;

#[test]
fn a_hundred_thousand_descriptors_in_memory_come_and_go_without_a_walk_through_the_others() {
    let _guard = guard!();
    const PAIRS: usize = 80_000;
    let kernel = Kernel::new();
    kernel.set_limit(3 * PAIRS);
    let pairs: Vec<_> = (0..PAIRS).map(|_| kernel.pair().unwrap()).collect();
    for _ in 0..PAIRS {
        kernel.pair().unwrap();
    }
    let mut numbers: Vec<i32> = pairs
        .iter()
        .flat_map(|(one, two)| [one.number(), two.number()])
        .collect();
    assert!(numbers.is_sorted(), "each was the lowest that was free");
    numbers.dedup();
    assert_eq!(numbers.len(), 2 * PAIRS);
    // The lowest one again, wherever that is.
    let mut pairs = pairs;
    let gone = pairs.swap_remove(7).0.number();
    assert_eq!(kernel.pipe().unwrap().0.number(), gone);
    drop(pairs);
    assert_eq!(kernel.open(), 0);
}

/// Each port once, and then the error that the system has for it.
#[test]
fn a_port_is_refused_when_all_are_taken() {
    let _guard = guard!();
    let kernel = Kernel::new();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut listeners = Vec::new();
    let refused = loop {
        match kernel.listen(any, 1) {
            Ok(listener) => listeners.push(listener),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(listeners.len(), 16_384);
    listeners.pop();
    kernel.listen(any, 1).unwrap();
}
