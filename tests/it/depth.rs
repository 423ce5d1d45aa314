//! Chains as long as memory, on a stack as short as a thread may have: R093, G5.
//!
//! Each test runs on a thread with a stack of 256 KiB, whose overflow ends the process; one frame for
//! each link would need a hundred times as much. Tests that move large values over the stack have 2
//! MiB, the usual size of a thread.
//!
//! Invariants: G4, G5.

use crate::support::{strict_loop, strict_run, turn_times, watched};
use readily::task::{RemoteTask, SharedTask, create_future};
use readily::{
    CancellationToken, Closures, Interest, JoinSet, PanicPolicy, Task, TaskGroup, spawn, yield_now,
};
use std::any::Any;
use std::cell::Cell;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const LINKS: usize = 1_000_000;
/// A task each.
const WAITERS: usize = 500_000;
/// Still far more than fit on the stack one in another.
const FEWER: usize = 100_000;
/// Links that each take a turn of the loop to be made.
const TURNS: usize = 50_000;

/// One at a time: a million tasks take half a gigabyte.
static MEMORY: Mutex<()> = Mutex::new(());

fn on_a_stack_of(kib: usize, test: impl FnOnce() + Send + 'static) {
    // Also while the test runs in a process of its own.
    let _memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(_guard) = watched() else { return };
    let thread = thread::Builder::new().stack_size(kib * 1024).spawn(test);
    thread.unwrap().join().unwrap();
}

/// Each task owns the handle of the next one. The first is cancelled, its loop is closed, or its
/// handle is dropped.
#[test]
fn a_chain_of_a_million_handles_is_dropped() {
    on_a_stack_of(256, || {
        for (closes, links) in [(true, LINKS), (false, FEWER)] {
            let event_loop = strict_loop();
            let mut last = event_loop.spawn(pending::<()>());
            for _ in 1..links {
                last = event_loop.spawn(async move {
                    let _next = last;
                    pending::<()>().await;
                });
            }
            if closes {
                assert_eq!(event_loop.close().tasks.len(), links);
            } else {
                assert!(last.cancel());
                assert_eq!(
                    event_loop.close().tasks.len(),
                    links - 1,
                    "the others go on"
                );
            }
        }
    });
}

/// G5: each task's result is the handle of the next one, which has ended too.
#[test]
fn a_long_chain_of_results_is_dropped() {
    on_a_stack_of(256, || {
        let mut event_loop = strict_loop();
        let dropped = Rc::new(Cell::new(0));
        struct Link(Rc<Cell<usize>>, Option<Task<Box<dyn Any>>>);
        impl Drop for Link {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                drop(self.1.take());
            }
        }
        let mut last = None;
        for _ in 0..FEWER {
            let link = Link(Rc::clone(&dropped), last.take());
            last = Some(event_loop.spawn(async move { Box::new(link) as Box<dyn Any> }));
        }
        turn_times(&mut event_loop, 1);
        drop(last);
        assert_eq!(dropped.get(), FEWER, "before the drop returns");
    });
}

/// Cancels the next one when it is dropped.
struct Cancels(Option<Task<()>>, Rc<Cell<usize>>);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        if let Some(next) = &self.0 {
            assert!(
                next.cancel(),
                "this call is what ends it, now or a little later"
            );
        }
    }
}

/// G5: a destructor cancels a task whose destructor cancels another, very many times.
#[test]
fn very_many_destructors_that_each_cancel_the_next() {
    on_a_stack_of(256, || {
        let event_loop = strict_loop();
        let dropped = Rc::new(Cell::new(0));
        let mut last = None;
        for _ in 0..FEWER {
            let cancels = Cancels(last.take(), Rc::clone(&dropped));
            last = Some(event_loop.spawn(async move {
                let _cancels = cancels;
                pending::<()>().await;
            }));
        }
        assert!(last.unwrap().cancel());
        assert_eq!(dropped.get(), FEWER, "all of them, before it returns");
        assert_eq!(event_loop.close().tasks.len(), 0);
    });
}

