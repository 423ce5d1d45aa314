//! The state of a connection, and what it has to do next.
//!
//! [`State::next_step`] is a pure function: it chooses the next step, and `connection.rs` takes it. So the order of a
//! protocol's calls is defined in one place. A method that the program calls on the transport inside such a call
//! changes only this state.
//!
//! Rules: D1, D2, D3.

use crate::base::byte_queue::ByteQueue;
use crate::poll::Interest;
use std::io;

/// The default high mark of a transport's write buffer; the low mark is a quarter of it.
pub(super) const DEFAULT_HIGH_MARK: usize = 64 << 10;

/// The beginning of a connection. It is apart from the [`Phase`], because a program may close a transport at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It is not established yet.
    Connecting,
    /// It is established, and `connection_made` has not been called yet.
    New,
    /// `connection_made` was called.
    Made,
}

/// The phase of a connection. A connection goes through this list from top to bottom, and may skip phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Nothing is read, and no write is accepted. The buffer is being sent.
    Closing,
    /// The buffer is empty, or cannot be sent; `connection_lost` has not been called yet.
    Ended,
    /// `connection_lost` was called.
    Lost,
}

/// An action that is requested at most once, and done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    No,
    Asked,
    Done,
}

/// What a connection has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    ConnectionMade,
    ServerDraining,
    ShutDownWriting,
    PauseWriting,
    ResumeWriting,
    ConnectionLost,
}

pub(super) struct State {
    pub(super) start: Start,
    pub(super) phase: Phase,
    /// The error that has ended the connection, for `connection_lost`.
    pub(super) error: Option<io::Error>,
    pub(super) buffer: ByteQueue,
    pub(super) low: usize,
    pub(super) high: usize,
    /// The program has paused reading.
    pub(super) is_paused: bool,
    /// Reading is paused until the write buffer has come down to its low mark.
    pub(super) is_held: bool,
    pub(super) has_end: bool,
    /// The shutdown of the writing side.
    pub(super) end: Once,
    pub(super) draining: Once,
    /// The buffer has been above its high mark since the last `resume_writing`. It may be empty again by the time
    /// that `pause_writing` can be called, but a protocol that has stopped at the mark waits for the pair of calls.
    pub(super) has_risen: bool,
    /// `pause_writing` was called, and `resume_writing` was not called yet.
    pub(super) is_writing_paused: bool,
}

impl State {
    pub(super) fn new(start: Start) -> Self {
        Self {
            start,
            phase: Phase::Open,
            error: None,
            buffer: ByteQueue::default(),
            low: DEFAULT_HIGH_MARK / 4,
            high: DEFAULT_HIGH_MARK,
            is_paused: false,
            is_held: false,
            has_end: false,
            end: Once::No,
            draining: Once::No,
            has_risen: false,
            is_writing_paused: false,
        }
    }

    /// Returns the next step; `None` until the state changes.
    pub(super) fn next_step(&self) -> Option<Step> {
        let buffered = self.buffer.len();
        match self.phase {
            Phase::Lost => None,
            // D1: also if it was closed or aborted meanwhile.
            _ if self.start == Start::New => Some(Step::ConnectionMade),
            Phase::Ended => Some(Step::ConnectionLost),
            _ if self.start == Start::Connecting => None,
            Phase::Closing => (buffered == 0).then_some(Step::ConnectionLost),
            Phase::Open if self.draining == Once::Asked => Some(Step::ServerDraining),
            Phase::Open if self.end == Once::Asked && buffered == 0 => Some(Step::ShutDownWriting),
            Phase::Open if !self.is_writing_paused && self.has_risen => Some(Step::PauseWriting),
            Phase::Open if self.is_writing_paused && buffered <= self.low => {
                Some(Step::ResumeWriting)
            }
            Phase::Open => None,
        }
    }

    /// Whether bytes of the peer are passed to the protocol.
    pub(super) fn reads(&self) -> bool {
        self.phase == Phase::Open
            && self.start == Start::Made
            && !self.is_paused
            && !self.is_held
            && !self.has_end
    }

    /// Whether bytes may be sent now.
    pub(super) fn sends(&self) -> bool {
        self.start == Start::Made && self.phase <= Phase::Closing
    }

