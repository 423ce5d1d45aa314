//! The whole loop against one model, on each simulated kernel: generated programs
//! (`readily_testing::strategies`), and the short programs to which failures were reduced.
//!
//! A program consists of what callbacks, timers, closures, tasks and other threads can do, in any
//! order and with any mix of faults. Each call of the loop is compared with the call that the model
//! expects next.
//!
//! Invariants: L1 to L10, C1 to C5, W1 to W3, T1 to T4, S4.

use crate::kernels::KERNELS;
use crate::scripted::Gate;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use readily::{Callbacks, Cx, Readiness};
use readily_testing::strategies::{
    Program, Report, Scripted, Violation, faults, personality, program, refusals,
};
use readily_testing::{Faults, Kernel, SimLoop};
use std::io;

fn any_faults() -> impl Strategy<Value = Faults> {
    prop_oneof![faults(), refusals()]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// L1 to L10, C1 to C5, W1, W2, T1 to T4, S4: on each system, with any mix of faults.
    #[test]
    fn a_program_runs_as_the_model_says(
        faults in any_faults(),
        system in personality(),
        program in program(),
    ) {
        let ran = program.run(&mut SimLoop::on(system, faults.clone()));
        ran.map_err(|violation| with_line(violation, &faults, &program))?;
    }

    /// W3, S4: closing a loop drops all that it still has.
    #[test]
    fn a_loop_that_is_closed_lets_go_of_everything(
        faults in any_faults(),
        system in personality(),
        program in program(),
    ) {
        let ran = program.run_to_close(SimLoop::on(system, faults.clone()));
        ran.map_err(|violation| with_line(violation, &faults, &program))?;
    }

    /// Failed cases are kept as they were printed.
    #[test]
    fn a_program_can_be_read_as_it_was_printed(program in program()) {
        prop_assert_eq!(program.to_string().parse(), Ok(program));
    }
}

/// Repeats a case that failed without faults: on each kernel, to its end and to the end of the loop.
fn again(text: &str) {
    again_with(Faults::none(), text);
}

/// Repeats a case that failed under `faults`. The message of a failure ends with such a call.
fn again_with(faults: Faults, text: &str) {
    let program: Program = text.parse().unwrap();
    for system in KERNELS {
        let sim = || SimLoop::on(system, faults.clone());
        program.run(&mut sim()).unwrap();
        program.run_to_close(sim()).unwrap();
    }
}

/// The call that repeats a case, to be pasted into a test of this file.
fn line_for(faults: &Faults, program: &Program) -> String {
    format!("again_with({faults:?}, \"\n{program}\");")
}

fn with_line(violation: Violation, faults: &Faults, program: &Program) -> TestCaseError {
    let line = line_for(faults, program);
    TestCaseError::fail(format!(
        "{violation}\nTo repeat it, paste this into tests/props/programs.rs:\n{line}\n"
    ))
}

#[test]
fn a_failure_prints_the_call_that_repeats_it() {
    let program: Program = "stop; run 1; soon #0 { send }".parse().unwrap();
    let mut faults = Faults::seeded(3);
    let text = "\"\nstop\nrun 1\nsoon #0 { send }\n\");";
    assert_eq!(
        line_for(&faults, &program),
        format!("again_with(Faults::seeded(3), {text}")
    );
    faults.short = 1;
    let set = "{ let mut faults = Faults::seeded(3); faults.short = 1; faults }";
    assert_eq!(
        line_for(&faults, &program),
        format!("again_with({set}, {text}")
    );
    again_with(faults, "\nstop\nrun 1\nsoon #0 { send }\n");
}

/// L5: the first future's number was still queued before the second future's number, so that the
/// second one was polled twice in one turn.
#[test]
fn a_run_after_one_that_was_stopped_takes_as_many_turns_as_it_should() {
    again("stop; run 1; run 1");
}

/// T1: the model marked a task that had ended as queued when its own loop woke it. The loop does
/// not, so that a later wake from outside the loop is a message, which ends the next wait.
#[test]
fn a_wake_on_the_loop_of_a_task_that_has_ended_leaves_no_mark() {
    again("soon #0 { spawn #1 { wake #3 } }; spawn #3; run 1; turn; wake #3; wait 1");
}

/// T1: the same for a task that was queued when it ended: the mark goes when the queue reaches it.
#[test]
fn a_task_that_ends_while_it_is_queued_keeps_no_mark() {
    again("spawn #0 { wake #0 }; turn; turn; wake #0; wait 1");
    // Not the mark of a message, which the loop drops.
    again("spawn #3; turn; wake #3; turn; wake-remote #3; wait 1");
}

/// R024: a bug of the simulated kernel, which did not report the event.
#[test]
fn room_that_a_wider_buffer_makes_is_reported() {
    again("tcp #0 #1; write #0 1; narrow #1 1; register #0 write level; narrow #1 2; turn");
    again("pipe #0 #1; narrow #0 1; write #1 1; register #1 write edge; turn; narrow #0 2; turn");
}

