//! Children: their ends, their output, and signals to them.
//!
//! The children of a process are shared by all its threads, so each test has a process of its own. The unsafe
//! calls are those of other code that waits for children, and limits of the process.
//!
//! Invariants: P12, P13, P14.
#![allow(unsafe_code)]

use crate::support::{
    Log, descriptors_of, guard, strict_loop, strict_run, strict_runner, turn_until,
};
use readily::poll::poll2::PollPoller;
use readily::process::{Child, ChildError, Command, ExitWatch};
use readily::signal::{Signal, signal};
use readily::{Error, EventLoop, Runner, gather, sleep, spawn, wait_for, yield_now};
use readily_testing::{SimLoop, poll_once};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;

/// The ways to notice the end of a child.
const WAYS: [ExitWatch; 3] = [ExitWatch::Descriptor, ExitWatch::Signal, ExitWatch::Timer];

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// The states of the children of this process: `Z` for one that has ended, and whose status was not taken.
fn children() -> String {
    let me = std::process::id().to_string();
    let all = fs::read_dir("/proc").expect("/proc is mounted");
    let state = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.to_owned();
        (fields.next()? == me).then_some(state)
    };
    all.filter_map(Result::ok).filter_map(state).collect()
}

fn zombies() -> usize {
    children().matches('Z').count()
}

/// Whether a process exists.
fn exists(pid: u32) -> bool {
    // SAFETY: signal 0 asks only.
    unsafe { libc::kill(pid.try_into().unwrap(), 0) == 0 }
}

/// Waits for a child as other code of this process might.
fn steal(pid: u32) {
    let mut status = 0;
    // SAFETY: `status` has space for the number.
    assert_eq!(
        unsafe { libc::waitpid(pid as i32, &raw mut status, 0) },
        pid as i32
    );
}

/// P12, R102: several ends at once may be one signal.
#[test]
fn twenty_children_that_end_at_once_are_all_heard_of() {
    let _guard = guard!();
    for way in WAYS {
        strict_run(async {
            let mut go = Vec::new();
            let mut children: Vec<Child> = Vec::new();
            for n in 0..20 {
                let mut command = sh(&format!("read line; exit {n}"));
                let mut child = command
                    .exit_watch(way)
                    .stdin(Stdio::piped())
                    .spawn()
                    .unwrap();
                go.push(child.stdin.take());
                children.push(child);
            }
            drop(go); // all of them read the end
            let waits = children.iter().map(|child| child.handle().wait());
            let statuses = gather(waits.collect::<Vec<_>>()).await;
            for (n, status) in statuses.into_iter().enumerate() {
                assert_eq!(status.unwrap().code(), Some(n as i32), "{way:?}");
            }
            assert!(children.iter().all(|child| child.id().is_none()));
        })
        .unwrap();
        assert_eq!(zombies(), 0);
    }
}

/// P12: the status is that of `waitpid`, to each waiter, and to callbacks.
#[test]
fn the_status_of_a_child_comes_to_each_waiter_and_to_callbacks() {
    let _guard = guard!();
    for way in WAYS {
        let log = Log::default();
        strict_run(async {
            let mut child = sh("kill -TERM $$").exit_watch(way).spawn().unwrap();
            let note = log.clone();
            child.on_exit(move |_, status| note.note(status.unwrap().signal().unwrap()));
            let other = spawn(child.handle().wait());
            assert_eq!(child.wait().await.unwrap().signal(), Some(15));
            assert_eq!(other.await.unwrap().unwrap().signal(), Some(15));
            assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(15));
            let note = log.clone();
            child.on_exit(move |_, status| note.note(status.is_ok()));
            while log.len() < 2 {
                yield_now().await;
            }
            assert_eq!(log.text(), "15 true");
        })
        .unwrap();
    }
}