    /// Returns the interest for the poller. The loop itself waits for the end of a connection attempt. A
    /// `resume_writing` that is still due (D3) is called after the next event, so it needs one also if the buffer is
    /// empty.
    pub(super) fn interest(&self) -> Interest {
        let read = match self.reads() || self.start == Start::Connecting {
            true => Interest::READ,
            false => Interest::NONE,
        };
        let writes = self.sends() && !self.buffer.is_empty();
        match writes || self.next_step() == Some(Step::ResumeWriting) {
            true => read | Interest::WRITE,
            false => read,
        }
    }

    /// Keeps bytes that the socket does not take.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
        self.check_mark();
    }

    /// Notes the call of `resume_writing`. If the marks were changed meanwhile, the buffer may be above the high one.
    pub(super) fn resume(&mut self) {
        self.is_writing_paused = false;
        self.has_risen = false;
        self.check_mark();
    }

    pub(super) fn check_mark(&mut self) {
        self.has_risen |= self.buffer.len() > self.high;
    }

    /// Begins the close: nothing is read, and no write is accepted any more. `false` if it was closing before. A
    /// connection that is not established yet ends at once, unless there is something to send.
    pub(super) fn close(&mut self) -> bool {
        if self.phase >= Phase::Closing {
            return false;
        }
        if self.start == Start::Connecting && self.buffer.is_empty() {
            return self.end_with(None);
        }
        self.phase = Phase::Closing;
        true
    }

    /// Ends the connection at once. `false` if it had ended before: then the first error is kept.
    pub(super) fn end_with(&mut self, error: Option<io::Error>) -> bool {
        if self.phase >= Phase::Ended {
            return false;
        }
        self.phase = Phase::Ended;
        self.error = error;
        self.buffer.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(buffered: usize) -> State {
        let mut state = State::new(Start::Made);
        (state.low, state.high) = (2, 5);
        state.push(&vec![0; buffered]);
        state
    }

    #[test]
    fn writing_pauses_above_the_high_mark_and_resumes_at_the_low_one() {
        assert_eq!(open(5).next_step(), None);
        assert_eq!(open(6).next_step(), Some(Step::PauseWriting));
        let mut risen = open(6);
        risen.buffer.take(6);
        assert_eq!(risen.next_step(), Some(Step::PauseWriting), "it was above");
        let mut paused = open(3);
        paused.is_writing_paused = true;
        assert_eq!(paused.next_step(), None);
        paused.buffer.take(1);
        assert_eq!(paused.next_step(), Some(Step::ResumeWriting));
    }

    #[test]
    fn a_close_waits_for_the_buffer_and_the_first_reason_counts() {
        let mut state = open(1);
        assert!(state.close() && !state.close());
        assert_eq!((state.next_step(), state.reads()), (None, false));
        assert!(state.end_with(Some(io::ErrorKind::BrokenPipe.into())));
        assert!(!state.end_with(None) && state.error.is_some());
        assert_eq!(state.next_step(), Some(Step::ConnectionLost));
    }

    #[test]
    fn a_connection_that_is_closed_at_once_is_made_first_if_it_is_established() {
        let closed = |start, buffered: usize| {
            let mut state = State::new(start);
            state.push(&vec![0; buffered]);
            assert!(state.close());
            (state.next_step(), state.phase)
        };
        let made = Some(Step::ConnectionMade);
        assert_eq!(closed(Start::New, 0), (made, Phase::Closing));
        assert_eq!(closed(Start::Connecting, 1), (None, Phase::Closing));
        let lost = Some(Step::ConnectionLost);
        assert_eq!(closed(Start::Connecting, 0), (lost, Phase::Ended));
        let mut aborted = State::new(Start::New);
        assert!(aborted.end_with(None));
        assert_eq!(aborted.next_step(), made);
        aborted.start = Start::Made;
        assert_eq!(aborted.next_step(), lost);
    }

    #[test]
    fn an_end_waits_for_the_buffer_and_comes_once() {
        let mut state = open(1);
        state.end = Once::Asked;
        assert_eq!(state.next_step(), None);
        state.buffer.take(1);
        assert_eq!(state.next_step(), Some(Step::ShutDownWriting));
        state.end = Once::Done;
        assert_eq!(state.next_step(), None);
    }
}
