//! What a spent budget must not change, and what must count against a budget.
//!
//! The winner of a race does not depend on how much of the budget is left (T7). A future that uses up
//! the budget each time delays neither a timeout nor a token nor its neighbours. A composite of
//! futures that consume no budget, and that is ready at once, consumes budget itself (F1).
//!
//! asyncio has no budget. In the notes: a coroutine must give way (N10, N12).
//!
//! Invariants: T7, F1.

use super::fairness::{TEN, assert_soon, late};
use crate::support::{guard, strict_run, tcp_pair};
use readily::combine::{Either, ReturnWhen};
use readily::io::TcpStream;
use readily::sync::{Barrier, Condition};
use readily::task::{BUDGET, RemoteTask, consume_budget, unconstrained};
use readily::{
    CancellationToken, Elapsed, Event, JoinSet, Lock, Queue, Semaphore, Task, TaskGroup,
    as_completed, gather, race, select, sleep, spawn, timeout, try_gather, wait, wait_for,
    yield_now,
};
use readily_testing::SimLoop;
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// All that this poll has.
async fn spend_all() {
    yield_now().await;
    spend(BUDGET).await;
}

async fn spend(times: u32) {
    for _ in 0..times {
        consume_budget().await;
    }
}

/// Ready at once, if there is budget for it.
async fn costs<T>(value: T) -> T {
    consume_budget().await;
    value
}

/// T7, and a consumer that would have stopped after 128 items.
#[test]
fn a_choice_in_a_loop_goes_on_beyond_the_budget() {
    let got = SimLoop::new(1).run(async {
        let queue = Queue::unbounded();
        (0..1000).for_each(|n| queue.try_put(n).unwrap());
        let mut got = 0;
        while let Either::Left(Ok(_)) = select((queue.get(), ready(()))).await {
            got += 1;
            if got == 1000 {
                break;
            }
        }
        got
    });
    assert_eq!(got.unwrap(), 1000);
}

#[test]
fn the_first_named_wins_also_where_nothing_is_left() {
    SimLoop::new(2)
        .run(async {
            spend_all().await;
            assert_eq!(select((costs(0), ready(1))).await, Either::Left(0));
            spend_all().await;
            assert_eq!(race((costs(0), ready(1))).await, 0);
            spend_all().await;
            assert_eq!(
                try_gather((costs(Err::<(), _>(0)), ready(Err::<(), _>(1)))).await,
                Err(0)
            );
            let list = || {
                [Some(0), None].map(|n| async move {
                    match n {
                        Some(n) => costs(n).await,
                        None => 1,
                    }
                })
            };
            spend_all().await;
            assert_eq!(select(list()).await, (0, 0));
            spend_all().await;
            assert_eq!(race(list()).await, 0);
            spend_all().await;
            let errors = list().map(|one| async { Err::<(), _>(one.await) });
            assert_eq!(try_gather(errors).await, Err(0));
            spend_all().await;
            assert_eq!(as_completed(list()).next().await, Some((0, 0)));
        })
        .unwrap();
}

/// It is pending for want of budget only: no future behind it is polled.
#[test]
fn the_first_named_wins_also_where_it_uses_up_what_is_left() {
    SimLoop::new(3)
        .run(async {
            let long = || async {
                spend(50).await;
                0
            };
            let begun = || async {
                yield_now().await;
                spend(100).await;
            };
            begun().await;
            assert_eq!(select((long(), ready(1))).await, Either::Left(0));
            begun().await;
            assert_eq!(race((long(), ready(1))).await, 0);
            let failing = async { Err::<(), _>(long().await) };
            begun().await;
            assert_eq!(try_gather((failing, ready(Err::<(), _>(1)))).await, Err(0));
            let list = || {
                [true, false].map(|first| async move {
                    if first {
                        spend(50).await;
                    }
                    u8::from(!first)
                })
            };
            begun().await;
            assert_eq!(select(list()).await, (0, 0));
            begun().await;
            assert_eq!(race(list()).await, 0);
        })
        .unwrap();
}

/// Always ready, and never done.
async fn busy(tick: Rc<dyn Fn()>) {
    loop {
        consume_budget().await;
        tick();
    }
}

/// The hour that a busy one must not take.
async fn at_last<F: Future>(future: F) -> F::Output {
    wait_for(100 * TEN, future).await.expect("it starves")
}

/// Ticks that take ten microseconds each, and of which there must not be a million.
fn ticks(sim: &SimLoop) -> impl Fn() -> Rc<dyn Fn()> + 'static {
    let clock = sim.kernel().clock();
    let count = Rc::new(Cell::new(0));
    move || {
        let (clock, count) = (clock.clone(), Rc::clone(&count));
        Rc::new(move || {
            clock.advance(TEN / 1000);
            count.set(count.get() + 1);
            assert!(count.get() < 1_000_000, "it never came back");
        })
    }
}

