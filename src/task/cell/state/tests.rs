//! Orders of transitions, each against what the ones before it allow. Rules: T1, T3, T4.

use super::*;

/// Calls the transition `n` in an allowed way, and checks it against what the earlier ones allow.
struct Checked {
    state: State,
    polls: bool,
    has_future: bool,
    has_output: bool,
    was_cancelled: bool,
    end: Option<TaskState>,
    result_taken: bool,
}

impl Checked {
    fn new() -> Self {
        Self {
            state: State::new(false),
            polls: false,
            has_future: true,
            has_output: false,
            was_cancelled: false,
            end: None,
            result_taken: false,
        }
    }

    fn step(&mut self, n: u32) {
        let is_ending = !self.has_future && !self.polls;
        match n {
            0 => {
                let begun = self.state.begin_poll() == BeginPoll::Begun;
                assert_eq!(begun, self.has_future && !self.polls);
                self.polls |= begun;
            }
            1 if self.polls => {
                let parked = self.state.park() == Park::Parked;
                assert_eq!(parked, !self.was_cancelled);
                self.polls = !parked;
            }
            2 if self.polls => {
                let ended = self.state.begin_end() == BeginEnd::Cancelled;
                assert_eq!(ended, self.was_cancelled);
                assert_eq!(self.state.cancel(), Cancel::Refused);
                self.state.end_poll(Body::Output);
                (self.polls, self.has_future, self.has_output) = (false, false, true);
            }
            3 => {
                let cancel = self.state.cancel();
                assert_eq!(cancel == Cancel::Refused, self.was_cancelled || is_ending);
                assert_eq!(
                    cancel == Cancel::EndsAfterPoll,
                    !self.was_cancelled && self.polls
                );
                self.was_cancelled |= !is_ending;
            }
            4 => {
                let taken = self.state.take_future();
                assert_eq!(taken, self.has_future && !self.polls);
                self.has_future &= !taken;
                if taken && !self.was_cancelled {
                    // As `close` does.
                    let _ = self.state.begin_end();
                }
            }
            5 if is_ending && self.end.is_none() => {
                let end = match self.was_cancelled {
                    true => TaskState::Cancelled,
                    false => TaskState::Done,
                };
                self.state.complete(end);
                self.end = Some(end);
            }
            6 => {
                let taken = self.state.take_result();
                assert_eq!(taken, self.end.filter(|_| !self.result_taken));
                self.result_taken |= taken.is_some();
            }
            7 if self.result_taken => {
                self.state.put_result_back();
                self.result_taken = false;
            }
            8 => {
                let taken = self.state.take_output();
                assert_eq!(taken, self.has_output);
                self.has_output = false;
            }
            9 => {
                let put_back = self.state.put_output_back();
                let is_free = !self.has_future && !self.has_output;
                assert_eq!(put_back, is_free, "nothing is overwritten");
                self.has_output |= put_back;
            }
            _ => {}
        }
        let state = self.state.task_state();
        assert_eq!(state == TaskState::Running, self.polls);
        assert_eq!(self.end, state.is_ended().then_some(state), "T3: one end");
        let shown = self.end.is_some() && !self.result_taken;
        assert_eq!(self.state.has_untaken_result(), shown);
    }
}

/// T1, T3, T4: every order of five transitions, and of their flags; of three under Miri.
#[test]
fn each_transition_is_granted_only_where_the_ones_before_allow_it() {
    let len = if cfg!(miri) { 3 } else { 5 };
    for order in 0..10_u32.pow(len) {
        let mut checked = Checked::new();
        (0..len).for_each(|at| checked.step(order / 10_u32.pow(at) % 10));
    }
}

#[test]
fn a_task_is_queued_by_one_wake_between_two_polls() {
    let state = State::new(false);
    assert_eq!(
        state.wake(),
        Wake::Nothing,
        "a new task is queued by its spawn"
    );
    assert!(state.clear_queued());
    assert_eq!((state.wake(), state.wake()), (Wake::Queue, Wake::Nothing));
    assert!(state.clear_queued() && !state.clear_queued());
}

#[test]
fn a_dropped_handle_drops_the_result_unless_a_callback_may_inspect_it() {
    for (ended, viewed) in [(false, false), (true, false), (true, true)] {
        let state = State::new(false);
        if ended {
            state.complete(TaskState::Done);
        }
        state.set_viewed(viewed);
        let drops = ended && !viewed;
        assert_eq!(state.detach() == Detach::DropResult, drops);
        assert_eq!(state.is_unwatched(), !viewed);
        state.set_viewed(false);
        assert!(state.is_unwatched() && state.is_detached());
    }
}

#[test]
fn a_task_that_is_ending_or_has_ended_is_not_queued_by_a_wake_on_its_thread() {
    let state = State::new(false);
    assert!(state.clear_queued());
    assert_eq!(state.wake_local(), LocalWake::Queue);
    assert!(state.clear_queued() && state.take_future());
    assert_eq!(state.wake_local(), LocalWake::Rare);
    assert!(
        !state.wake_rare() && !state.clear_queued(),
        "and its flag stays as it is"
    );
    // While it is polled it is queued once more (T2).
    let state = State::new(false);
    assert!(state.clear_queued() && state.begin_poll() == BeginPoll::Begun);
    assert_eq!(
        (state.wake_local(), state.wake_local()),
        (LocalWake::Queue, LocalWake::Nothing)
    );
    // A main task is queued by a call of its own, until it has ended.
    let state = State::new(true);
    assert!(state.clear_queued());
    assert_eq!(state.wake_local(), LocalWake::Rare);
    assert!(state.wake_rare() && !state.wake_rare() && state.clear_queued());
    assert!(state.take_future() && !state.wake_rare());
}
