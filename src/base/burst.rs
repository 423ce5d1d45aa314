//! When a burst is over: how few entries are too few for the room that they have.
//!
//! What grows with a burst of tasks, timers or closures must not keep that size for life (R126), and
//! must not be made anew for each burst either. So room is halved, and only where the entries would
//! fit into an eighth of it; small rooms are left alone. One rule for queues, heaps and slabs.
//!
//! Nothing in the notes; the things of N1 come in bursts.

/// Up to room for so many nobody asks for the memory back.
pub(crate) const KEPT: usize = 1024;

/// With fewer entries than this, room for `room` is too much; zero where it never is.
#[inline]
pub(crate) const fn low(room: usize) -> usize {
    if room > KEPT { room / 8 } else { 0 }
}
