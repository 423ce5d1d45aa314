//! The ends of the cores under loom: cores that end, a task and a thread that wait for the last one.
//!
//! Each model ends when its waiters have been woken, so one that is not woken is found as a deadlock.
//!
//! The models are of N12's loops, one on each core.

use super::ends::Ends;
use super::report::{CoreEnd, CoreReport};
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

/// Where a task sleeps until it is woken.
struct Bed(Notify);

impl Wake for Bed {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn end(ends: &Arc<Ends>, core: usize) -> thread::JoinHandle<()> {
    let ends = Arc::clone(ends);
    thread::spawn(move || ends.put(CoreReport::new(core, CoreEnd::ShutDown)))
}

/// M3: a task that is awaiting the ends is woken by the last one, in every order.
#[test]
fn a_task_that_waits_is_woken_by_the_last_end() {
    loom::model(|| {
        let ends = Arc::new(Ends::new(2));
        let cores = [end(&ends, 0), end(&ends, 1)];
        let bed = Arc::new(Bed(Notify::new()));
        let waker = Waker::from(Arc::clone(&bed));
        while ends.poll(&waker) == Poll::Pending {
            bed.0.wait();
        }
        assert!(ends.report().is_clean());
        for core in cores {
            core.join().expect("it does not panic");
        }
    });
}

/// M3: so is a thread that blocks.
#[test]
fn a_thread_that_waits_is_woken_by_the_last_end() {
    loom::model(|| {
        let ends = Arc::new(Ends::new(2));
        let cores = [end(&ends, 0), end(&ends, 1)];
        ends.wait(None);
        assert!(ends.report().is_clean());
        for core in cores {
            core.join().expect("it does not panic");
        }
    });
}
