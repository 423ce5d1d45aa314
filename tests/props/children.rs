//! Children on a loop in memory, whose programs are futures: programs of starts, waits, signals, drops and stolen
//! statuses, in any order, against what is known of each child; and what is written to them and read from them,
//! whatever is cut short, late or given up.
//!
//! A number of a process that has been reaped is given to the next one at once. So a signal that is sent by the
//! number of a child that has ended hits another one.
//!
//! Invariants: P12, P13, P14.

use proptest::collection::vec;
use proptest::prelude::*;
use readily::process::{ChildError, ChildHandle, ChildWait, Command};
use readily::signal::Signal;
use readily::{sleep, wait_for, yield_now};
use readily_testing::{Faults, Kernel, SimChild, SimLoop, poll_once};
use std::cell::RefCell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Long after each program that ends has ended.
const LONG: Duration = Duration::from_secs(100);

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// It ends after so many milliseconds, with this code.
    Exits(u64, u8),
    Runs,
    /// It ends with this code when it gets SIGTERM.
    CatchesTerm(u8),
    /// The system refuses it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Spawn(Program, bool),
    Wait(usize),
    DropWait(usize),
    PollWaits,
    TryWait(usize),
    Signal(usize, Signal),
    FromOutside(usize, Signal),
    OnExit(usize),
    DropHandle(usize),
    Steal(usize),
    Turn,
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let program = prop_oneof![
        4 => (0..400_u64, any::<u8>()).prop_map(|(after, code)| Program::Exits(after, code)),
        2 => Just(Program::Runs),
        2 => any::<u8>().prop_map(Program::CatchesTerm),
        1 => Just(Program::Refused),
    ];
    let signal = || {
        prop_oneof![
            Just(Signal::TERM),
            Just(Signal::KILL),
            Just(Signal::STOP),
            Just(Signal::CONT),
            Just(Signal::CHLD),
        ]
    };
    let which = any::<usize>;
    prop_oneof![
        8 => (program, any::<bool>()).prop_map(|(program, kill)| Step::Spawn(program, kill)),
        4 => which().prop_map(Step::Wait),
        2 => which().prop_map(Step::DropWait),
        3 => Just(Step::PollWaits),
        2 => which().prop_map(Step::TryWait),
        3 => (which(), signal()).prop_map(|(which, signal)| Step::Signal(which, signal)),
        1 => (which(), signal()).prop_map(|(which, signal)| Step::FromOutside(which, signal)),
        2 => which().prop_map(Step::OnExit),
        3 => which().prop_map(Step::DropHandle),
        1 => which().prop_map(Step::Steal),
        3 => Just(Step::Turn),
        4 => (0..300_u64).prop_map(Step::Sleep),
    ]
}

async fn run_program(child: SimChild) -> u8 {
    let args: Vec<u64> = child
        .args()
        .iter()
        .map(|arg| arg.to_str().unwrap().parse().unwrap())
        .collect();
    match child.program().to_str().unwrap() {
        "exits" => {
            sleep(Duration::from_millis(args[0])).await;
            args[1] as u8
        }
        "catches" => {
            child.catch(Signal::TERM);
            assert_eq!(child.signal().await, Signal::TERM);
            args[0] as u8
        }
        _ => std::future::pending().await,
    }
}

fn command(program: Program) -> Command {
    let mut command = Command::new(match program {
        Program::Exits(..) => "exits",
        Program::Runs => "runs",
        Program::CatchesTerm(_) => "catches",
        Program::Refused => "refused",
    });
    match program {
        Program::Exits(after, code) => command.args([after.to_string(), code.to_string()]),
        Program::CatchesTerm(code) => command.arg(code.to_string()),
        Program::Runs | Program::Refused => &mut command,
    };
    command
}

fn set_programs(kernel: &Kernel) {
    kernel.set_programs(|child| match child.program() == "refused" {
        true => Err(io::ErrorKind::WouldBlock.into()),
        false => Ok(run_program(child)),
    });
}