#[test]
fn a_future_that_is_always_busy_does_not_starve_the_ones_behind_it() {
    let mut sim = SimLoop::new(4);
    let tick = ticks(&sim);
    let main = async move {
        // What costs nothing, and what does.
        assert_eq!(
            race((
                async {
                    busy(tick()).await;
                    0
                },
                async {
                    sleep(TEN).await;
                    1
                }
            ))
            .await,
            1
        );
        let several = || async {
            sleep(TEN).await;
            spend(3).await;
            1
        };
        assert_eq!(
            race((
                async {
                    busy(tick()).await;
                    0
                },
                several()
            ))
            .await,
            1
        );
        assert_eq!(select((busy(tick()), several())).await, Either::Right(1));
        let list = [true, true, false].map(|is_busy| {
            let tick = tick();
            async move {
                match is_busy {
                    true => busy(tick).await,
                    false => drop(several().await),
                }
            }
        });
        assert_eq!(select(list).await, (2, ()));
        let done = Cell::new(false);
        let other = async {
            several().await;
            done.set(true);
        };
        let mut all = pin!(gather((busy(tick()), other)));
        while !done.get() {
            let _ = wait_for(TEN, all.as_mut()).await;
        }
        let failing = async { Err::<(), _>(several().await) };
        let never_failing = async {
            busy(tick()).await;
            Ok::<_, u8>(())
        };
        let both = try_gather((never_failing, failing)).await;
        assert_eq!(both, Err(1));
    };
    sim.run(at_last(main)).unwrap();
}

/// It was polled at the limit without any budget, and never came back.
#[test]
fn a_limit_and_a_token_end_what_is_always_busy() {
    let mut sim = SimLoop::new(5);
    let tick = ticks(&sim);
    sim.run(async move {
        assert_eq!(wait_for(TEN, busy(tick())).await, Err(Elapsed));
        assert_eq!(
            timeout(TEN, async |_| busy(tick()).await).await,
            Err(Elapsed)
        );
        let token = CancellationToken::new();
        let cancels = token.clone();
        let task = spawn(async move {
            sleep(TEN).await;
            cancels.cancel();
        });
        assert_eq!(token.run_until_cancelled(busy(tick())).await, None);
        task.await.unwrap();
        // A future that has used up the budget, and is ready all the same, wins (T6).
        let token = CancellationToken::new();
        let last = token.run_until_cancelled(async {
            token.cancel();
            spend(BUDGET + 1).await;
            7
        });
        assert_eq!(last.await, Some(7));
    })
    .unwrap();
}

/// F1: each of these is ready at once, again and again.
#[test]
fn what_is_made_of_nothing_that_counts_counts_itself() {
    macro_rules! soon {
        ($($name:literal => $operation:expr;)+) => { $(
            println!("{}", $name);
            assert_soon(late(&mut SimLoop::new(6), |tick| async move {
                loop {
                    let _ = $operation.await;
                    tick();
                }
            }));
        )+ };
    }
    soon! {
        "wait_for" => wait_for(TEN, ready(()));
        "timeout" => timeout(TEN, async |_| ());
        "gather" => gather((ready(()), ready(())));
        "gather, list" => gather([ready(())]);
        "gather, nothing" => gather(Vec::<std::future::Ready<()>>::new());
        "try_gather" => try_gather((ready(Ok::<_, ()>(())),));
        "try_gather, list" => try_gather([ready(Err::<(), _>(()))]);
        "race" => race((ready(()), ready(())));
        "race, list" => race([ready(())]);
        "select" => select((pending::<()>(), ready(())));
        "select, list" => select([ready(())]);
        "as_completed" => async { as_completed([ready(())]).next().await };
        "as_completed, nothing" => async { as_completed(Vec::<std::future::Ready<()>>::new()).next().await };
        "group" => TaskGroup::<()>::run(async |_| Ok(()));
        "group, failed" => TaskGroup::<()>::collect(async |_| Err::<(), _>(()));
    }
}

/// F1: there is nothing to move, to take or to wait for, and that is done at once, again and again.
#[test]
fn what_does_nothing_counts_all_the_same() {
    macro_rules! soon {
        ($($name:literal => |$here:ident| $given:pat = $all:expr, $operation:expr;)+) => { $(
            println!("{}", $name);
            let mut sim = SimLoop::new(6);
            let (mut stream, peer) = sim.duplex().unwrap();
            assert_soon(late(&mut sim, |tick| async move {
                let $here = &mut stream;
                let ($given, _open) = ($all, &peer);
                loop {
                    let _ = $operation.await;
                    tick();
                }
            }));
        )+ };
    }
    soon! {
        "read" => |here| here = here, here.read(&mut []);
        "read_exact" => |here| here = here, here.read_exact(&mut []);
        "write" => |here| here = here, here.write(&[]);
        "write_all" => |here| here = here, here.write_all(&[]);
        "read, half" => |here| (mut read, _write) = here.split(), read.read(&mut []);
        "write_all, half" => |here| (_read, mut write) = here.split(), write.write_all(&[]);
        "no permits" => |_stream| permits = Semaphore::new(0), permits.acquire_many(0);
        "condition" => |_stream| (lock, condition) = (Lock::new(()), Condition::new()), async {
            let mut guard = lock.try_acquire().unwrap();
            for _ in 0..3 {
                guard = condition.wait_for(guard, |()| true).await;
            }
        };
        "event" => |_stream| event = { let event = Event::new(); event.set(); event }, event.wait();
        "barrier" => |_stream| barrier = Barrier::new(1), barrier.wait();
        "join" => |_stream| queue = Queue::<()>::unbounded(), queue.join();
        "reserve" => |_stream| queue = Queue::<()>::bounded(1), queue.reserve();
        "get, closed" => |_stream| queue = { let queue = Queue::<()>::bounded(1); queue.close(); queue }, queue.get();
        "set" => |_stream| mut set = JoinSet::<()>::new(), set.join_next();
        "shutdown" => |_stream| mut set = JoinSet::<()>::new(), set.shutdown();
    }
    // A sleep that is over, polled again.
    assert_soon(late(&mut SimLoop::new(6), |tick| async move {
        let mut over = sleep(Duration::ZERO);
        loop {
            (&mut over).await;
            tick();
        }
    }));
}