/// Ends the next link when it goes: cancels, removes or drops it.
struct Ends(Option<Box<dyn FnOnce()>>, Rc<Cell<usize>>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// Makes a chain: each link owns what ends the next one, and `make` puts it where it is kept. Ends the
/// first, and counts how many have gone then.
fn end_a_chain(links: usize, mut make: impl FnMut(Ends) -> Box<dyn FnOnce()>) -> usize {
    let gone = Rc::new(Cell::new(0));
    let mut next: Option<Box<dyn FnOnce()>> = None;
    for _ in 0..links {
        next = Some(make(Ends(next, Rc::clone(&gone))));
    }
    next.unwrap()();
    gone.get()
}

/// G5, R143: closures of timers, closures that are queued, and the two by turns.
#[test]
fn very_many_closures_that_each_cancel_the_next() {
    on_a_stack_of(256, || {
        let event_loop = strict_loop();
        let timer = |ends: Ends| -> Box<dyn FnOnce()> {
            let timer = event_loop.call_later(Duration::from_secs(9), move |_| drop(ends));
            Box::new(move || assert!(timer.cancel()))
        };
        let soon = |ends: Ends| -> Box<dyn FnOnce()> {
            let call = event_loop.call_soon(move |_| drop(ends));
            Box::new(move || assert!(call.cancel()))
        };
        assert_eq!(end_a_chain(FEWER, timer), FEWER);
        assert_eq!(end_a_chain(FEWER, soon), FEWER);
        let mut turn = 0;
        let both = |ends: Ends| {
            turn += 1;
            if turn % 2 == 0 {
                timer(ends)
            } else {
                soon(ends)
            }
        };
        assert_eq!(end_a_chain(FEWER, both), FEWER);
    });
}

/// G5, R143: through two loops by turns, of which each has a depth that is not the other's.
#[test]
fn very_many_closures_of_several_loops_that_each_cancel_the_next() {
    on_a_stack_of(256, || {
        let loops: Vec<_> = (0..20).map(|_| strict_loop()).collect();
        let mut turn = 0;
        let gone = end_a_chain(FEWER, |ends| {
            turn += 1;
            let event_loop = &loops[turn % loops.len()];
            let timer = event_loop.call_later(Duration::from_secs(9), move |_| drop(ends));
            Box::new(move || assert!(timer.cancel()))
        });
        assert_eq!(gone, FEWER);
    });
}

/// G5, R143: callbacks that each remove the next registration. Few, for each takes a descriptor, on a
/// stack that is as much shorter.
#[test]
fn many_registrations_that_each_remove_the_next() {
    on_a_stack_of(128, || {
        let event_loop = strict_loop();
        let links = 500;
        let gone = end_a_chain(links, |ends| {
            let socket = UnixDatagram::unbound().unwrap();
            let callbacks = Closures::new().on_read(move |_| {
                let _held = &ends;
            });
            let key = event_loop.register(OwnedFd::from(socket), Interest::READ, callbacks);
            let (key, handle) = (key.unwrap(), event_loop.weak_handle());
            Box::new(move || handle.with(|handle| handle.remove(key).unwrap()).unwrap())
        });
        assert_eq!((gone, event_loop.registered()), (links, 0));
    });
}

/// G5, R143: each token's callback owns the next token. Taken back, dropped with its token, and
/// when the loop has gone.
#[test]
fn very_many_tokens_whose_callbacks_own_the_next() {
    on_a_stack_of(256, || {
        let event_loop = strict_loop();
        let here = event_loop.enter();
        for is_taken_back in [true, false] {
            let gone = end_a_chain(FEWER, |ends| {
                let token = CancellationToken::new();
                let key = token.on_cancel(move |_| drop(ends));
                Box::new(move || match is_taken_back {
                    true => assert!(token.remove_on_cancel(key)),
                    false => drop(token),
                })
            });
            assert_eq!(gone, FEWER);
        }
        // And let go when there is no loop any more.
        let gone = Rc::new(Cell::new(0));
        let mut last: Option<CancellationToken> = None;
        for n in 0..FEWER {
            let (token, ends) = (CancellationToken::new(), Ends(None, Rc::clone(&gone)));
            let next = last.take();
            token.on_cancel(move |_| drop((next, ends)));
            // Held itself, or by the last token below it.
            last = Some(if n % 2 == 0 {
                token
            } else {
                token.child_token()
            });
        }
        drop(here);
        drop(event_loop);
        drop(last);
        assert_eq!(gone.get(), FEWER);
    });
}

/// G5, R143: each future's value is the next future; each future's done-callback owns the next
/// promise, whose loop has gone.
#[test]
fn very_many_futures_that_own_the_next() {
    on_a_stack_of(256, || {
        let event_loop = strict_loop();
        let here = event_loop.enter();
        let gone = Rc::new(Cell::new(0));
        let mut last: Option<Box<dyn Any>> = None;
        for _ in 0..FEWER {
            let (promise, future) = create_future::<(Option<Box<dyn Any>>, Ends)>();
            let value = (last.take(), Ends(None, Rc::clone(&gone)));
            assert!(promise.set_result(value).is_ok());
            last = Some(Box::new(future));
        }
        drop(last);
        assert_eq!(gone.replace(0), FEWER);
        let mut futures = Vec::new();
        let mut last = None;
        for _ in 0..FEWER {
            let (promise, future) = create_future::<()>();
            let held = (last.take(), Ends(None, Rc::clone(&gone)));
            future.add_done_callback(move |_| drop(held));
            futures.push(future);
            last = Some(promise);
        }
        drop(here);
        drop(event_loop);
        drop(last);
        assert_eq!(gone.get(), FEWER);
    });
}

/// G5: each shared task's result is the handle of the next one, left in its cell or received before;
/// and a done-callback that may see the result owns the next task.
#[test]
fn very_many_shared_tasks_that_return_the_next() {
    on_a_stack_of(256, || {
        let mut event_loop = strict_loop();
        let gone = Rc::new(Cell::new(0));
        for (is_received, is_seen) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut last: Option<Box<dyn Any>> = None;
            let mut tasks = Vec::new();
            for _ in 0..FEWER {
                let value = (last.take(), Ends(None, Rc::clone(&gone)));
                let task = event_loop.spawn(async move { value });
                if is_seen {
                    task.add_done_callback(|_| ());
                }
                let task = task.shared();
                tasks.push(task.clone());
                last = Some(Box::new(task));
            }
            turn_times(&mut event_loop, 1);
            if is_received {
                let received = |task: &SharedTask<_>| task.with_result(Result::is_ok).unwrap();
                assert!(tasks.iter().all(received));
            }
            drop(tasks);
            drop(last);
            turn_times(&mut event_loop, 1);
            assert_eq!(gone.replace(0), FEWER);
        }
    });
}

