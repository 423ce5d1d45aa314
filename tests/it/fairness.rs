//! Fairness: work that is always ready delays a timer by a turn or two, and not without a limit.
//!
//! Invariants: F1, L5, L9, T6.

use readily::task::{BUDGET, consume_budget, create_future};
use readily::{
    CancellationToken, Closures, Elapsed, Event, Interest, Lock, Queue, Runner, Task, gather,
    sleep, spawn, wait_for, yield_now,
};
use readily_testing::SimLoop;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub(super) const TEN: Duration = Duration::from_millis(10);

/// Runs `busy`, which never ends, beside a timer of ten milliseconds. Each operation of `busy` calls
/// `tick`, which takes ten microseconds. Returns by how many ticks the timer was late.
pub(super) fn late<F: Future<Output = ()> + 'static>(
    sim: &mut SimLoop,
    busy: impl FnOnce(Rc<dyn Fn()>) -> F,
) -> u32 {
    let clock = sim.kernel().clock();
    let ticks = Rc::new(Cell::new(0));
    let count = Rc::clone(&ticks);
    let tick: Rc<dyn Fn()> = Rc::new(move || {
        clock.advance(Duration::from_micros(10));
        count.set(count.get() + 1);
        assert!(count.get() < 1_000_000, "the timer never came");
    });
    let busy = busy(tick);
    sim.run(async move {
        let busy = spawn(busy);
        sleep(TEN).await;
        busy.cancel();
    })
    .unwrap();
    ticks.get() - 1000
}

/// F1: tasks are polled one after another without going back to the loop.
#[test]
fn tasks_that_are_polled_in_a_row_have_a_whole_budget_each() {
    let mut sim = SimLoop::new(13);
    let tasks = [0, 1].map(|_| {
        sim.spawn(async {
            for _ in 0..BUDGET {
                consume_budget().await;
            }
            yield_now().await;
        })
    });
    sim.event_loop().turn_now().unwrap();
    let states = tasks.each_ref().map(|task| task.get_coro().polls);
    sim.event_loop().turn_now().unwrap();
    assert_eq!(states, [1, 1]);
    assert!(tasks.iter().all(Task::done), "each needed two polls");
}

/// L9: two tasks that wake each other keep the loop running, and yet the kernel is polled; but not in
/// each turn.
#[test]
fn a_descriptor_is_looked_at_within_61_polls_of_tasks_that_wake_each_other() {
    let mut sim = SimLoop::new(12);
    let (here, there) = sim.duplex().unwrap();
    let polls = Rc::new(Cell::new(0));
    let busy = |polls: &Rc<Cell<u32>>| {
        let polls = Rc::clone(polls);
        async move {
            loop {
                yield_now().await;
                polls.set(polls.get() + 1);
            }
        }
    };
    let before = sim.stats();
    let entered = sim.event_loop().enter();
    let tasks = [spawn(busy(&polls)), spawn(busy(&polls))];
    drop(entered);
    let late = sim.run(async move {
        let mut late = 0;
        for round in 0..20 {
            // At varying distances from the last poll of the kernel.
            while polls.get() % 61 != round {
                yield_now().await;
            }
            let written = polls.get();
            there.write_all(&[7]).await.unwrap();
            here.read(&mut [0; 8]).await.unwrap();
            late = late.max(polls.get() - written);
        }
        late
    });
    let late = late.unwrap();
    assert!(late <= 61, "late by {late}");
    let after = sim.stats();
    let (turns, looks) = (after.turns - before.turns, after.polls - before.polls);
    assert!(looks < turns / 10, "{looks} looks in {turns} turns");
    assert_eq!(tasks.map(|task| task.cancel()), [true; 2]);
}

