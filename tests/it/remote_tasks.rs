//! Tasks that are sent to a loop from another thread, and the result that their handle gets.
//!
//! Invariant: G6.

use crate::support::{
    collect_unhandled, guard, strict_loop, strict_run, strict_runner, turn_times,
};
use readily::task::{RemoteTask, WaitError};
use readily::{JoinError, PanicPolicy, sleep, yield_now};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn reason(error: &WaitError) -> Option<&str> {
    match error {
        WaitError::Join(error) => error.reason(),
        _ => None,
    }
}

#[test]
fn a_remote_task_gives_its_result_without_waiting_for_it() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let mut value = event_loop.remote_handle().spawn(|| async { 21 }).unwrap();
    let mut cancelled = event_loop.remote_handle().spawn(pending::<u8>).unwrap();
    assert!(value.result().is_none() && !value.cancelled());
    turn_times(&mut event_loop, 2);
    assert_eq!(value.result().unwrap().unwrap(), 21);
    assert!(value.result().is_none(), "T4: it was taken");
    cancelled.cancel_with("not needed");
    assert!(!cancelled.cancelled(), "the loop has not read it");
    turn_times(&mut event_loop, 1);
    assert!(cancelled.done() && cancelled.cancelled());
    let error = cancelled.result().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some("not needed"));
    assert!(cancelled.cancelled(), "also after the error was taken");
}

/// G6: a value, an error, a panic, a cancellation and a loop that closes all reach the waiter.
#[test]
fn whatever_becomes_of_a_remote_task_its_sender_hears_of_it() {
    let _guard = guard!();
    let (to_main, remotes) = channel();
    let home = thread::spawn(move || {
        let mut runner = strict_runner();
        to_main.send(runner.remote_handle()).unwrap();
        let ended = runner.run(pending::<()>());
        assert!(ended.is_err(), "it is stopped");
    });
    let remote = remotes.recv().unwrap();
    let mut value = remote.spawn(|| async { 21 }).unwrap();
    assert_eq!(value.wait().unwrap(), 21);
    assert!(value.done());
    let mut panics = remote.spawn(|| async { panic!("on purpose") }).unwrap();
    let error = panics.wait_for(Duration::from_secs(3600)).unwrap_err();
    assert!(error.to_string().contains("on purpose"), "{error}");
    let make = || -> std::future::Ready<()> { panic!("while it is made") };
    let error = remote.spawn(make).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("while it is made"), "{error}");
    let mut cancelled = remote.spawn(pending::<()>).unwrap();
    assert!(matches!(cancelled.wait_for(MS), Err(WaitError::TimedOut)));
    assert!(matches!(
        cancelled.wait_for(Duration::ZERO),
        Err(WaitError::TimedOut)
    ));
    cancelled.cancel_with("too slow");
    assert_eq!(reason(&cancelled.wait().unwrap_err()), Some("too slow"));
    assert!(cancelled.cancelled() && !value.cancelled() && !panics.cancelled());
    let mut left = remote.spawn(pending::<()>).unwrap();
    // It runs by now: what is sent comes in order.
    remote.spawn(yield_now).unwrap().wait().unwrap();
    remote.stop().unwrap();
    let error = left.wait().unwrap_err();
    assert!(
        matches!(error, WaitError::Join(JoinError::Cancelled)),
        "{error:?}"
    );
    home.join().unwrap();
    let (left, kept) = (String::from("kept"), remote);
    let refused = kept.spawn(move || async move { left }).unwrap_err();
    drop(refused.0);
}

/// G6: also a loop that closes before it has received the message.
#[test]
fn a_loop_that_closes_before_it_reads_the_message_reports_it() {
    let _guard = guard!();
    let event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let make = move || {
        called.fetch_add(1, Ordering::Relaxed);
        async {}
    };
    let mut task = remote.spawn(make).unwrap();
    drop(event_loop);
    let waited = thread::spawn(move || task.wait());
    let error = waited.join().unwrap().unwrap_err();
    assert_eq!(reason(&error), Some("its loop was closed"));
    assert_eq!(
        (calls.load(Ordering::Relaxed), Arc::strong_count(&calls)),
        (0, 1)
    );
}

/// R079: cancelled before it is read, it is never made; when it is over, it stays as it is.
#[test]
fn a_remote_task_is_cancelled_before_it_is_made_while_it_runs_or_not_at_all() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    let remote = event_loop.remote_handle();
    let never = remote
        .spawn(|| -> std::future::Ready<()> { panic!("it is not to be made") })
        .unwrap();
    never.cancel_with("first");
    never.cancel_with("second");
    turn_times(&mut event_loop, 1);
    let mut never = never;
    assert_eq!(reason(&never.wait().unwrap_err()), Some("first"));
    let mut over = remote.spawn(|| async { 1 }).unwrap();
    turn_times(&mut event_loop, 2);
    over.cancel();
    turn_times(&mut event_loop, 1);
    assert_eq!(over.wait().unwrap(), 1, "what is over stays as it is");
    // Cancelled by its own `make`, and by another thread in between.
    let (to_make, own) = channel::<RemoteTask<()>>();
    let task = remote
        .spawn(move || {
            let own = own.recv().unwrap();
            own.cancel_with("while it is made");
            async move {
                let _own = own;
                pending::<()>().await;
            }
        })
        .unwrap();
    to_make.send(task).unwrap();
    turn_times(&mut event_loop, 2);
    assert_eq!(event_loop.close().tasks.len(), 0);
}

