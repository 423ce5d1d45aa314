//! The waker under loom: wakes from two threads against the poll of their task.
//!
//! The loop's side is that of `executor.rs`: take the job out of the queue, lower the flag, poll.
//! The task is ready when both threads have left something for it, so a wake that is lost, or a
//! poll that does not see what was left, ends in a wait for ever, which loom reports.
//!
//! It is N10's `await` from the other side: who gave way must be called back. Wakes at home are
//! not modelled: they meet nobody.

use super::Wakeup;
use crate::base::sync::AtomicBool;
use crate::event_loop::Home;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

const JOB: u64 = 5;

/// T1, T2.
#[test]
fn a_wake_during_a_poll_leads_to_one_more_and_the_job_is_queued_once() {
    loom::model(|| {
        let home = Home::new();
        let wakeup = Wakeup::new(JOB, home.inbox());
        let left = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let wakers = [0, 1].map(|n| {
            let waker = Waker::from(Arc::clone(&wakeup));
            let left = Arc::clone(&left);
            thread::spawn(move || {
                // No order of its own: the wake must bring it.
                left[n].store(true, Relaxed);
                waker.wake();
            })
        });
        // Its first poll is queued from the start.
        loop {
            assert!(home.is_empty(), "T1: a job in hand is in no queue besides");
            assert!(wakeup.lower(), "a job in the queue has its flag up");
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

/// T1: wakes of a task that nobody polls are one letter.
#[test]
fn wakes_between_two_polls_are_one() {
    loom::model(|| {
        let home = Home::new();
        let wakeup = Wakeup::new(JOB, home.inbox());
        wakeup.lower();
        let wakers = [0, 1].map(|_| {
            let waker = Waker::from(Arc::clone(&wakeup));
            thread::spawn(move || waker.wake())
        });
        for waker in wakers {
            waker.join().expect("a wake does not fail");
        }
        assert_eq!(home.woken(), [JOB]);
        assert!(home.is_empty());
    });
}
