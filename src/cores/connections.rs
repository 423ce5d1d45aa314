//! The connections of a server, counted for each core, and the choice of the next core.
//!
//! The counts are atomics, which all cores change and no rule rests on: a count that is a moment old makes
//! a connection go to another core than the best one, and no more.
//!
//! In the notes: more than one core (N12).

use super::listen::Distribution;
use std::net::{self, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The connections of one core of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreConnections {
    /// How many connections the core has been given so far.
    pub total: usize,
    /// How many of these are open, or on their way to the core.
    pub open: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: AtomicUsize,
    open: AtomicUsize,
}

/// The counts of all cores of a server.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<[Counts]>);

impl Connections {
    pub(super) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Counts::default()).collect())
    }

    /// Counts a connection of a core until the guard is dropped.
    pub(super) fn add(&self, core: usize) -> Open {
        self.0[core].total.fetch_add(1, Ordering::Relaxed);
        self.0[core].open.fetch_add(1, Ordering::Relaxed);
        Open {
            connections: self.clone(),
            core,
        }
    }

    pub(super) fn get(&self) -> Vec<CoreConnections> {
        let get = |counts: &Counts| CoreConnections {
            total: counts.total.load(Ordering::Relaxed),
            open: counts.open.load(Ordering::Relaxed),
        };
        self.0.iter().map(get).collect()
    }

    /// The cores in the order in which they are offered the `n`-th connection.
    pub(super) fn order(&self, distribution: Distribution, n: usize) -> Vec<usize> {
        let open = |core: usize| self.0[core].open.load(Ordering::Relaxed);
        order(distribution, n, self.0.len(), open)
    }
}

/// A connection that is open, or on its way to its core.
pub(super) struct Open {
    connections: Connections,
    core: usize,
}

impl Open {
    /// The core did not take the connection.
    pub(super) fn refused(self) {
        self.connections.0[self.core]
            .total
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.0[self.core]
            .open
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that was accepted, and whose core is decided.
pub(super) struct Arrival {
    pub(super) stream: net::TcpStream,
    pub(super) peer: SocketAddr,
    /// The socket that accepted it, and its address, for reports.
    pub(super) listener: RawFd,
    pub(super) addr: SocketAddr,
    pub(super) open: Open,
}

/// M5: the order in which the cores are offered the `n`-th connection: each in its turn, or the one with the
/// fewest open connections first, and each in its turn among those with as many.
fn order(
    distribution: Distribution,
    n: usize,
    cores: usize,
    open: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cores).map(|core| (n + core) % cores).collect();
    if distribution == Distribution::LeastConnections {
        order.sort_by_cached_key(|&core| open(core));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M5.
    #[test]
    fn every_core_is_offered_a_connection_once_and_the_right_one_first() {
        for cores in 1..5_usize {
            for n in 0..9 {
                // Each combination of up to three open connections on each core.
                for mut code in 0..4_usize.pow(u32::try_from(cores).unwrap()) {
                    let mut counts = Vec::new();
                    for _ in 0..cores {
                        counts.push(code % 4);
                        code /= 4;
                    }
                    let round = order(Distribution::RoundRobin, n, cores, |core| counts[core]);
                    let least = order(Distribution::LeastConnections, n, cores, |core| {
                        counts[core]
                    });
                    for order in [&round, &least] {
                        let mut all = order.clone();
                        all.sort_unstable();
                        assert_eq!(all, (0..cores).collect::<Vec<_>>());
                    }
                    assert_eq!(round[0], n % cores);
                    assert_eq!(counts[least[0]], *counts.iter().min().unwrap());
                    let equal: Vec<usize> = round
                        .iter()
                        .copied()
                        .filter(|&core| counts[core] == counts[least[0]])
                        .collect();
                    assert_eq!(least[0], equal[0], "among equals each in its turn");
                }
            }
        }
    }

    #[test]
    fn a_connection_counts_until_it_has_ended_or_was_refused() {
        let connections = Connections::new(2);
        let (one, other) = (connections.add(1), connections.add(1));
        let count = |total, open| CoreConnections { total, open };
        assert_eq!(connections.get(), [count(0, 0), count(2, 2)]);
        assert_eq!(connections.order(Distribution::LeastConnections, 1), [0, 1]);
        drop(one);
        other.refused();
        assert_eq!(connections.get(), [count(0, 0), count(1, 0)]);
    }
}