/// In the style of callbacks: the run lasts until the child has ended.
#[test]
fn a_run_of_callbacks_lasts_until_its_child_has_ended() {
    let _guard = guard!();
    for way in WAYS {
        let (mut event_loop, log) = (strict_loop(), Log::default());
        let here = event_loop.enter();
        let child = sh("exit 7").exit_watch(way).spawn().unwrap();
        drop(here);
        let note = log.clone();
        child.on_exit(move |_, status| note.note(status.unwrap().code().unwrap()));
        drop(child);
        event_loop.run().unwrap();
        assert_eq!(log.text(), "7", "{way:?}");
    }
}

/// P13: the errors of signals. Whether one is sent all the same is tested in `child_numbers`.
#[test]
fn a_child_that_has_ended_has_no_number_and_signals_are_an_error() {
    let _guard = guard!();
    for way in WAYS {
        strict_run(async {
            let mut child = sh("read line")
                .exit_watch(way)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            assert!(child.id().is_some());
            child.signal(Signal::CONT).unwrap();
            child.wait().await.unwrap();
            assert_eq!(child.id(), None);
            for refused in [child.kill(), child.signal(Signal::TERM)] {
                assert!(matches!(refused, Err(ChildError::Ended)), "{refused:?}");
            }
            let refused = child.signal_group(Signal::TERM);
            assert!(matches!(refused, Err(ChildError::NoGroup)), "{refused:?}");
        })
        .unwrap();
    }
}

/// R280: a kill does not wait for a wait.
#[test]
fn a_child_is_killed_while_a_task_waits_for_it() {
    let _guard = guard!();
    for way in WAYS {
        strict_run(async {
            let child = Command::new("sleep")
                .arg("600")
                .exit_watch(way)
                .spawn()
                .unwrap();
            let wait = spawn(child.handle().wait());
            yield_now().await;
            child.kill().unwrap();
            assert_eq!(wait.await.unwrap().unwrap().signal(), Some(9));
        })
        .unwrap();
    }
}

/// P12: a status that other code has taken is an error that says so, and not a hang.
#[test]
fn a_status_that_other_code_has_taken_is_an_error() {
    let _guard = guard!();
    for way in WAYS {
        strict_run(async {
            let mut child = sh("read line")
                .exit_watch(way)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let pid = child.id().unwrap();
            drop(child.stdin.take());
            steal(pid);
            let lost = child.wait().await;
            assert!(
                matches!(lost, Err(ChildError::StatusLost)),
                "{way:?}: {lost:?}"
            );
            let lost = child.try_wait();
            assert!(matches!(lost, Err(ChildError::StatusLost)), "{lost:?}");
            assert!(matches!(child.kill(), Err(ChildError::Ended)));
        })
        .unwrap();
    }
}

/// R271: a process that ignores SIGCHLD has no statuses.
#[test]
fn where_sigchld_is_ignored_the_status_is_lost_once() {
    let _guard = guard!();
    // SAFETY: sets an action; no handler is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    for way in WAYS {
        let mut runner = strict_runner();
        runner
            .run(async {
                let mut child = sh("exit 3").exit_watch(way).spawn().unwrap();
                let lost = child.wait().await;
                assert!(
                    matches!(lost, Err(ChildError::StatusLost)),
                    "{way:?}: {lost:?}"
                );
            })
            .unwrap();
        let turns = crate::support::turns_in(runner.event_loop(), Duration::from_millis(50));
        assert!(turns < 10, "it spins: {turns}");
    }
}