/// G5, R143: each remote task's result is the handle of the next one.
#[test]
fn very_many_remote_tasks_that_return_the_next() {
    on_a_stack_of(256, || {
        let mut event_loop = strict_loop();
        let (remote, gone) = (event_loop.remote_handle(), Arc::new(AtomicUsize::new(0)));
        struct Link(Arc<AtomicUsize>, Option<Box<RemoteTask<Link>>>);
        impl Drop for Link {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
                drop(self.1.take());
            }
        }
        let mut last = None;
        for _ in 0..FEWER {
            let link = Link(Arc::clone(&gone), last.take());
            let task = remote.spawn(move || async move { link });
            last = Some(Box::new(task.map_err(drop).unwrap()));
        }
        turn_times(&mut event_loop, 2);
        drop(last);
        assert_eq!(gone.load(Ordering::Relaxed), FEWER);
    });
}

/// G5: a chain that mixes them all, and whose destructors panic, leaves nothing and no depth behind.
#[test]
fn a_chain_of_each_kind_is_dropped_though_its_destructors_panic() {
    struct Panics(#[expect(dead_code, reason = "it is dropped")] Ends);
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("planted"));
        }
    }
    on_a_stack_of(256, || {
        let event_loop = strict_loop();
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        let reports = Rc::new(Cell::new(0));
        let count = Rc::clone(&reports);
        event_loop.on_unhandled(move |_| count.set(count.get() + 1));
        for _ in 0..2 {
            let here = event_loop.enter();
            let mut turn = 0;
            let gone = end_a_chain(FEWER, |ends| {
                let held = Panics(ends);
                turn += 1;
                match turn % 4 {
                    0 => {
                        let timer =
                            event_loop.call_later(Duration::from_secs(9), move |_| drop(held));
                        Box::new(move || assert!(timer.cancel()))
                    }
                    1 => {
                        let call = event_loop.call_soon(move |_| drop(held));
                        Box::new(move || assert!(call.cancel()))
                    }
                    2 => {
                        let token = CancellationToken::new();
                        token.on_cancel(move |_| drop(held));
                        Box::new(move || drop(token))
                    }
                    _ => {
                        let task = event_loop.spawn(async move {
                            let _held = held;
                            pending::<()>().await;
                        });
                        Box::new(move || assert!(task.cancel()))
                    }
                }
            });
            drop(here);
            assert_eq!((gone, reports.replace(0)), (FEWER, FEWER));
        }
        assert_eq!(event_loop.close().timers, 0);
    });
}

