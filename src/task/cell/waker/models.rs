//! The waker under loom: wakes from two threads against the poll of their task, and the end of a
//! cell.
//!
//! The loop's side is that of `executor.rs`: take the task out of the queue, clear the flag, poll.
//! The task is ready when both threads have left something for it, so a lost wake, or a poll that
//! does not see what was left, ends in a wait for ever, which loom reports. The cells and their
//! wakers are real; a double free and a leak show in the reference count of the inbox, which the
//! executor has, and each task that is not freed has the executor.
//!
//! In the notes: the other half of `await` (N10), by which a pending task is called back. Wakes on
//! the loop's own thread are not modelled: no other thread takes part in them.

use super::super::{LoopRef, NewTask, SpawnInfo, TypedTask};
use crate::base::sync::AtomicBool;
use crate::event_loop::Fixture;
use crate::task::cell::Executor;
use crate::task::tasks::Tasks;
use loom::thread;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const JOB: u64 = 5;

/// A task of this loop that has not been polled.
fn task<F: Future<Output: 'static> + 'static>(home: &Fixture, future: F) -> TypedTask<F::Output> {
    NewTask::<F>::new(future).into_task(SpawnInfo {
        executor: LoopRef::new(
            home.inbox(),
            Executor::new(Tasks::new(Rc::default(), home.weak_handle())),
        ),
        is_main: false,
        number: JOB,
        site: Location::caller(),
    })
}

/// T1, T2.
#[test]
fn a_wake_during_a_poll_leads_to_one_more_and_the_job_is_queued_once() {
    loom::model(|| {
        let home = Fixture::new();
        let task = task(&home, async {});
        let left = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let wakers = [0, 1].map(|n| {
            let waker = task.cell().waker().clone();
            let left = Arc::clone(&left);
            thread::spawn(move || {
                // Relaxed: the wake must provide the ordering.
                left[n].store(true, Relaxed);
                waker.wake();
            })
        });
        // The first poll is queued from the start.
        loop {
            assert!(home.is_empty(), "T1: a job in hand is in no queue besides");
            let was_up = task.cell().state().clear_queued();
            assert!(was_up, "a job in the queue has its flag up");
            if left.iter().all(|left| left.load(Relaxed)) {
                break;
            }
            let mut woken = home.woken();
            while woken.is_empty() {
                woken = home.woken();
            }
            assert_eq!(woken, [JOB], "T1: in the queue at most once");
        }
        for waker in wakers {
            waker.join().expect("a wake does not fail");
        }
    });
}

/// T1: many wakes of a task that is not polled are one message.
#[test]
fn wakes_between_two_polls_are_one() {
    loom::model(|| {
        let home = Fixture::new();
        let task = task(&home, async {});
        task.cell().state().clear_queued();
        let wakers = [0, 1].map(|_| {
            let waker = task.cell().waker().clone();
            thread::spawn(move || waker.wake())
        });
        for waker in wakers {
            waker.join().expect("a wake does not fail");
        }
        assert_eq!(home.woken(), [JOB]);
        assert!(home.is_empty());
    });
}

/// T3: the last reference to a cell frees it, once; the future is dropped with the last reference
/// on the loop's thread.
#[test]
fn a_cell_is_freed_once_by_its_last_reference() {
    loom::model(|| {
        let home = Fixture::new();
        let inbox = home.inbox();
        let kept = Arc::strong_count(&inbox);
        let held = Arc::new(());
        let future_holds = Arc::clone(&held);
        let task = task(&home, async move { drop(future_holds) });
        let waker = task.cell().waker().clone();
        let threads = [
            thread::spawn({
                let waker = waker.clone();
                // One reference more, and one less.
                move || drop(waker.clone())
            }),
            thread::spawn(move || waker.wake()),
        ];
        let another = task.cell().clone();
        drop(task);
        assert_eq!(Arc::strong_count(&held), 2, "there is a reference");
        drop(another);
        assert_eq!(
            Arc::strong_count(&held),
            1,
            "dropped here, and not with the memory"
        );
        for thread in threads {
            thread.join().expect("a wake does not fail");
        }
        assert_eq!(Arc::strong_count(&inbox), kept, "freed, and once");
    });
}