/// P12, R281: children of other code are left alone, and so is its listener for SIGCHLD.
#[test]
fn children_of_other_code_keep_their_status() {
    let _guard = guard!();
    for way in WAYS {
        strict_run(async {
            let sigchld = signal(Signal::CHLD).unwrap();
            let mut other = std::process::Command::new("sh")
                .args(["-c", "exit 5"])
                .spawn()
                .unwrap();
            sigchld.recv().await.unwrap();
            let mut own = sh("exit 6").exit_watch(way).spawn().unwrap();
            assert_eq!(own.wait().await.unwrap().code(), Some(6));
            sigchld.recv().await.unwrap();
            // Several turns, in which a wait for any child would have taken it.
            for _ in 0..10 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(other.wait().unwrap().code(), Some(5), "{way:?}");
            let last = std::process::Command::new("true").spawn();
            sigchld.recv().await.unwrap();
            last.unwrap().wait().unwrap();
        })
        .unwrap();
    }
}

/// Two loops, each with children of its own.
#[test]
fn two_loops_reap_their_own_children() {
    let _guard = guard!();
    for way in WAYS {
        let threads: Vec<_> = (0..2)
            .map(|n: i32| {
                std::thread::spawn(move || {
                    strict_run(async {
                        for _ in 0..10 {
                            let mut child =
                                sh(&format!("exit {n}")).exit_watch(way).spawn().unwrap();
                            assert_eq!(child.wait().await.unwrap().code(), Some(n));
                        }
                    })
                    .unwrap();
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    assert_eq!(zombies(), 0);
}

/// P14, R105, R260: dropped at each moment, a child is reaped by the loop, which goes on.
#[test]
fn a_dropped_child_is_reaped_in_the_background() {
    let _guard = guard!();
    for way in WAYS {
        let mut runner = strict_runner();
        let before = descriptors_of("self");
        let pids = runner.run(async {
            let mut pids = Vec::new();
            for n in 0..4 {
                let mut command = sh("read line");
                let child = command
                    .exit_watch(way)
                    .stdin(Stdio::piped())
                    .spawn()
                    .unwrap();
                pids.push(child.id().unwrap());
                let handle = child.handle();
                let mut wait = pin!(handle.wait());
                if n > 1 {
                    assert!(matches!(poll_once(&mut wait), Poll::Pending));
                }
                if n % 2 == 1 {
                    child.on_exit(|_, status| assert!(status.is_ok()));
                }
            }
            pids
        });
        let event_loop = runner.event_loop();
        let pids = pids.unwrap();
        turn_until(event_loop, || !pids.iter().any(|&pid| exists(pid)));
        assert_eq!(zombies(), 0, "{way:?}");
        turn_until(event_loop, || descriptors_of("self") == before);
    }
}

/// P14: the child is killed with its last handle, and not before.
#[test]
fn a_child_is_killed_with_its_last_handle_if_that_was_asked_for() {
    let _guard = guard!();
    for way in WAYS {
        let mut runner = strict_runner();
        let pid = runner.run(async {
            let mut command = Command::new("sleep");
            let child = command
                .arg("600")
                .exit_watch(way)
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let (pid, handle) = (child.id().unwrap(), child.handle());
            drop(child);
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(handle.try_wait().unwrap().is_none());
            pid
        });
        let pid = pid.unwrap();
        turn_until(runner.event_loop(), || !exists(pid));
        assert_eq!(zombies(), 0);
    }
}

/// P14: children of a loop that is closed are reaped by the next loop of the process.
#[test]
fn children_that_a_closed_loop_leaves_are_reaped_by_another() {
    let _guard = guard!();
    for (way, by_closing) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let (kept, killed, mut end) = strict_run(async {
            let mut command = sh("read line");
            let mut child = command
                .exit_watch(way)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let fd = child.stdin.take().unwrap();
            let end = fs::File::options()
                .write(true)
                .open(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()));
            let mut command = Command::new("sleep");
            let killed = command
                .arg("600")
                .exit_watch(way)
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            (child, killed, end.unwrap())
        })
        .unwrap();
        // Both handles outlive the loop.
        let closed =
            |result: Result<(), ChildError>| matches!(result, Err(ChildError::Loop(Error::Closed)));
        assert!(closed(kept.kill()) && closed(killed.kill()));
        assert!(closed(kept.try_wait().map(drop)));
        assert_eq!(kept.id(), None);
        let _ = end.write_all(b"\n");
        drop(end);
        // What has ended is reaped when another loop starts a child, reaps one, or is closed.
        let again = || match by_closing {
            true => drop(EventLoop::new().unwrap()),
            false => {
                let child = async { Command::new("true").exit_watch(way).status().await };
                strict_run(child).unwrap().unwrap();
            }
        };
        again();
        while !children().is_empty() {
            again();
        }
    }
}

/// R107: the end of the child counts, and a grandchild that keeps its output is not waited for.
#[test]
fn a_grandchild_that_keeps_the_pipe_does_not_delay_the_end() {
    let _guard = guard!();
    strict_run(async {
        let mut command = sh("sleep 600 >&2 & echo $!; echo err >&2; exit 5");
        command.output_grace(Duration::from_millis(1));
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert!(!output.is_complete);
        assert_eq!(output.stderr, b"err\n");
        let left = String::from_utf8(output.stdout).unwrap();
        // SAFETY: the number is that of the grandchild, which runs.
        assert_eq!(
            unsafe { libc::kill(left.trim().parse().unwrap(), libc::SIGKILL) },
            0
        );
        let mut command = sh("sleep 600 & kill $!; exit 4");
        assert_eq!(command.status().await.unwrap().code(), Some(4));
        // The group is killed with the child: then the output ends, too.
        let mut command = sh("echo out; sleep 600 & exit 6");
        let output = command
            .kill_group_at_exit()
            .output_grace(Duration::from_secs(600));
        let output = output.output().await.unwrap();
        assert!(output.is_complete);
        assert_eq!(output.status.code(), Some(6));
    })
    .unwrap();
}

/// R261, R279: both streams are read while the child runs, and to their ends.
#[test]
fn much_output_on_both_streams_is_collected_in_any_order() {
    let _guard = guard!();
    const SOME: &str = "head -c 1048576 /dev/zero";
    strict_run(async {
        for script in [format!("{SOME}; {SOME} >&2"), format!("{SOME} >&2; {SOME}")] {
            let output = sh(&script).output().await.unwrap();
            assert!(output.status.success() && output.is_complete);
            assert_eq!(
                (output.stdout.len(), output.stderr.len()),
                (1 << 20, 1 << 20)
            );
        }
        let mut echo = Command::new("cat");
        let input = crate::support::bytes(3 << 20, 7);
        let output = echo.communicate(&input).await.unwrap();
        assert!(output.stdout == input && output.fed == input.len());
    })
    .unwrap();
}

#[test]
fn output_above_its_limit_is_an_error_and_the_child_is_killed() {
    let _guard = guard!();
    let mut runner = strict_runner();
    runner
        .run(async {
            let output = sh("cat /dev/zero").output_limit(100_000).output().await;
            let error = output.unwrap_err();
            assert_eq!(
                error.to_string(),
                "the child has written more than 100000 bytes to its standard output"
            );
            let exact = sh("head -c 100000 /dev/zero >&2")
                .output_limit(100_000)
                .output()
                .await;
            assert_eq!(exact.unwrap().stderr.len(), 100_000);
            let none = sh("echo x").output_limit(0).output().await;
            assert!(matches!(
                none,
                Err(ChildError::TooMuchOutput { limit: 0, .. })
            ));
        })
        .unwrap();
    turn_until(runner.event_loop(), || children().is_empty());
}

/// R262: collecting is dropped at each of its first polls, and another call goes on.
#[test]
fn collecting_that_is_cancelled_loses_nothing() {
    let _guard = guard!();
    strict_run(async {
        let input = crate::support::bytes(300_000, 3);
        for drops in 0..12 {
            let mut command = Command::new("cat");
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            for n in 0..drops {
                let cut = wait_for(Duration::from_micros(50 * n), child.communicate(&input)).await;
                if let Ok(done) = cut {
                    assert!(done.unwrap().stdout == input);
                    break;
                }
            }
            if let Ok(output) = child.communicate(&input).await {
                assert!(output.stdout == input || output.stdout.is_empty());
            }
        }
    })
    .unwrap();
}

/// R263, R264: a child that does not read its input, or ends first, hides nothing.
#[test]
fn input_that_is_not_read_is_no_error() {
    let _guard = guard!();
    strict_run(async {
        let input = vec![b'x'; 10 << 20];
        let output = sh("exit 3").communicate(&input).await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.fed < input.len());
        let output = Command::new("head")
            .args(["-c", "1"])
            .communicate(&input)
            .await
            .unwrap();
        assert_eq!(
            (&*output.stdout, output.status.success()),
            (&b"x"[..], true)
        );
        // A child that reads to the end: `wait` closes what it owns.
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(cat.wait().await.unwrap().success());
        // And not what another task feeds.
        let mut command = sh("read line; test \"$line\" = hello");
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let feed = spawn(async move {
            sleep(Duration::from_millis(5)).await;
            stdin.write_all(b"hello\n").await
        });
        assert!(child.wait().await.unwrap().success());
        feed.await.unwrap().unwrap();
        // A writer that has nothing to write notices that its reader has gone.
        let mut child = sh("exec <&-; sleep 600")
            .stdin(Stdio::piped())
            .own_group()
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().closed().await.unwrap();
    })
    .unwrap();
}

/// R267, and bad input: the error is that of the system, and nothing is left.
#[test]
fn what_cannot_be_started_is_an_error_that_leaves_nothing() {
    let _guard = guard!();
    let dir = std::env::temp_dir().join(format!("readily-children-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, text: &str, mode: u32| -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let before = descriptors_of("self");
    strict_run(async {
        let within = descriptors_of("self");
        let refused = |command: &mut Command| match command.spawn() {
            Err(ChildError::Io(error)) => error.kind(),
            other => panic!("{other:?}"),
        };
        let null = || Stdio::null();
        let mut missing = Command::new("/nowhere/to/be found");
        assert_eq!(
            refused(missing.stdin(Stdio::piped()).stdout(Stdio::piped())),
            ErrorKind::NotFound
        );
        assert_eq!(
            refused(&mut Command::new("a-program-that-is-not-in-path")),
            ErrorKind::NotFound
        );
        let not_executable = file("data", "x", 0o644);
        assert_eq!(
            refused(&mut Command::new(&not_executable)),
            ErrorKind::PermissionDenied
        );
        let no_interpreter = file("script", "#!/nowhere/interpreter\n", 0o755);
        assert_eq!(
            refused(&mut Command::new(&no_interpreter)),
            ErrorKind::NotFound
        );
        let no_format = file("format", "\x01\x02\x03", 0o755);
        assert!(Command::new(&no_format).stdin(null()).spawn().is_err());
        assert_eq!(
            refused(Command::new("true").current_dir("/nowhere")),
            ErrorKind::NotFound
        );
        assert_eq!(
            refused(Command::new("true").arg("a\0b")),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            refused(Command::new("true").env("a\0b", "")),
            ErrorKind::InvalidInput
        );
        assert_eq!(refused(&mut Command::new("")), ErrorKind::NotFound);
        assert_eq!(descriptors_of("self"), within);
    })
    .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!((descriptors_of("self"), &*children()), (before, ""));
    let outside = Command::new("true").spawn();
    assert!(matches!(outside, Err(ChildError::Loop(Error::NoLoop))));
    let mut sim = SimLoop::new(1);
    let simulated = sim
        .run(async { Command::new("true").spawn().map(drop) })
        .unwrap();
    assert!(matches!(simulated, Err(ChildError::NoProcesses)));
}

/// The number of a resource: glibc has a type of its own for it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

fn limit(resource: Resource, soft: libc::rlim_t) -> libc::rlim_t {
    // SAFETY: numbers, for which zero is a value.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: `limit` has space for what is written.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    let before = limit.rlim_cur;
    limit.rlim_cur = soft;
    // SAFETY: `limit` is only read.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
    before
}

/// R273: there is no descriptor for a pidfd or for the pipe of signals, after the child has been started.
#[test]
fn a_child_whose_end_no_descriptor_can_report_is_reaped_all_the_same() {
    let _guard = guard!();
    strict_run(async {
        for spare in 0..6 {
            // The standard library needs none for a child that inherits its streams.
            let mut all: Vec<_> = Vec::new();
            let before = limit(libc::RLIMIT_NOFILE, 64);
            while let Ok(file) = fs::File::open("/dev/null") {
                all.push(file);
            }
            all.truncate(all.len() - spare);
            let spawned = sh("exit 9").spawn();
            drop(all);
            limit(libc::RLIMIT_NOFILE, before);
            match spawned {
                Ok(mut child) => assert_eq!(child.wait().await.unwrap().code(), Some(9)),
                Err(ChildError::Io(error)) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(zombies(), 0, "{spare}");
        }
    })
    .unwrap();
}

/// No processes are to be had: `EAGAIN`.
#[test]
fn a_process_that_the_system_refuses_is_an_error() {
    let _guard = guard!();
    // SAFETY: takes a number. The limit does not count for root.
    if unsafe { libc::getuid() } == 0 {
        // SAFETY: as above; only this process changes.
        assert_eq!(unsafe { libc::setuid(65534) }, 0);
    }
    strict_run(async {
        let before = limit(libc::RLIMIT_NPROC, 0);
        let spawned = Command::new("true").spawn();
        limit(libc::RLIMIT_NPROC, before);
        match spawned {
            Err(ChildError::Io(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            other => panic!("{other:?}"),
        }
    })
    .unwrap();
}

/// R274: a shell's background jobs are killed with it, and a signal reaches the group.
#[test]
fn a_group_is_signalled_as_a_whole() {
    let _guard = guard!();
    strict_run(async {
        let mut command = sh("sleep 600 & echo $!; wait");
        let mut child = command.own_group().stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut line = [0; 16];
        let n = stdout.read(&mut line).await.unwrap();
        let sleeper: u32 = std::str::from_utf8(&line[..n])
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(exists(sleeper));
        child.signal_group(Signal::TERM).unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(15));
        assert_eq!(
            stdout.read(&mut line).await.unwrap(),
            0,
            "the last writer has gone"
        );
        let after = child.signal_group(Signal::TERM);
        assert!(matches!(after, Err(ChildError::Ended)));
    })
    .unwrap();
}

/// R109: whatever this thread blocks, and this process catches.
#[test]
fn a_child_starts_with_an_empty_mask_and_default_actions() {
    let _guard = guard!();
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: makes a full set of it.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: the set is initialized, and the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: sets an action; no handler is involved.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    strict_run(async {
        let facts = async |command: &mut Command| {
            let output = command.output().await.unwrap();
            let status = String::from_utf8(output.stdout).unwrap();
            ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                // 32 and 33 are the C library's.
                u64::from_str_radix(line.unwrap().trim(), 16).unwrap() & !(3 << 31)
            })
        };
        let mut command = Command::new("cat");
        command
            .arg("/proc/self/status")
            .exit_watch(ExitWatch::Timer);
        assert_eq!(facts(&mut command).await, [0, 1 << (libc::SIGUSR2 - 1), 0]);
        assert_eq!(facts(command.reset_ignored_signals()).await, [0, 0, 0]);
    })
    .unwrap();
}

/// R270: the streams that a child shares with us stay as they are.
#[test]
fn no_flag_of_an_inherited_stream_is_changed() {
    let _guard = guard!();
    let (reader, writer) = std::io::pipe().unwrap();
    strict_run(async {
        let mut command = sh("head -c 300000 /dev/zero");
        let mut child = command.stdout(writer.try_clone().unwrap()).spawn().unwrap();
        assert!(!crate::support::is_nonblocking(&writer));
        drop((writer, command));
        let reader = readily::io::PipeReader::new(reader).unwrap();
        let mut all = Vec::new();
        assert_eq!(
            reader.read_to_end(&mut all, 1 << 20).await.unwrap(),
            300_000
        );
        assert!(child.wait().await.unwrap().success());
    })
    .unwrap();
}

/// R269: a parent without standard streams.
#[test]
fn a_child_has_its_streams_though_its_parent_has_none() {
    let _guard = guard!();
    let saved: Vec<_> = (0..3)
        .map(|fd| {
            // SAFETY: duplicates and closes numbers of this test's own process; they are restored below.
            let kept = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) };
            // SAFETY: as above.
            unsafe { libc::close(fd) };
            kept
        })
        .collect();
    let output = strict_run(async {
        sh("read x; echo out $x; echo err >&2")
            .communicate(b"in\n")
            .await
    });
    for (fd, kept) in saved.into_iter().enumerate() {
        // SAFETY: the number was saved above.
        unsafe { libc::dup2(kept, fd as i32) };
    }
    let output = output.unwrap().unwrap();
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b"out in\n"[..], &b"err\n"[..])
    );
}