/// How a child has ended: its status, or that is lost.
type End = Option<ExitStatus>;

fn end_of(result: Result<ExitStatus, ChildError>) -> End {
    match result {
        Ok(status) => Some(status),
        Err(ChildError::StatusLost) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A child, and what is known of it.
struct Known {
    id: u32,
    program: Program,
    kill_on_drop: bool,
    handle: Option<ChildHandle>,
    waits: Vec<ChildWait>,
    /// SIGTERM and SIGKILL that were sent while it had not been reaped.
    sent: Vec<Signal>,
    was_stolen: bool,
    callbacks: usize,
    /// What waiters and callbacks were given.
    ends: Rc<RefCell<Vec<End>>>,
    called: Rc<RefCell<Vec<End>>>,
}

impl Known {
    fn spawn(program: Program, kill_on_drop: bool) -> Option<Self> {
        let spawned = command(program).kill_on_drop(kill_on_drop).spawn();
        if program == Program::Refused {
            let refused = spawned.map(drop).unwrap_err();
            assert!(matches!(refused, ChildError::Io(_)), "{refused}");
            return None;
        }
        let handle = spawned.unwrap().handle();
        Some(Self {
            id: handle.id().unwrap(),
            program,
            kill_on_drop,
            handle: Some(handle),
            waits: Vec::new(),
            sent: Vec::new(),
            was_stolen: false,
            callbacks: 0,
            ends: Rc::default(),
            called: Rc::default(),
        })
    }

    /// Whether it has the number still, as a process or as a zombie.
    fn has_number(&self) -> bool {
        // A stolen status has made the number another's, of which the loop hears later.
        !self.was_stolen
            && self
                .handle
                .as_ref()
                .is_none_or(|handle| handle.id().is_some())
    }

    /// The last handle has gone, if no wait has one.
    fn dropped(&mut self) {
        if self.kill_on_drop && self.handle.is_none() && self.waits.is_empty() {
            self.sent.push(Signal::KILL);
        }
    }

    fn poll_waits(&mut self) {
        let had = !self.waits.is_empty();
        let ends = Rc::clone(&self.ends);
        self.waits.retain_mut(|wait| match poll_once(wait) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                ends.borrow_mut().push(end_of(result));
                false
            }
        });
        if had && self.ends.borrow().is_empty() {
            self.dropped();
        }
    }

    fn check(&self) {
        let ends = [self.ends.borrow(), self.called.borrow()]
            .map(|ends| ends.clone())
            .concat();
        assert!(ends.windows(2).all(|two| two[0] == two[1]), "P12: {ends:?}");
        let Some(end) = ends.first() else { return };
        let Some(status) = end else {
            assert!(self.was_stolen, "P12: the status is lost");
            return;
        };
        let by = |signal: Signal| self.sent.contains(&signal);
        let expected = match (self.program, status.code(), status.signal()) {
            (Program::Exits(_, code), Some(is), _) => i32::from(code) == is,
            (Program::CatchesTerm(code), Some(is), _) => i32::from(code) == is && by(Signal::TERM),
            // Also of one that catches it, before its first step.
            (_, None, Some(15)) => by(Signal::TERM),
            (_, None, Some(9)) => by(Signal::KILL),
            _ => false,
        };
        assert!(
            expected,
            "P13: {:?} ended with {status} after {:?}",
            self.program, self.sent
        );
        if let Some(handle) = &self.handle {
            assert_eq!(handle.id(), None, "P13");
            let late = handle.kill().unwrap_err();
            assert!(matches!(late, ChildError::Ended), "P13: {late}");
        }
    }

    /// Whether it lives for ever, from what has happened to it.
    fn lives(&self) -> bool {
        match self.program {
            Program::Exits(..) | Program::Refused => false,
            Program::Runs | Program::CatchesTerm(_) => self.sent.is_empty(),
        }
    }
}