type Nest = Pin<Box<dyn Future<Output = ()>>>;

/// A set in a task in a set, and so on; each is made when its task first runs.
fn nest(left: usize, living: Rc<Cell<usize>>) -> Nest {
    Box::pin(async move {
        struct Lives(Rc<Cell<usize>>);
        impl Drop for Lives {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        living.set(living.get() + 1);
        let _lives = Lives(Rc::clone(&living));
        let mut set = JoinSet::new();
        if left > 0 {
            set.spawn(nest(left - 1, living));
        }
        set.join_next().await;
        pending().await
    })
}

#[test]
fn sets_in_tasks_in_sets_are_dropped() {
    on_a_stack_of(256, || {
        let mut event_loop = strict_loop();
        let living = Rc::new(Cell::new(0));
        let outer = event_loop.spawn(nest(TURNS - 1, Rc::clone(&living)));
        turn_times(&mut event_loop, TURNS as u32);
        assert_eq!(living.get(), TURNS);
        assert!(outer.cancel());
        assert_eq!(living.get(), 0, "all of them, before it returns");
    });
}

/// A group in a child of a group, and so on: the innermost fails, and each is left by the error.
#[test]
fn groups_in_groups_are_left_by_the_error_of_the_innermost() {
    fn nest(left: usize) -> Pin<Box<dyn Future<Output = Result<(), usize>>>> {
        Box::pin(async move {
            let ended = TaskGroup::run(async |group| {
                if left == 0 {
                    return Err(0);
                }
                group.spawn(nest(left - 1));
                pending::<Result<(), _>>().await
            });
            let error = ended.await.unwrap_err();
            let [readily::group::ChildError::Failed(depth)] = error.errors[..] else {
                panic!("one of each");
            };
            Err(depth + 1)
        })
    }
    on_a_stack_of(256, || {
        let depth = strict_run(async { nest(2_000).await.unwrap_err() });
        assert_eq!(depth.unwrap(), 2_001);
    });
}

/// Half a million wait for one value, and for one token.
#[test]
fn half_a_million_waiters_are_woken_and_dropped() {
    on_a_stack_of(256, || {
        let mut event_loop = strict_loop();
        let here = event_loop.enter();
        let (promise, future) = create_future::<u8>();
        let (future, token) = (future.shared(), CancellationToken::new());
        let sum = Rc::new(Cell::new(0));
        for n in 0..WAITERS {
            let (future, sum) = (future.clone(), Rc::clone(&sum));
            let cancelled = token.cancelled();
            drop(spawn(async move {
                match n % 2 {
                    0 => {
                        let value = future.await.unwrap();
                        sum.set(sum.get() + usize::from(value));
                    }
                    _ => {
                        cancelled.await;
                        sum.set(sum.get() + 2);
                    }
                }
            }));
        }
        drop(here);
        turn_times(&mut event_loop, 1);
        promise.set_result(2).unwrap();
        token.cancel();
        turn_times(&mut event_loop, 2);
        assert_eq!(sum.get(), 2 * WAITERS);
        // And many that are never woken.
        let here = event_loop.enter();
        let (_promise, future) = create_future::<u8>();
        let future = future.shared();
        for _ in 0..FEWER {
            let future = future.clone();
            drop(spawn(async move { future.await.unwrap() }));
        }
        drop(here);
        turn_times(&mut event_loop, 1);
        assert_eq!(event_loop.close().tasks.len(), FEWER);
    });
}

/// G4, G5: a chain of a million tokens, cancelled from above, and dropped uncancelled.
#[test]
fn a_chain_of_a_million_tokens_is_cancelled_and_dropped() {
    on_a_stack_of(256, || {
        let top = CancellationToken::new();
        let mut last = top.child_token();
        for _ in 1..LINKS {
            last = last.child_token();
        }
        assert_eq!(top.children(), 1, "those in between are held by the last");
        top.cancel_with("from the top");
        assert_eq!(last.reason().as_deref(), Some("from the top"));
        let top = CancellationToken::new();
        let mut all = vec![top.child_token()];
        for n in 1..FEWER {
            all.push(all[n - 1].child_token());
        }
        assert!(all[0].cancel() && all[FEWER - 1].is_cancelled() && !top.is_cancelled());
        drop(all);
        let mut last = top.child_token();
        for _ in 1..FEWER {
            last = last.child_token();
        }
        drop(last);
        assert_eq!(top.children(), 0);
    });
}

/// A set of very many is cancelled in one go, and its order kept.
#[test]
fn a_set_of_very_many_ends_one_by_one() {
    on_a_stack_of(256, || {
        let mut event_loop = strict_loop();
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        let mut set = JoinSet::new();
        let many = FEWER;
        for n in 0..many {
            set.spawn_on(&event_loop, async move {
                yield_now().await;
                n
            });
        }
        turn_times(&mut event_loop, 2);
        for n in 0..many / 2 {
            assert_eq!(set.try_join_next().unwrap().unwrap(), n);
        }
        drop(set);
        assert_eq!(event_loop.close().tasks.len(), 0);
    });
}

/// What a future holds across an `await` is part of it, and goes through the stack on its way into
/// its box: 256 KiB can, on a usual thread and without optimisation. Sixteen MiB go in a box; or, as
/// they are, on a thread whose stack has room for them a few times over.
#[test]
fn a_large_future_can_be_spawned() {
    on_a_stack_of(2048, || {
        let mut event_loop = strict_loop();
        let large = async {
            let mut room = [1_u8; 256 * 1024];
            yield_now().await;
            room[77] = 2;
            room.iter().map(|&n| usize::from(n)).sum::<usize>()
        };
        assert!(size_of_val(&large) >= 256 * 1024);
        let mut task = event_loop.spawn(large);
        let mut larger = event_loop.spawn(async {
            let mut room = vec![1_u8; 16 << 20].into_boxed_slice();
            yield_now().await;
            room[77] = 2;
            room.len()
        });
        turn_times(&mut event_loop, 3);
        assert_eq!(task.result().unwrap().unwrap(), 256 * 1024 + 1);
        assert_eq!(larger.result().unwrap().unwrap(), 16 << 20);
    });
}

#[test]
fn a_future_of_sixteen_mib_can_be_spawned_where_the_stack_has_room() {
    on_a_stack_of(128 * 1024, || {
        let mut event_loop = strict_loop();
        let mut task = event_loop.spawn(async {
            let mut room = [1_u8; 16 << 20];
            yield_now().await;
            room[77] = 2;
            // Once more across an await: it is in its box for good, and is not moved by a poll.
            yield_now().await;
            usize::from(room[77]) + room.len()
        });
        turn_times(&mut event_loop, 4);
        assert_eq!(task.result().unwrap().unwrap(), (16 << 20) + 2);
    });
}