/// L5, L9: where only tasks are ready, round follows round without a return to the loop; not in debug
/// mode, nor on a kernel in memory.
#[test]
fn rounds_of_a_row_of_tasks_keep_their_order_and_poll_the_kernel_after_61() {
    let mut runner = Runner::new().unwrap();
    runner.event_loop().set_debug(false);
    let handle = runner.event_loop().weak_handle();
    let log = Rc::new(RefCell::new(Vec::new()));
    let note = {
        let log = Rc::clone(&log);
        move |name| {
            let turns = handle.with(|handle| handle.stats().turns).unwrap();
            log.borrow_mut().push((name, turns));
        }
    };
    let noting = |name: &'static str| {
        let note = note.clone();
        async move {
            for _ in 0..500 {
                note(name);
                yield_now().await;
            }
        }
    };
    let before = runner.event_loop().stats();
    let first = runner.spawn(noting("first"));
    let between = note.clone();
    runner.event_loop().call_soon(move |_| between("closure"));
    let second = runner.spawn(noting("second"));
    let tasks = async { (first.await, second.await) };
    assert!(matches!(runner.run(tasks).unwrap(), (Ok(()), Ok(()))));
    let after = runner.event_loop().stats();
    let log = log.take();
    let turn = log[0].1;
    let begin = [("first", turn), ("closure", turn), ("second", turn)];
    assert_eq!(log[..3], begin);
    for (round, both) in (turn + 1..).zip(log[3..].chunks(2)) {
        assert_eq!(both, [("first", round), ("second", round)]);
    }
    let (turns, polls) = (after.turns - before.turns, after.polls - before.polls);
    assert!(
        (1000 / 61..turns / 10).contains(&polls),
        "{polls} of {turns}"
    );
}

/// F1: as many operations as a poll has, and once more for the turn that it was in.
#[track_caller]
pub(super) fn assert_soon(late: u32) {
    assert!(late <= 2 * BUDGET, "late by {late}");
}

/// F1.
#[test]
fn a_reader_of_a_peer_that_is_always_faster_leaves_a_timer_its_turn() {
    let mut sim = SimLoop::new(1);
    let (here, there) = sim.duplex().unwrap();
    assert_soon(late(&mut sim, |tick| async move {
        let mut buffer = [0; 64];
        loop {
            // Feeds itself: there is always something to be read.
            there.write_all(&[7; 64]).await.unwrap();
            here.read(&mut buffer).await.unwrap();
            tick();
        }
    }));
}

#[test]
fn a_task_that_wakes_itself_leaves_a_timer_its_turn() {
    let late = late(&mut SimLoop::new(2), |tick| async move {
        loop {
            yield_now().await;
            tick();
        }
    });
    assert!(late <= 2, "late by {late}");
}

/// R099: each of them is ready because of the other, in turn after turn.
#[test]
fn two_tasks_that_wake_each_other_leave_a_timer_its_turn() {
    let late = late(&mut SimLoop::new(11), |tick| async move {
        let other: Rc<RefCell<Option<Waker>>> = Rc::default();
        let waits = |other: Rc<RefCell<Option<Waker>>>, tick: Rc<dyn Fn()>| {
            poll_fn(move |cx| -> Poll<()> {
                tick();
                let before = other.replace(Some(cx.waker().clone()));
                before.into_iter().for_each(Waker::wake);
                Poll::Pending
            })
        };
        let one = spawn(waits(Rc::clone(&other), Rc::clone(&tick)));
        let two = spawn(waits(other, tick));
        // Cancelled with this one.
        let _both = (CancelOnDrop(one), CancelOnDrop(two));
        std::future::pending::<()>().await;
    });
    assert!(late <= 4, "late by {late}");
}