/// Notes a signal that ends children.
fn note(sent: &mut Vec<Signal>, signal: Signal) {
    if matches!(signal, Signal::TERM | Signal::KILL) {
        sent.push(signal);
    }
}

async fn run_steps(kernel: Kernel, steps: Vec<Step>) {
    let mut all: Vec<Known> = Vec::new();
    for step in steps {
        let count = all.len().max(1);
        let chosen = |which: usize| which % count;
        match step {
            Step::Spawn(program, kill_on_drop) => all.extend(Known::spawn(program, kill_on_drop)),
            Step::Turn => yield_now().await,
            Step::Sleep(millis) => sleep(Duration::from_millis(millis)).await,
            Step::PollWaits => all.iter_mut().for_each(Known::poll_waits),
            Step::Wait(which) => {
                if let Some(known) = all.get_mut(chosen(which)) {
                    known
                        .waits
                        .extend(known.handle.as_ref().map(ChildHandle::wait));
                }
            }
            Step::DropWait(which) => {
                if let Some(known) = all.get_mut(chosen(which)) {
                    if known.waits.pop().is_some() {
                        known.dropped();
                    }
                }
            }
            Step::DropHandle(which) => {
                if let Some(known) = all.get_mut(chosen(which)) {
                    if known.handle.take().is_some() {
                        known.dropped();
                    }
                }
            }
            Step::TryWait(which) => {
                let known = all.get_mut(chosen(which));
                if let Some((known, handle)) =
                    known.and_then(|it| it.handle.clone().map(|handle| (it, handle)))
                {
                    match handle.try_wait() {
                        Ok(None) => assert!(handle.id().is_some()),
                        Ok(Some(status)) => known.ends.borrow_mut().push(Some(status)),
                        Err(error) => known.ends.borrow_mut().push(end_of(Err(error))),
                    }
                }
            }
            Step::Signal(which, signal) => {
                let known = all.get_mut(chosen(which));
                if let Some((known, handle)) =
                    known.and_then(|it| it.handle.clone().map(|handle| (it, handle)))
                {
                    match handle.signal(signal) {
                        Ok(()) => note(&mut known.sent, signal),
                        Err(ChildError::Ended) => {
                            assert!(handle.id().is_none() || known.was_stolen)
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::FromOutside(which, signal) => {
                // Whatever process has the number now.
                let Some(id) = all.get(chosen(which)).map(|known| known.id) else {
                    continue;
                };
                if kernel.kill(id, signal).is_ok() {
                    let has = all.iter_mut().rfind(|known| known.id == id);
                    has.into_iter()
                        .for_each(|known| note(&mut known.sent, signal));
                }
            }
            Step::OnExit(which) => {
                let known = all.get_mut(chosen(which));
                if let Some((known, handle)) =
                    known.and_then(|it| it.handle.clone().map(|handle| (it, handle)))
                {
                    known.callbacks += 1;
                    let called = Rc::clone(&known.called);
                    handle.on_exit(move |_, result| called.borrow_mut().push(end_of(result)));
                }
            }
            Step::Steal(which) => {
                let Some(known) = all
                    .get_mut(chosen(which))
                    .filter(|known| known.has_number())
                else {
                    continue;
                };
                if known.handle.is_some() {
                    known.was_stolen |= matches!(kernel.take_status(known.id), Ok(Some(_)));
                }
            }
        }
        all.iter().for_each(Known::check);
    }
    // At last all that can end has ended.
    for (id, _) in kernel.processes() {
        kernel.kill(id, Signal::CONT).unwrap();
    }
    sleep(LONG).await;
    all.iter_mut().for_each(Known::poll_waits);
    all.iter().for_each(Known::check);
    let lives: Vec<u32> = all
        .iter()
        .filter(|known| known.lives())
        .map(|known| known.id)
        .collect();
    let mut left = kernel.processes();
    left.sort_unstable();
    let mut expected: Vec<(u32, bool)> = lives.iter().map(|id| (*id, false)).collect();
    expected.sort_unstable();
    assert_eq!(
        left, expected,
        "P14: each that has ended was reaped, and no other"
    );
    for known in &all {
        let called = known.called.borrow().len();
        let due = if known.lives() { 0 } else { known.callbacks };
        assert_eq!(called, due, "each callback runs once");
        assert!(
            known.lives() || known.waits.is_empty(),
            "each wait has ended"
        );
    }
}

/// P13, R104: the next process has the number of a child whose status was taken by the loop, or by other code.
#[test]
fn no_signal_hits_the_next_process_with_the_number_of_a_child() {
    for is_stolen in [false, true] {
        let mut sim = SimLoop::new(1);
        let kernel = sim.kernel().clone();
        kernel.set_programs(|child| {
            let runs = child.program() == "runs";
            Ok(async move {
                let second = Duration::from_secs(1);
                sleep(if runs { 10 * second } else { second }).await;
                u8::from(runs)
            })
        });
        sim.run(async {
            let mut command = Command::new("ends");
            let mut ended = command.own_group().kill_on_drop(true).spawn().unwrap();
            let id = ended.id().unwrap();
            if is_stolen {
                kernel.kill(id, Signal::KILL).unwrap();
                assert!(kernel.take_status(id).unwrap().is_some());
            }
            assert_eq!(ended.wait().await.is_err(), is_stolen);
            let mut next = Command::new("runs").spawn().unwrap();
            assert_eq!(next.id(), Some(id));
            let refused = [
                ended.kill(),
                ended.signal(Signal::TERM),
                ended.signal_group(Signal::KILL),
            ];
            for refused in refused {
                assert!(matches!(refused, Err(ChildError::Ended)), "{refused:?}");
            }
            drop(ended);
            assert_eq!(next.wait().await.unwrap().code(), Some(1));
        })
        .unwrap();
    }
}

/// What a child does with its streams.
#[derive(Clone, Copy, Debug)]
enum Talk {
    /// It writes what it reads, in pieces of this length.
    Echo(usize),
    /// It reads so many bytes, and ends.
    Head(usize),
    /// It writes so many bytes to each stream, and reads nothing.
    Floods(usize),
    /// It leaves its standard output to another program.
    LeavesPipe,
}

fn talk() -> impl Strategy<Value = Talk> {
    prop_oneof![
        (500..20_000_usize).prop_map(Talk::Echo),
        (1..200_usize).prop_map(Talk::Head),
        (0..80_000_usize).prop_map(Talk::Floods),
        Just(Talk::LeavesPipe),
    ]
}

async fn talk_to_parent(mut child: SimChild, talk: Talk) -> u8 {
    let stdin = child.stdin.take().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    match talk {
        Talk::Echo(piece) => {
            let mut buffer = vec![0; piece];
            loop {
                match stdin.read(&mut buffer).await.unwrap() {
                    0 => return 1,
                    n => stdout.write_all(&buffer[..n]).await.unwrap(),
                }
                sleep(Duration::from_micros(9)).await;
            }
        }
        Talk::Head(len) => {
            let mut buffer = vec![0; len];
            let _end = stdin.read_exact(&mut buffer).await;
            2
        }
        Talk::Floods(len) => {
            stdout.write_all(&vec![1; len]).await.unwrap();
            stderr.write_all(&vec![2; len]).await.unwrap();
            3
        }
        Talk::LeavesPipe => {
            stdout.write_all(b"said").await.unwrap();
            drop(readily::spawn(async move {
                sleep(LONG).await;
                drop(stdout);
            }));
            4
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// P12, P13, P14.
    #[test]
    fn each_child_is_reaped_once_and_no_signal_hits_another(
        seed in 0..1000_u64,
        steps in vec(step(), 1..40),
    ) {
        let mut sim = SimLoop::new(seed);
        set_programs(sim.kernel());
        let kernel = sim.kernel().clone();
        sim.run(run_steps(kernel, steps)).unwrap();
    }

    /// R261, R262, R264, R107.
    #[test]
    fn what_a_child_is_sent_and_writes_is_complete_however_often_collecting_it_is_given_up(
        seed in proptest::option::of(0..1000_u64),
        talk in talk(),
        len in 0..200_000_usize,
        gives_up in vec(0..50_u64, 0..8),
    ) {
        let mut sim = match seed {
            Some(seed) => SimLoop::new(seed),
            None => SimLoop::with(Faults::default()),
        };
        sim.kernel().set_programs(move |child| Ok(talk_to_parent(child, talk)));
        let kernel = sim.kernel().clone();
        let input: Vec<u8> = (0..len).map(|n| ((n * 31) >> 3) as u8).collect();
        let sent = input.clone();
        let output = sim.run(async move {
            let mut command = Command::new("talks");
            for set in [Command::stdin, Command::stdout, Command::stderr] {
                set(&mut command, Stdio::piped());
            }
            let mut child = command.spawn().unwrap();
            for millis in gives_up {
                let early = wait_for(Duration::from_micros(millis), child.communicate(&sent)).await;
                if let Ok(early) = early {
                    return early.unwrap();
                }
            }
            child.communicate(&sent).await.unwrap()
        }).unwrap();
        match talk {
            Talk::Echo(_) => {
                prop_assert_eq!(output.status.code(), Some(1));
                prop_assert!(output.stdout == input && output.stderr.is_empty());
                prop_assert_eq!((output.fed, output.is_complete), (len, true));
            }
            Talk::Head(read) => {
                prop_assert_eq!(output.status.code(), Some(2));
                prop_assert!(output.fed >= read.min(len) && output.fed <= len);
            }
            Talk::Floods(many) => {
                prop_assert_eq!(output.status.code(), Some(3));
                prop_assert!(output.stdout == vec![1; many] && output.stderr == vec![2; many]);
                prop_assert!(output.is_complete);
            }
            Talk::LeavesPipe => {
                prop_assert_eq!(output.status.code(), Some(4));
                prop_assert_eq!(&*output.stdout, b"said");
                prop_assert!(!output.is_complete);
            }
        }
        prop_assert_eq!(kernel.processes(), []);
    }
}

/// P14, R105: a wait that is dropped after any of its polls leaves no process, and no zombie.
#[test]
fn what_waits_for_a_child_may_be_dropped_everywhere() {
    let mut sim = SimLoop::new(3);
    let kernel = sim.kernel().clone();
    kernel.set_programs(|child| Ok(talk_to_parent(child, Talk::Echo(3))));
    sim.drop_everywhere(|| async { Command::new("cat").communicate(b"hello").await.unwrap() });
    set_programs(&kernel);
    sim.drop_everywhere(|| async { command(Program::Exits(50, 3)).status().await.unwrap() });
    sim.run(sleep(LONG)).unwrap();
    assert_eq!(kernel.processes(), []);
}

/// P14: the end of the loop leaves no process and no zombie.
#[test]
fn a_loop_that_is_closed_reaps_the_children_that_end_with_it() {
    let mut sim = SimLoop::new(3);
    let kernel = sim.kernel().clone();
    set_programs(&kernel);
    let handles = sim
        .run(async {
            let spawn = |kill| {
                command(Program::Runs)
                    .kill_on_drop(kill)
                    .spawn()
                    .unwrap()
                    .handle()
            };
            [spawn(true), spawn(false)]
        })
        .unwrap();
    assert_eq!(kernel.processes().len(), 2);
    drop(sim);
    // The programs have gone with the loop, which has reaped them.
    assert_eq!(kernel.processes(), []);
    for handle in handles {
        let late = handle.try_wait().unwrap_err();
        assert!(matches!(late, ChildError::Loop(_)), "{late}");
    }
}
