//! Debug mode reports a futurelock: a future that was granted what it waited for, is neither polled
//! nor dropped, and so blocks others.
//!
//! All of it in virtual time, where an hour costs nothing and a loop that waits for ever is reported.

use readily::combine::Either;
use readily::event_loop::{Futurelock, Origin};
use readily::{Lock, Queue, Semaphore, Unhandled, select, sleep, spawn, wait_for, yield_now};
use readily_testing::SimLoop;
use std::cell::RefCell;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What is reported, and nothing else must be.
fn futurelocks(sim: &SimLoop) -> Rc<RefCell<Vec<Futurelock>>> {
    let reports: Rc<RefCell<Vec<Futurelock>>> = Rc::default();
    let into = Rc::clone(&reports);
    sim.on_unhandled(move |unhandled| match unhandled {
        Unhandled::Futurelock(futurelock) => into.borrow_mut().push(futurelock.clone()),
        Unhandled::Deadlock { .. } => {}
        other => panic!("{other}"),
    });
    sim.set_slow_callback(Duration::MAX);
    reports
}

fn debugged(seed: u64) -> (SimLoop, Rc<RefCell<Vec<Futurelock>>>) {
    let sim = SimLoop::new(seed);
    sim.set_debug(true);
    let reports = futurelocks(&sim);
    (sim, reports)
}

fn names(origins: &[Origin]) -> Vec<String> {
    let name = |origin: &Origin| match origin {
        Origin::Task { name, site } => {
            assert_eq!(site.file(), file!());
            name.to_string()
        }
        Origin::Main { site: Some(_) } => "main".to_owned(),
        other => panic!("{other}"),
    };
    origins.iter().map(name).collect()
}

/// Holds the lock for five seconds.
fn hold(lock: &Lock) {
    let guard = lock.try_acquire().expect("it is free");
    drop(spawn(async move {
        sleep(5 * SECOND).await;
        drop(guard);
    }));
}

/// A future of a lock loses a `select` by reference, and the same task then waits for the lock in
/// another way.
#[test]
fn a_lent_lock_by_which_a_task_keeps_itself_waiting_is_named() {
    let (mut sim, reports) = debugged(1);
    let lock = Lock::new(());
    let main = async {
        hold(&lock);
        drop(spawn(async {
            loop {
                sleep(60 * SECOND).await; // the loop wakes up now and then
            }
        }));
        let mut lent = pin!(lock.acquire());
        let lost = select((lent.as_mut(), sleep(SECOND))).await;
        assert!(matches!(lost, Either::Right(())));
        let again = wait_for(3600 * SECOND, lock.acquire()).await;
        assert!(again.is_err(), "granted to the one that is lent");
        drop(lent.await);
    };
    sim.run(main).unwrap();
    let reports = reports.take();
    assert_eq!(reports.len(), 1, "once: {reports:?}");
    assert!(matches!(reports[0].holder, Origin::Main { .. }));
    assert_eq!(names(&reports[0].waiting), ["main"]);
    let text = reports[0].to_string();
    assert!(
        text.contains("neither polled nor dropped by the main future"),
        "{text}"
    );
    assert!(
        text.contains("waiting behind it: the main future"),
        "{text}"
    );
}

