//! A look at a kernel in memory from outside: what holds of a descriptor, and which faults it has.
//!
//! A test that knows what is so can say whether a poller told the truth. To look changes nothing,
//! neither who is told of what nor what comes by chance.

use super::files::Body;
use super::{Faults, Kernel, watch};
use readily::poll::Readiness;

impl Kernel {
    /// Its faults as they are now.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.table.borrow().faults.clone()
    }

    /// Whether the last wait of a poller looked, and found nothing. One that was ended early has
    /// not looked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.borrow().idle
    }

    /// What holds of the descriptor with this number, whoever asks for it, and how many bytes lie
    /// unread there; `None` if there is no such descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::Readiness;
    /// use readily_testing::sim::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let (here, there) = kernel.pair()?;
    /// there.write(b"hello")?;
    /// let both = Readiness::READ | Readiness::WRITE;
    /// assert_eq!(kernel.look(here.number()), Some((both, 5)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn look(&self, number: i32) -> Option<(Readiness, usize)> {
        let now_ns = self.now_ns();
        let mut table = self.table.borrow_mut();
        let file = table.file(number).ok()?;
        let holds = watch::reported(table.bits(file, now_ns));
        let unread = match &table.at(file).body {
            Body::End(end) => end.input.len(),
            _ => 0,
        };
        Some((holds, unread))
    }
}