struct CancelOnDrop(Task<()>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// F1.
#[test]
fn futures_that_are_settled_already_leave_a_timer_its_turn() {
    assert_soon(late(&mut SimLoop::new(3), |tick| async move {
        loop {
            let (promise, future) = create_future();
            promise.set_result(()).unwrap();
            future.await.unwrap();
            tick();
        }
    }));
}

/// F1.
#[test]
fn a_flood_of_connections_leaves_a_timer_its_turn() {
    let mut sim = SimLoop::new(4);
    let kernel = sim.kernel().clone();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let here = sim.event_loop().enter();
    let listener = readily::io::TcpListener::bind(any).unwrap();
    drop(here);
    let addr = listener.local_addr().unwrap();
    assert_soon(late(&mut sim, |tick| async move {
        loop {
            let client = kernel.connect(addr).unwrap();
            listener.accept().await.unwrap();
            drop(client);
            tick();
        }
    }));
}

/// The channel's own consumer feeds it.
#[test]
fn a_queue_that_is_fed_by_its_own_consumer_leaves_a_timer_its_turn() {
    assert_soon(late(&mut SimLoop::new(8), |tick| async move {
        let queue = Queue::unbounded();
        loop {
            queue.put(()).await.unwrap();
            queue.get().await.unwrap();
            tick();
        }
    }));
}

#[test]
fn a_lock_that_is_free_leaves_a_timer_its_turn() {
    assert_soon(late(&mut SimLoop::new(9), |tick| async move {
        let lock = Lock::new(());
        loop {
            drop(lock.acquire().await);
            tick();
        }
    }));
}

#[test]
fn an_event_that_is_set_leaves_a_timer_its_turn() {
    assert_soon(late(&mut SimLoop::new(10), |tick| async move {
        let event = Event::new();
        event.set();
        loop {
            event.wait().await;
            tick();
        }
    }));
}

#[test]
fn a_cancelled_token_that_is_waited_for_again_and_again_leaves_a_timer_its_turn() {
    assert_soon(late(&mut SimLoop::new(12), |tick| async move {
        let token = CancellationToken::new();
        token.cancel();
        loop {
            token.cancelled().await;
            tick();
        }
    }));
}

/// A level that is always ready is reported in each turn, and each turn has its timers.
#[test]
fn a_callback_that_is_called_in_each_turn_leaves_a_timer_its_turn() {
    let mut sim = SimLoop::new(5);
    let (here, there) = sim.kernel().pair().unwrap();
    there.write(b"never read").unwrap();
    let clock = sim.kernel().clock();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let callbacks = Closures::new().on_read(move |_| {
        clock.advance(Duration::from_micros(10));
        count.set(count.get() + 1);
    });
    sim.register(here, Interest::READ, callbacks).unwrap();
    sim.run(sleep(TEN)).unwrap();
    assert!(calls.get() <= 1002, "{} calls", calls.get());
}

/// T6: a value that is there when the time runs out wins, though the budget has run out too.
#[test]
fn what_is_ready_at_the_deadline_is_not_lost_for_want_of_budget() {
    let mut sim = SimLoop::new(6);
    let clock = sim.kernel().clock();
    let won = sim
        .run(async move {
            let (promise, future) = create_future();
            let waiting = spawn(wait_for(TEN, async move {
                // In the poll in which the time has run out, the whole budget goes first.
                sleep(TEN).await;
                for _ in 0..BUDGET {
                    let (promise, future) = create_future();
                    promise.set_result(()).unwrap();
                    future.await.unwrap();
                }
                future.await
            }));
            yield_now().await;
            promise.set_result(7).unwrap();
            clock.advance(TEN);
            waiting.await.unwrap()
        })
        .unwrap();
    assert_eq!(won, Ok::<_, Elapsed>(Ok(7)));
}

/// What one of several does counts for all of them: they are one task.
#[test]
fn gathered_futures_share_one_budget() {
    let mut sim = SimLoop::new(7);
    let done = Rc::new(Cell::new(0));
    let one = |done: Rc<Cell<u32>>| async move {
        for _ in 0..BUDGET {
            let (promise, future) = create_future();
            promise.set_result(()).unwrap();
            future.await.unwrap();
            done.set(done.get() + 1);
        }
    };
    let all = gather([one(Rc::clone(&done)), one(Rc::clone(&done))]);
    let entered = sim.event_loop().enter();
    let task = spawn(all);
    drop(entered);
    sim.event_loop().turn_now().unwrap();
    assert_eq!(done.get(), BUDGET);
    sim.run_until_stalled().unwrap();
    assert!(task.done());
}