/// R265: eight threads start children; each output ends with its own child.
#[test]
fn no_child_inherits_the_pipe_of_another() {
    let _guard = guard!();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                strict_run(async {
                    for _ in 0..10 {
                        let mut command = sh("echo x");
                        command.output_grace(Duration::from_secs(600));
                        assert!(command.output().await.unwrap().is_complete);
                    }
                })
                .unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// R108: in a fork the children are the parent's, and dropping a handle kills none of them.
#[test]
fn in_a_fork_the_children_of_the_parent_are_left_alone() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let mut child = runner
        .run(async {
            let mut command = sh("read line; exit 8");
            command
                .stdin(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap()
        })
        .unwrap();
    // SAFETY: the test runs alone; the other threads hold no lock that the child takes.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let forked =
            |result: Result<(), ChildError>| matches!(result, Err(ChildError::Loop(Error::Forked)));
        let all = forked(child.kill()) && forked(child.try_wait().map(drop));
        drop(child);
        drop(runner);
        let own = strict_run(async { Command::new("true").status().await });
        let own = own.is_ok_and(|status| status.is_ok_and(|status| status.success()));
        // SAFETY: ends the fork, without the parent's destructors.
        unsafe { libc::_exit(i32::from(all && own)) };
    }
    let mut status = 0;
    // SAFETY: `status` has space for the number; the fork is ours.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(libc::WEXITSTATUS(status), 1);
    let ended = runner.run(async { child.wait().await }).unwrap();
    assert_eq!(ended.unwrap().code(), Some(8));
}

/// The loop of a child is not the one that runs here.
#[test]
fn a_child_is_awaited_on_its_own_loop() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let mut child = runner.run(async { sh("exit 0").spawn().unwrap() }).unwrap();
    let mut other = Runner::from(
        EventLoop::with(
            Box::new(PollPoller::new().unwrap()),
            Box::new(readily::clock::Monotonic::new()),
        )
        .unwrap(),
    );
    let foreign = other.run(async { child.wait().await }).unwrap();
    assert!(
        matches!(foreign, Err(ChildError::Loop(Error::OtherLoop))),
        "{foreign:?}"
    );
    assert!(
        runner
            .run(async { child.wait().await })
            .unwrap()
            .unwrap()
            .success()
    );
    // On a poller that is level-triggered underneath.
    let output = other.run(async { sh("echo x").output().await });
    assert_eq!(output.unwrap().unwrap().stdout, b"x\n");
}