/// R024: a socket that FreeBSD and NetBSD close in order drops the bytes that were not read, and
/// the simulated kernel did not report the new room to a writer.
#[test]
fn room_that_a_closed_reader_leaves_is_reported() {
    again(
        "tcp #0 #1; register #0 read level { close #0 }; register #1 write level { write #1 1 }; \
         narrow #0 0; turn; turn",
    );
}

/// R024: a kqueue refused to add a filter for the hangup a second time, and kept the first one; the
/// poller took the filter as removed, replaced it by none when read interest was set, and reported
/// bytes by the edge.
#[test]
fn a_reader_by_the_level_stays_that_when_what_it_did_not_ask_for_was_refused() {
    let text = "pair #0 #1; register #0 urgent level; modify #0 nothing; modify #0 urgent; \
                modify #0 read; write #1 1; turn; turn";
    let program: Program = text.parse().unwrap();
    for (system, nth) in KERNELS
        .into_iter()
        .flat_map(|system| (0..8).map(move |n| (system, n)))
    {
        let mut faults = Faults::none();
        faults.fails = Some((nth, libc::ENOMEM));
        program.run(&mut SimLoop::on(system, faults)).unwrap();
    }
}

/// The shortest program that breaks this rule, and the message.
fn shortest(rule: &str, runs: impl Fn(&Program) -> Result<Report, Violation>) -> (String, Program) {
    let config = ProptestConfig {
        cases: 5_000,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran =
        TestRunner::new_with_rng(config, rng).run(&program(), |program| match runs(&program) {
            Err(violation) if violation.rule() == rule => Err(violation.into()),
            _ => Ok(()),
        });
    match ran {
        Err(TestError::Fail(why, program)) => (why.to_string(), program),
        ran => panic!("the planted bug is not found: {ran:?}"),
    }
}

/// R004, and that a failure is reduced to a short program: only a duplicate that stays open shows
/// the bug, so the program has nothing else.
#[test]
fn a_poller_that_loses_removals_is_found_by_a_short_program() {
    let (why, program) = shortest("R004", |program| {
        let kernel = Kernel::new();
        let forgetful = Gate {
            poller: Box::new(kernel.poller()),
            passes: Box::new(|_, interest| interest.is_some()),
        };
        program.run(&mut SimLoop::over(kernel, Box::new(forgetful)))
    });
    let program = program.to_string();
    assert!(program.contains("dup"), "{why}{program}");
    assert!(program.lines().count() <= 6, "{why}{program}");
}

/// Wraps callbacks with a bug: passes the first read callback on, and drops all later ones.
struct Once {
    inside: Scripted,
    read: bool,
}

impl Callbacks for Once {
    fn on_open(&mut self, cx: &Cx<'_>) {
        self.inside.on_open(cx);
    }
    fn on_connect(&mut self, cx: &Cx<'_>) {
        self.inside.on_connect(cx);
    }
    fn on_read(&mut self, cx: &Cx<'_>) {
        if !std::mem::replace(&mut self.read, true) {
            self.inside.on_read(cx);
        }
    }
    fn on_write(&mut self, cx: &Cx<'_>) {
        self.inside.on_write(cx);
    }
    fn on_hangup(&mut self, cx: &Cx<'_>, error: Option<io::Error>) {
        self.inside.on_hangup(cx, error);
    }
    fn on_default(&mut self, cx: &Cx<'_>, ready: Readiness) {
        self.inside.on_default(cx, ready);
    }
}

/// L6, and that a failure names the callback that was not called.
#[test]
fn a_layer_that_drops_a_call_is_found_and_the_call_is_named() {
    let (why, program) = shortest("L6", |program| {
        let wrap = |inside| Once {
            inside,
            read: false,
        };
        program.run_with(&mut SimLoop::new(1), wrap)
    });
    let what = why.lines().next().unwrap();
    assert!(what.contains("the read callback of"), "{why}");
    assert!(what.ends_with("should have been called"), "{why}");
    assert!(program.to_string().lines().count() <= 4, "{why}{program}");
}

/// A program's text may come from anyone: it may be refused, and must not end the test process.
#[test]
fn a_program_whose_braces_go_too_deep_is_refused() {
    let nested = |depth| "spawn #0 { ".repeat(depth) + &"} ".repeat(depth);
    assert!(nested(16).parse::<Program>().is_ok());
    let refused = nested(5000).parse::<Program>().unwrap_err().to_string();
    assert!(refused.contains("`{`"), "{refused}");
    assert!("spawn #0 { ".repeat(5000).parse::<Program>().is_err());
}

#[test]
fn a_program_that_cannot_be_is_refused_with_its_line() {
    for (text, message) in [
        ("pipe #0 #1\nread #9 1", "line 2: unexpected `#9`"),
        ("arm #4 1", "line 1: unexpected `#4`"),
        ("pipe #0 #1\n\nread #0 { turn", "line 3: unexpected `{`"),
        ("soon #0 {\nturn", "line 2: unexpected end of the text"),
    ] {
        assert_eq!(text.parse::<Program>().unwrap_err().to_string(), message);
    }
}
