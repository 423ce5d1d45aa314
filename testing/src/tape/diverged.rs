//! What can be wrong with a replay.
//!
//! A program that is replayed has to do what it did; where it does something else, the tape has no
//! answer, and to make one up would hide the very difference that is looked for. So the first
//! difference is told, with its place, and everything from there on fails with it.

use thiserror::Error;

/// How a replay differs from its recording, or why it could not go on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diverged {
    /// The bytes are no recording, or of another version.
    #[error("this is no recording of this version")]
    NotATape,
    /// The recording ends before the program does. It may have been cut off.
    #[error("the recording ends here, and the program goes on")]
    Ends,
    /// An entry that cannot have been written, or a piece whose sum is another: a byte has changed.
    #[error("the recording makes no sense at byte {at}")]
    Spoilt {
        /// Where in the recording.
        at: usize,
    },
    /// The program did something else.
    #[error("at entry {entry} the recording has {recorded}, and the program does {done}")]
    Other {
        /// Which entry, counted from zero.
        entry: u64,
        /// What is on the tape.
        recorded: String,
        /// What was done in the replay.
        done: String,
    },
    /// Another thread sent something in the recording, and in the replay nothing came in time: see
    /// [`Replayer::set_patience`](super::Replayer::set_patience).
    #[error("at entry {entry} another thread sent something, and in the replay none does")]
    NothingSent {
        /// Which entry, counted from zero.
        entry: u64,
    },
    /// The program ended before its recording did.
    #[error("the program has ended after entry {entry}, and the recording goes on")]
    EndsEarly {
        /// How many entries were played.
        entry: u64,
    },
}
