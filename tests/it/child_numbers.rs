//! Signals to children that have ended: none is sent, whatever process of the system has the number now.
//!
//! A signal to a free number and one that is refused give the same error. So these tests do not look at the error
//! alone: a filter counts the calls that send a signal, and in a namespace of its own, where it can be had, the
//! system gives the number to another process.
//!
//! Invariants: P13.
#![allow(unsafe_code)]

use crate::support::{Process, command, guard, runs_alone, strict_run};
use readily::process::{Child, ChildError, Command, ExitWatch};
use readily::signal::Signal;
use std::ffi::c_int;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Each way to send a signal to a child is refused.
fn assert_refuses_signals(child: &Child) {
    let refused = [
        child.kill(),
        child.signal(Signal::TERM),
        child.signal_group(Signal::KILL),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(ChildError::Ended)), "{refused:?}");
    }
}

/// The ways to notice the end of a child, and whether other code takes its status.
const CASES: [(ExitWatch, bool); 6] = [
    (ExitWatch::Descriptor, false),
    (ExitWatch::Descriptor, true),
    (ExitWatch::Signal, false),
    (ExitWatch::Signal, true),
    (ExitWatch::Timer, false),
    (ExitWatch::Timer, true),
];

/// A child that ends when its standard input does, and is to be killed with its last handle.
fn start(way: ExitWatch) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line"]).stdin(Stdio::piped());
    command.exit_watch(way).own_group().kill_on_drop(true);
    command.spawn().unwrap()
}

/// Ends a child that [`start`] has started.
fn end(child: &mut Child, is_stolen: bool) {
    drop(child.stdin.take());
    if is_stolen {
        let (pid, mut status) = (child.id().unwrap() as i32, 0);
        // SAFETY: `status` has space for the number.
        let taken = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(taken, pid);
    }
}

/// Waits until the loop has noticed the end.
async fn notice_end(child: &mut Child, is_stolen: bool) {
    match child.wait().await {
        Ok(status) => assert!(!is_stolen && status.code() == Some(1), "{status}"),
        Err(ChildError::StatusLost) => assert!(is_stolen),
        Err(error) => panic!("{error}"),
    }
}

/// How many calls that send a signal [`count_signals`] has kept from being made.
static SENT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_sigsys: c_int) {
    SENT.fetch_add(1, Ordering::Relaxed);
}

/// From here on a call of this thread that would send a signal to another process is not made, is counted in
/// [`SENT`], and succeeds. A filter of system calls needs no privilege. Returns `false` where there are no filters.
fn count_signals() -> bool {
    let handler = count as extern "C" fn(c_int);
    // SAFETY: sets an action, whose handler adds to an atomic number.
    unsafe { libc::signal(libc::SIGSYS, handler as libc::sighandler_t) };
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let result = |action| statement(libc::BPF_RET | libc::BPF_K, action);
    // The number of the call is the first field of what the filter is given.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for call in [libc::SYS_kill, libc::SYS_pidfd_send_signal] {
        program.push(libc::sock_filter {
            jf: 1, // another call: leaves out the next statement
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32)
        });
        program.push(result(libc::SECCOMP_RET_TRAP));
    }
    program.push(result(libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: takes numbers.
    let is_bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: `filter` points to as many statements as it says; the kernel copies them.
    is_bound && unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) } == 0
}

/// P13, R104: the call is not made at all, neither by number nor by descriptor.
#[test]
fn no_call_is_made_to_signal_a_child_that_has_ended() {
    let _guard = guard!();
    if !count_signals() {
        return println!("skipped: no filters of system calls here");
    }
    for (way, is_stolen) in CASES {
        strict_run(async {
            let mut child = start(way);
            let before = SENT.load(Ordering::Relaxed);
            child.kill().unwrap();
            child.signal_group(Signal::TERM).unwrap();
            let sent = SENT.load(Ordering::Relaxed);
            assert_eq!(sent, before + 2, "{way:?}: the filter sees the calls");
            end(&mut child, is_stolen);
            notice_end(&mut child, is_stolen).await;
            assert_refuses_signals(&child);
            drop(child);
            assert_eq!(SENT.load(Ordering::Relaxed), sent, "{way:?}, {is_stolen}");
        })
        .unwrap();
    }
}

/// Has the number of the process that the namespace has made last.
const LAST: &str = "/proc/sys/kernel/ns_last_pid";

/// How to make a namespace of process numbers: as a user who may do all in it, or as root.
const MAKERS: [&[&str]; 2] = [&["--user", "--map-root-user"], &[]];

/// Runs a program as the first process of a namespace of its own.
fn in_namespace(maker: &[&str], inner: &std::process::Command) -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    command.args(maker);
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        value.map(|value| command.env(name, value));
    }
    command
}

/// Whether [`recycle`] can be used in such a namespace.
fn has_namespace(maker: &[&str]) -> bool {
    let mut inner = std::process::Command::new("sh");
    inner.args(["-c", &format!("echo 300 > {LAST}")]);
    let mut probe = in_namespace(maker, &inner);
    let status = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Starts a process that gets the number of one that has gone, leads a group of that number, and ends with the code 5
/// when its standard input does.
fn recycle(number: u32) -> std::process::Child {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "read line; exit 5"]);
    command.stdin(Stdio::piped()).process_group(0);
    // A thread may take the number; then the process has the next one.
    for _ in 0..100 {
        fs::write(LAST, (number - 1).to_string()).unwrap();
        let mut process = command.spawn().unwrap();
        if process.id() == number {
            return process;
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
    panic!("the number {number} is not given out again");
}

/// No signal has come to it: it would have ended before its standard input.
fn assert_lives(mut process: std::process::Child) {
    drop(process.stdin.take());
    assert_eq!(process.wait().unwrap().code(), Some(5));
}

/// P13, R104: another process of the system has the number of the child.
#[test]
fn no_signal_hits_a_process_that_has_the_number_of_a_child() {
    let _guard = guard!();
    if !runs_alone() {
        let test = std::thread::current().name().unwrap().to_owned();
        let Some(maker) = MAKERS.into_iter().find(|maker| has_namespace(maker)) else {
            return println!("skipped: no namespace of process numbers here");
        };
        let inner = command(&test, None);
        let output = Process::output(&mut in_namespace(maker, &inner));
        let shown = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        assert!(output.status.success(), "{}", shown.concat());
        return;
    }
    for (way, is_stolen) in CASES {
        strict_run(async {
            let mut child = start(way);
            let number = child.id().unwrap();
            end(&mut child, is_stolen);
            // A descriptor stands for the process also while the loop does not know that the status is lost.
            let is_known = !is_stolen || way != ExitWatch::Descriptor;
            if is_known {
                notice_end(&mut child, is_stolen).await;
            }
            let other = recycle(number);
            if !is_known {
                let kill = child.kill();
                assert!(matches!(kill, Err(ChildError::Ended)), "{kill:?}");
                notice_end(&mut child, is_stolen).await;
            }
            assert_refuses_signals(&child);
            drop(child);
            assert_lives(other);
        })
        .unwrap();
    }
}
