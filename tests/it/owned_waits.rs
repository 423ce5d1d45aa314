//! Waits that own a clone of the object they wait for, and so can be spawned: they are served, and
//! lose nothing, as the waits that borrow it (Q1, Q5, Q6).
//!
//! Invariants: Q1, Q5, Q6.

use crate::support::{guard, strict_run};
use readily::sync::{
    Barrier, BoundedSemaphore, BrokenBarrierError, Closed, Condition, LifoQueue, LockGuard,
    PriorityQueue, PutError,
};
use readily::{Event, Lock, Queue, Semaphore, Task, spawn, yield_now};
use std::rc::Rc;

/// Lets the tasks that are ready run, and those that they wake.
async fn settle() {
    for _ in 0..3 {
        yield_now().await;
    }
}

#[test]
fn a_wait_that_owns_its_clone_can_be_spawned_and_outlives_the_handle() {
    let _guard = guard!();
    strict_run(async {
        let (lock, event, condition) = (Lock::new(5), Event::new(), Condition::new());
        let (seats, bounded) = (Semaphore::new(1), BoundedSemaphore::new(1));
        let barrier = Barrier::new(2);
        let held = (lock.try_acquire(), bounded.try_acquire());
        let locked = spawn(lock.acquire_owned());
        let (set, one) = (spawn(event.wait_owned()), spawn(bounded.acquire_owned()));
        let (seat, three) = (
            spawn(seats.acquire_owned()),
            spawn(seats.acquire_many_owned(3)),
        );
        let parties: [Task<_>; 2] = [(); 2].map(|()| spawn(barrier.wait_owned()));
        drop(barrier);
        settle().await;
        assert!(!locked.done() && !set.done() && !one.done() && seat.done() && !three.done());
        event.set();
        seats.add_permits(2);
        drop((held, event));
        let guard = locked.await.unwrap();
        assert_eq!(*guard, 5);
        set.await.unwrap();
        assert_eq!(one.await.unwrap().permits(), 1);
        assert_eq!(seat.await.unwrap().permits(), 1);
        assert_eq!(three.await.unwrap().permits(), 3);
        let [first, last] = parties;
        assert_eq!(first.await.unwrap(), Ok::<_, BrokenBarrierError>(0));
        assert_eq!(last.await.unwrap(), Ok(1));
        let changed = spawn(condition.wait_owned(guard));
        settle().await;
        let guard = lock.try_acquire().expect("free during the wait");
        let above = spawn(condition.wait_for_owned(guard, |value| *value > 6));
        settle().await;
        *lock.try_acquire().expect("free during both waits") = 7;
        condition.notify_all();
        assert_eq!(*changed.await.unwrap(), 7);
        assert_eq!(*above.await.unwrap(), 7);
    })
    .unwrap();
}

#[test]
fn a_wait_on_a_queue_of_any_order_can_be_spawned() {
    let _guard = guard!();
    strict_run(async {
        let queue = Queue::bounded(1);
        let idle = spawn(queue.join_owned());
        idle.await.unwrap();
        let (got, job) = (spawn(queue.get_owned()), spawn(queue.get_work_item_owned()));
        let puts = ["a", "b", "c"].map(|item| spawn(queue.put_owned(item)));
        assert_eq!(got.await.unwrap(), Ok("a"));
        let job = job.await.unwrap().unwrap();
        assert_eq!(*job, "b");
        for put in puts {
            assert_eq!(put.await.unwrap(), Ok(()));
        }
        let room = spawn(queue.reserve_owned());
        let (idle, late) = (spawn(queue.join_owned()), spawn(queue.put_owned("late")));
        settle().await;
        assert!(!room.done() && !late.done());
        assert_eq!(queue.try_get(), Ok("c"));
        let room = room.await.unwrap().unwrap();
        queue.close();
        assert_eq!(late.await.unwrap(), Err(Closed("late")));
        assert_eq!(room.put("d"), Err(Closed("d")));
        assert_eq!(queue.try_put("e"), Err(PutError::Closed("e")));
        assert_eq!(queue.get_owned().await, Err(Closed(())));
        for _ in 0..2 {
            queue.task_done().unwrap();
        }
        settle().await;
        assert!(!idle.done(), "the job is not done yet");
        drop(job);
        idle.await.unwrap();

        let (last, least) = (LifoQueue::unbounded(), PriorityQueue::unbounded());
        for item in [2, 1, 3] {
            last.put_owned(item).await.unwrap();
            least.put_owned(item).await.unwrap();
        }
        assert_eq!(spawn(last.get_owned()).await.unwrap(), Ok(3));
        assert_eq!(spawn(least.get_owned()).await.unwrap(), Ok(1));
    })
    .unwrap();
}

/// Q1, Q5, Q6: the grant of a cancelled task goes to the next one.
#[test]
fn a_spawned_wait_that_is_cancelled_after_its_grant_leaves_it_to_the_next() {
    let _guard = guard!();
    strict_run(async {
        let (lock, queue, changed) = (Lock::new(()), Queue::bounded(1), Condition::new());
        let held = lock.acquire().await;
        let [first, next]: [Task<LockGuard<()>>; 2] = [(); 2].map(|()| spawn(lock.acquire_owned()));
        let [getter, next_getter] = [(); 2].map(|()| spawn(queue.get_owned()));
        settle().await;
        drop(held); // grants the lock to the first, which has not run since
        queue.try_put("item").unwrap();
        assert!(first.cancel() && getter.cancel());
        let guard = next.await.unwrap();
        assert_eq!(next_getter.await.unwrap(), Ok("item"));

        queue.try_put("full").unwrap();
        let room = spawn(queue.reserve_owned());
        let next_room = spawn(queue.reserve_owned());
        settle().await;
        assert_eq!(queue.try_get(), Ok("full"));
        assert!(room.cancel());
        drop(next_room.await.unwrap().unwrap());

        let waits = spawn(changed.wait_owned(guard));
        settle().await;
        let next_waits = spawn(changed.wait_owned(lock.try_acquire().unwrap()));
        settle().await;
        changed.notify(1);
        assert!(waits.cancel());
        drop(next_waits.await.unwrap());
        assert!(!lock.locked());
    })
    .unwrap();
}

#[test]
fn a_wait_that_owns_a_clone_gives_it_up_when_it_ends_or_is_dropped() {
    let _guard = guard!();
    strict_run(async {
        let value = Rc::new(());
        let lock = Lock::new(Rc::clone(&value));
        let waits = lock.acquire_owned();
        drop(lock);
        assert_eq!(Rc::strong_count(&value), 2, "the future has the lock");
        drop(waits.await);
        assert_eq!(Rc::strong_count(&value), 1);
        let queue = Queue::bounded(1);
        drop(queue.put_owned(Rc::clone(&value)));
        assert_eq!(Rc::strong_count(&value), 1, "never polled");
        assert!(queue.empty());
    })
    .unwrap();
}

/// The owned waits cost the others nothing.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_wait_that_borrows_is_no_larger_than_what_it_needs() {
    let (lock, seats, event) = (Lock::new(0_u64), Semaphore::new(1), Event::new());
    let queue = Queue::<u64>::unbounded();
    let words = |bytes: usize| bytes / size_of::<usize>();
    assert_eq!(words(size_of_val(&lock.acquire())), 4);
    assert_eq!(words(size_of_val(&seats.acquire())), 5);
    assert_eq!(words(size_of_val(&event.wait())), 3);
    assert_eq!(words(size_of_val(&queue.get())), 2);
    assert_eq!(words(size_of_val(&queue.put(1))), 4);
}