/// Of other tasks, in their order; also where nothing is left that could end it.
#[test]
fn waiters_behind_a_future_that_is_kept_are_named() {
    let (mut sim, reports) = debugged(2);
    let (lock, queue, semaphore) = (Lock::new(()), Queue::<u32>::unbounded(), Semaphore::new(0));
    let spawn_all = {
        let (lock, queue, semaphore) = (lock.clone(), queue.clone(), semaphore.clone());
        async move {
            hold(&lock);
            let kept = spawn(async move {
                let mut locks = pin!(lock.acquire());
                let mut gets = pin!(queue.get());
                let mut permits = pin!(semaphore.acquire_many(2));
                let lists = (gets.as_mut(), select((locks.as_mut(), permits.as_mut())));
                drop(select((select(lists), sleep(SECOND))).await);
                pending::<()>().await;
            });
            kept.set_name("keeper");
            drop(kept);
        }
    };
    sim.run(spawn_all).unwrap();
    sim.run(sleep(SECOND / 2)).unwrap();
    let wait = |name: &str, waits: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let task = sim.spawn(waits);
        task.set_name(name);
    };
    let (one, two, three) = (lock.clone(), queue.clone(), semaphore.clone());
    wait("locks", Box::pin(async move { drop(one.acquire().await) }));
    wait(
        "gets",
        Box::pin(async move { assert_eq!(two.get().await, Ok(1)) }),
    );
    let also = three.clone();
    wait(
        "permits",
        Box::pin(async move { drop(three.acquire().await) }),
    );
    wait(
        "permits too",
        Box::pin(async move { drop(also.acquire().await) }),
    );
    sim.run(sleep(2 * SECOND)).unwrap();
    assert!(reports.borrow().is_empty(), "nothing is granted yet");
    queue.try_put(1).unwrap();
    semaphore.add_permits(2);
    // And the lock comes free after five seconds.
    sim.run(sleep(10 * SECOND)).unwrap();
    let reports = reports.take();
    assert!(
        reports
            .iter()
            .all(|it| names(std::slice::from_ref(&it.holder)) == ["keeper"])
    );
    let mut waiting: Vec<_> = reports.iter().map(|it| names(&it.waiting)).collect();
    waiting.sort();
    let expected: [&[&str]; 3] = [&["gets"], &["locks"], &["permits", "permits too"]];
    assert_eq!(waiting, expected);
}

/// A loop that is busy has no moment at which all have been polled.
#[test]
fn a_busy_loop_names_it_after_some_turns() {
    let (mut sim, reports) = debugged(3);
    let (lock, seen) = (Lock::new(()), Rc::clone(&reports));
    sim.run(async {
        let guard = lock.try_acquire();
        let mut lent = pin!(lock.acquire());
        assert!(matches!(
            select((lent.as_mut(), yield_now())).await,
            Either::Right(())
        ));
        let also = lock.clone();
        let waits = spawn(async move { drop(also.acquire().await) });
        yield_now().await;
        drop(guard);
        for _ in 0..15 {
            yield_now().await;
        }
        assert!(seen.borrow().is_empty());
        for _ in 0..5 {
            yield_now().await;
        }
        drop(lent.await);
        waits.await.unwrap();
    })
    .unwrap();
    let reports = reports.take();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(reports[0].turns, 16);
}

/// A grant that is taken or dropped, or that blocks no task, is not reported; without debug mode none is.
#[test]
fn a_grant_that_is_taken_or_blocks_no_task_is_not_named() {
    for debug in [true, false] {
        let mut sim = SimLoop::new(4);
        sim.set_debug(debug);
        let reports = futurelocks(&sim);
        let lock = Lock::new(());
        let mut kept = sim
            .run(async {
                // Handed from one to the next.
                let queue = (0..50).map(|_| {
                    let lock = lock.clone();
                    spawn(async move {
                        let _guard = lock.acquire().await;
                        yield_now().await;
                    })
                });
                for task in queue.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
                // No task waits behind it.
                let guard = lock.try_acquire();
                let mut lent = Box::pin(async {
                    let lock = lock.clone();
                    lock.acquire().await
                });
                assert!(matches!(
                    select((&mut lent, sleep(SECOND))).await,
                    Either::Right(())
                ));
                drop(guard);
                sleep(SECOND).await;
                // If there is one, it ends before a report is due.
                let also = lock.clone();
                let waits = spawn(async move { drop(also.acquire().await) });
                if debug {
                    drop(lent);
                    waits.await.unwrap();
                    // A waiter behind a guard waits for that guard.
                    let guard = lock.acquire().await;
                    let also = lock.clone();
                    let late = spawn(async move { drop(also.acquire().await) });
                    sleep(SECOND).await;
                    drop(guard);
                    late.await.unwrap();
                    return None;
                }
                // Without debug mode it waits as long as it likes.
                sleep(SECOND).await;
                assert!(!waits.done());
                Some(Box::pin(async move { drop(lent) }))
            })
            .unwrap();
        drop(kept.take());
        sim.run(sleep(SECOND)).unwrap();
        assert!(reports.borrow().is_empty(), "{debug}: {reports:?}");
    }
}