/// N5: where waiting would block a loop it is an error and no deadlock; awaiting works.
#[test]
fn waiting_on_a_loops_own_thread_is_an_error_and_not_a_dead_lock() {
    let _guard = guard!();
    let mut runner = strict_runner();
    let remote = runner.remote_handle();
    let mut task = remote.spawn(|| async { 1 }).unwrap();
    assert!(
        matches!(task.wait(), Err(WaitError::OnLoop)),
        "between two turns"
    );
    assert!(matches!(task.wait_for(MS), Err(WaitError::OnLoop)));
    let own = remote.clone();
    runner
        .run(async move {
            let mut inner = own.spawn(|| async { 2 }).unwrap();
            assert!(matches!(inner.wait(), Err(WaitError::OnLoop)), "in a task");
            assert_eq!(inner.await.unwrap(), 2, "awaited at home");
        })
        .unwrap();
    assert_eq!(task.wait().unwrap(), 1, "what is there needs no waiting");
    // Another loop's thread: it must not wait either, but may await.
    let (back, answers) = channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let waits = Arc::clone(&asked);
    let make = move || async move {
        while waits.load(Ordering::Relaxed) == 0 {
            sleep(MS).await;
        }
        3
    };
    let mut far = remote.spawn(make).unwrap();
    let other = thread::spawn(move || {
        strict_run(async {
            assert!(matches!(far.wait(), Err(WaitError::OnLoop)));
            asked.store(1, Ordering::Relaxed);
            back.send(far.await.unwrap()).unwrap();
        })
        .unwrap();
    });
    let mut answer = None;
    runner
        .run(async {
            while answer.is_none() {
                sleep(MS).await;
                answer = answers.try_recv().ok();
            }
        })
        .unwrap();
    assert_eq!(answer, Some(3));
    other.join().unwrap();
}

/// A panic is reported once: to the owner of the handle, or by the policy of the task's loop.
#[test]
fn the_panic_of_a_remote_task_is_reported_once() {
    let _guard = guard!();
    for seen in [true, false] {
        for late in [true, false] {
            let mut event_loop = strict_loop();
            event_loop.set_panic_policy(PanicPolicy::Isolate);
            let reports = collect_unhandled(&event_loop);
            let mut task = event_loop
                .remote_handle()
                .spawn(|| async { panic!("reported") })
                .unwrap();
            if late {
                turn_times(&mut event_loop, 2);
            }
            if seen && late {
                let error = task.wait().unwrap_err();
                assert!(error.to_string().contains("reported"));
            }
            drop(task);
            turn_times(&mut event_loop, 3);
            let expected = usize::from(!(seen && late));
            assert_eq!(
                reports.len(),
                expected,
                "seen: {seen}, late: {late}: {reports:?}"
            );
        }
    }
}

/// Its name, and the line that sent it: also if its handle was dropped, if its result was not looked at,
/// if it never became a task, and if the loop closes before it reads that the handle was dropped.
#[test]
fn the_panic_of_a_remote_task_is_reported_with_its_name_and_the_line_that_sent_it() {
    let _guard = guard!();
    let mut event_loop = strict_loop();
    event_loop.set_panic_policy(PanicPolicy::Isolate);
    let reports = collect_unhandled(&event_loop);
    let remote = event_loop.remote_handle();
    let line = line!() + 1;
    drop(remote.spawn(|| async { panic!("early") }).unwrap());
    let late = remote.spawn(|| async { panic!("late") }).unwrap();
    let make = || -> std::future::Ready<()> { panic!("made") };
    let made = remote.spawn(make).unwrap();
    let last = remote.spawn(|| async { panic!("last") }).unwrap();
    turn_times(&mut event_loop, 3);
    drop((late, made));
    turn_times(&mut event_loop, 1);
    drop(last);
    event_loop.close();
    let expected = [
        ("Task-1, spawned at", line, "early"),
        ("Task-2, spawned at", line + 1, "late"),
        ("the closure queued at", line + 3, "made"),
        ("Task-3, spawned at", line + 4, "last"),
    ];
    let reports = reports.text();
    for (who, line, what) in expected {
        // Between the two is the column.
        let start = format!("{who} {}:{line}:", file!());
        let end = format!(" panicked: {what}");
        let rest = reports.split_once(&start).map(|(_, rest)| rest);
        let column = rest.and_then(|rest| rest.split_once(&end));
        assert!(
            column.is_some_and(|(n, _)| n.len() < 4),
            "{what}: {reports}"
        );
    }
}

/// R114: many threads, many tasks, and a loop that ends in between. Each waiter gets a result.
#[test]
fn every_sender_learns_when_a_loop_ends_while_many_send() {
    let _guard = guard!();
    for stop_at in [1, 50, 200] {
        let (to_main, remotes) = channel();
        let home = thread::spawn(move || {
            let mut event_loop = strict_loop();
            to_main.send(event_loop.remote_handle()).unwrap();
            event_loop.run().unwrap();
        });
        let remote = remotes.recv().unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (remote, ended) = (remote.clone(), Arc::clone(&ended));
                thread::spawn(move || {
                    for n in 0..100 {
                        let Ok(mut task) = remote.spawn(move || async move {
                            yield_now().await;
                            n
                        }) else {
                            break;
                        };
                        match task.wait() {
                            Ok(value) => assert_eq!(value, n),
                            Err(WaitError::Join(error)) => assert!(error.is_cancelled()),
                            Err(other) => panic!("{other}"),
                        }
                        if ended.fetch_add(1, Ordering::Relaxed) == stop_at {
                            let _ = remote.stop();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        drop(remote);
        home.join().unwrap();
        assert!(ended.load(Ordering::Relaxed) >= stop_at);
    }
}