/// F1: a read that finds nothing has not completed.
#[test]
fn a_read_that_has_to_wait_uses_no_budget() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = tcp_pair();
        let stream = TcpStream::from_std(ours).unwrap();
        theirs.write_all(&[7; 8]).unwrap();
        // A full buffer: nothing says that there is no more, so the next read tries.
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 8);
        let mut buffer = [0; 8];
        let mut read = pin!(stream.read(&mut buffer));
        let mut left = pin!(spend(BUDGET - 1));
        let mut one_more = pin!(spend(1));
        let polled = poll_fn(|cx| {
            let read = read.as_mut().poll(cx).is_ready();
            let left = left.as_mut().poll(cx).is_ready();
            Poll::Ready([read, left, one_more.as_mut().poll(cx).is_ready()])
        });
        assert_eq!(polled.await, [false, true, false]);
    })
    .unwrap();
}

#[test]
fn remote_tasks_that_have_ended_leave_a_timer_its_turn() {
    let mut sim = SimLoop::new(6);
    let remote = sim.remote_handle();
    let tasks: Vec<RemoteTask<()>> = (0..5000)
        .map(|_| remote.spawn(|| async {}).unwrap())
        .collect();
    sim.run_until_stalled().unwrap();
    assert!(tasks.iter().all(RemoteTask::done));
    assert_soon(late(&mut sim, |tick| async move {
        for task in tasks {
            task.await.unwrap();
            tick();
        }
        pending().await
    }));
}

#[test]
fn a_token_that_is_cancelled_leaves_a_timer_its_turn_also_where_it_keeps_others_from_running() {
    assert_soon(late(&mut SimLoop::new(6), |tick| async move {
        let token = CancellationToken::new();
        token.cancel();
        loop {
            assert_eq!(token.run_until_cancelled(pending::<()>()).await, None);
            tick();
        }
    }));
    assert_soon(late(&mut SimLoop::new(7), |tick| async move {
        let token = CancellationToken::new();
        loop {
            token.run_until_cancelled(ready(())).await.unwrap();
            tick();
        }
    }));
}

#[test]
fn a_wait_for_tasks_that_have_ended_leaves_a_timer_its_turn() {
    for many in [0, 3] {
        assert_soon(late(&mut SimLoop::new(8), |tick| async move {
            let mut ended: Vec<Task<()>> = (0..many).map(|_| spawn(async {})).collect();
            loop {
                let (done, _) = wait(&mut ended, ReturnWhen::AllCompleted).await;
                assert_eq!(done.len(), many);
                ended = done;
                tick();
            }
        }));
    }
}

/// The operations within count already: what is around them costs nothing more.
#[test]
fn what_is_made_of_what_counts_costs_no_more_than_that() {
    let mut sim = SimLoop::new(9);
    let done = Rc::new(Cell::new(0));
    let counts = Rc::clone(&done);
    let entered = sim.event_loop().enter();
    let task = spawn(async move {
        for _ in 0..2 * BUDGET {
            wait_for(TEN, race((costs(()), pending()))).await.unwrap();
            counts.set(counts.get() + 1);
        }
    });
    drop(entered);
    sim.event_loop().turn_now().unwrap();
    assert_eq!(done.get(), BUDGET);
    sim.run_until_stalled().unwrap();
    assert!(task.done());
    // And `unconstrained` is what it was: in one go.
    sim.run(async {
        unconstrained(async {
            for _ in 0..10 * BUDGET {
                assert_eq!(select((costs(0), ready(1))).await, Either::Left(0));
            }
        })
        .await;
    })
    .unwrap();
}

/// A future that uses up the budget, and then waits for something else, is not woken: the choice itself
/// has to come back for the futures behind it.
#[test]
fn a_choice_comes_back_for_the_futures_behind_one_that_used_up_the_budget() {
    let chosen = SimLoop::new(31).run(async {
        let first = async {
            spend(BUDGET).await;
            pending::<()>().await;
        };
        select((first, ready(7))).await
    });
    assert_eq!(chosen.unwrap(), Either::Right(7));
}
