//! The names of the kernel in memory: a table, as `/etc/hosts` is one.
//!
//! In the notes this is one more part of the kernel below the selector (N2).

use super::Kernel;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// The addresses of each name, which is in lower case.
pub(super) struct Hosts(BTreeMap<String, Vec<IpAddr>>);

impl Default for Hosts {
    fn default() -> Self {
        let localhost = ("localhost".to_owned(), vec![Ipv4Addr::LOCALHOST.into()]);
        Self(BTreeMap::from([localhost]))
    }
}

impl Kernel {
    /// Gives a name these addresses, in this order, in place of those that it has. `localhost` has 127.0.0.1 from
    /// the beginning. The case of letters does not matter, as in the network's names.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::lookup_host;
    /// use readily_testing::SimLoop;
    ///
    /// let mut sim = SimLoop::new(1);
    /// sim.kernel().set_host("db.example", [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]);
    /// let addrs = sim.run(lookup_host("db.example:5432"))??;
    /// assert_eq!(addrs, ["10.0.0.1:5432".parse()?, "10.0.0.2:5432".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_host(&self, name: &str, addrs: impl IntoIterator<Item = IpAddr>) {
        let addrs = addrs.into_iter().collect();
        let Hosts(hosts) = &mut *self.hosts.borrow_mut();
        hosts.insert(name.to_ascii_lowercase(), addrs);
    }

    /// Returns the addresses of a name.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn lookup_host(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let Hosts(hosts) = &*self.hosts.borrow();
        let found = hosts.get(&name.to_ascii_lowercase());
        let found = found.filter(|addrs| !addrs.is_empty()).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
