//! Task groups, join sets, cancellation tokens and task-locals, each against a model.
//!
//! Invariants: G1 to G4, G7, T6, L8.

use super::scripted::{PLANTED, hush};
use proptest::collection::vec;
use proptest::prelude::*;
use readily::group::ChildError;
use readily::task::{FutureError, create_future, inherit};
use readily::{
    CancellationToken, JoinSet, PanicPolicy, TaskGroup, sleep, spawn, task_local, wait_for,
    yield_now,
};
use readily_testing::{Action, SimLoop, in_one_turn, manual_poll, orders, wakers};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Well,
    Badly,
    Panics,
    /// The child cancels its own task.
    Leaves,
    Never,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Well),
        2 => Just(End::Badly),
        1 => Just(End::Panics),
        1 => Just(End::Leaves),
        1 => Just(End::Never),
    ]
}

/// The number of children that have not been dropped.
#[derive(Clone, Default)]
struct Living(Rc<Cell<i32>>);

struct Life(Living);

impl Living {
    fn one(&self) -> Life {
        self.0.set(self.0.get() + 1);
        Life(self.clone())
    }

    fn count(&self) -> i32 {
        self.0.get()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let left = &self.0.0;
        left.set(left.get() - 1);
        // A destructor may use the loop: this one spawns a task that ends by itself.
        let life = self.0.clone();
        if readily::WeakHandle::current().is_some() {
            drop(spawn(async move { drop(life) }));
        }
    }
}

async fn child(own: usize, at: u32, end: End, life: Life) -> Result<usize, usize> {
    let _life = life;
    sleep(at * MS).await;
    match end {
        End::Well => Ok(own),
        End::Badly => Err(own),
        End::Panics => std::panic::panic_any(PLANTED),
        End::Leaves => {
            readily::current_task().unwrap().cancel();
            pending().await
        }
        End::Never => pending().await,
    }
}

/// The children in a group's error; a panic does not name its child, so panics are counted.
fn failures(errors: &[ChildError<usize>]) -> (Vec<usize>, usize) {
    let mut named: Vec<usize> = errors
        .iter()
        .filter_map(|error| match error {
            ChildError::Failed(own) => Some(*own),
            ChildError::Panicked(_) => None,
            other => panic!("not in the model: {other:?}"),
        })
        .collect();
    named.sort_unstable();
    let panics = errors.len() - named.len();
    (named, panics)
}

type Plan = Vec<(u32, End)>;

/// Runs a group of these children: the last one is the body. `Err(())` if the timeout ended it.
fn run_group(
    sim: &mut SimLoop,
    collects: bool,
    plan: &Plan,
    limit: Option<u32>,
    living: &Living,
) -> Result<Result<usize, Vec<ChildError<usize>>>, ()> {
    let (plan, inside) = (plan.clone(), living.clone());
    let body = async move |group: &TaskGroup<usize>| {
        let own = plan.len() - 1;
        let half = own / 2;
        for (n, &(at, end)) in plan[..half].iter().enumerate() {
            // Some children own the group itself, which must not keep it from ending.
            let (held, life) = (group.clone(), inside.one());
            drop(group.spawn(async move {
                let _held = held;
                child(n, at, end, life).await
            }));
        }
        // The other half is spawned by a child.
        let (more, lives, rest) = (group.clone(), inside.clone(), plan.clone());
        drop(group.spawn(async move {
            for (n, &(at, end)) in rest.iter().enumerate().take(own).skip(half) {
                drop(more.spawn(child(n, at, end, lives.one())));
            }
            Ok(())
        }));
        let (at, end) = plan[own];
        let end = if end == End::Well { end } else { End::Badly };
        child(own, at, end, inside.one()).await
    };
    let collecting = async move {
        match collects {
            true => TaskGroup::collect(body).await,
            false => TaskGroup::run(body).await,
        }
    };
    let limit = limit.map_or(Duration::from_secs(3600), |limit| limit * MS);
    let living = living.clone();
    let ended = sim.run(async move {
        let ended = wait_for(limit, collecting).await;
        assert_eq!(living.count(), 0, "G1: a child is left when its group ends");
        ended
    });
    let ended = ended.unwrap();
    ended
        .map(|ended| ended.map_err(|error| error.errors))
        .map_err(drop)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// G1, G2: a group ends when all children have ended, whatever they do, with the errors that
    /// the model predicts, each once.
    #[test]
    fn a_group_is_left_when_all_are_gone_and_names_what_failed(
        seed in any::<u64>(),
        collects in any::<bool>(),
        plan in vec((0u32..4, end()), 1..7),
        limit in proptest::option::of(0u32..5),
    ) {
        hush();
        let mut sim = SimLoop::new(seed);
        sim.set_panic_policy(PanicPolicy::Isolate);
        sim.on_unhandled(|_| {});
        let living = Living::default();
        let body = plan.len() - 1;
        let ended = run_group(&mut sim, collects, &plan, limit, &living);
        prop_assert_eq!(living.count(), 0);
        // The model: which children fail at which time. The body fails by an error only.
        let fails = |n: usize| match plan[n].1 {
            End::Well => false,
            _ if n == body => true,
            end => matches!(end, End::Badly | End::Panics),
        };
        let failing: Vec<usize> = (0..=body).filter(|&n| fails(n)).collect();
        let first = failing.iter().map(|&n| plan[n].0).min();
        let hangs = (0..body).any(|n| plan[n].1 == End::Never) && (collects || first.is_none());
        let last = plan.iter().map(|&(at, _)| at).max().unwrap();
        let over = if collects { last } else { first.unwrap_or(last) };
        if ended.is_err() {
            let cut = hangs || limit.is_some_and(|limit| limit <= over);
            prop_assert!(cut, "the timeout at {:?} ended it, but the model ends at {}", limit, over);
            return Ok(());
        }
        prop_assert!(!hangs, "the group has not waited for a child that never ends");
        match ended.unwrap() {
            Ok(value) => prop_assert_eq!((value, failing.len()), (body, 0)),
            Err(errors) => {
                let (named, panics) = failures(&errors);
                let panicking = |&n: &usize| n != body && plan[n].1 == End::Panics;
                let (must_panic, must_name): (Vec<usize>, Vec<usize>) =
                    failing.iter().copied().partition(panicking);
                if collects {
                    prop_assert_eq!((named, panics), (must_name, must_panic.len()), "G2");
                } else {
                    // The failures of the first moment, all or some of them.
                    prop_assert!(!errors.is_empty());
                    let now = |n: &&usize| Some(plan[**n].0) == first;
                    prop_assert!(named.iter().all(|n| now(&n) && must_name.contains(n)));
                    prop_assert!(panics <= must_panic.iter().filter(now).count());
                    let mut once = named.clone();
                    once.dedup();
                    prop_assert_eq!(once, named, "G2: none twice");
                }
            }
        }
    }

    /// G1 and G2 for a group that is cancelled: it ends then, with the errors and the value of the
    /// children that had ended, and no others.
    #[test]
    fn a_cancelled_group_has_the_errors_and_the_value_from_before(
        seed in any::<u64>(),
        plan in vec((0u32..4, end()), 1..7),
        at in 0u32..4,
        by_child in any::<bool>(),
    ) {
        hush();
        let mut sim = SimLoop::new(seed);
        sim.set_panic_policy(PanicPolicy::Isolate);
        sim.on_unhandled(|_| {});
        let living = Living::default();
        let own = plan.len() - 1;
        let body = match plan[own].1 {
            End::Well => End::Well,
            _ => End::Badly,
        };
        let (inside, lives) = (plan.clone(), living.clone());
        let ended = sim.run(async move {
            let cancelled = Rc::new(Cell::new(false));
            let is_cancelled = Rc::clone(&cancelled);
            let ended = TaskGroup::<usize>::run_until_cancelled(async move |group| {
                for (n, &(at, end)) in inside[..own].iter().enumerate() {
                    group.spawn(child(n, 2 * at, end, lives.one()));
                }
                let stop = group.clone();
                let cancels = async move {
                    sleep((2 * at + 1) * MS).await;
                    is_cancelled.set(stop.cancel());
                };
                if by_child {
                    group.spawn(async move { cancels.await; Ok(()) });
                } else {
                    spawn(cancels);
                }
                child(own, 2 * inside[own].0, body, lives.one()).await
            })
            .await;
            sleep(9 * MS).await; // until the time of the cancel
            (ended, cancelled.get())
        });
        let (ended, cancelled) = ended.unwrap();
        sim.run_until_stalled().unwrap();
        prop_assert_eq!(living.count(), 0);
        // The model. A child that cancels the group has to end too.
        let fails = |n: usize| match n == own {
            true => body == End::Badly,
            false => matches!(plan[n].1, End::Badly | End::Panics),
        };
        let failed = (0..=own).any(|n| fails(n) && plan[n].0 <= at);
        let left = |n: usize| plan[n].0 > at || n != own && plan[n].1 == End::Never;
        let is_left = by_child || (0..=own).any(left);
        prop_assert_eq!(cancelled, !failed && is_left);
        match ended {
            Ok(value) => {
                prop_assert!(!failed, "an error was lost");
                prop_assert_eq!(value, (plan[own].0 <= at).then_some(own));
            }
            Err(error) => prop_assert!(failed && !error.is_cancelled()),
        }
    }

    /// G3: each result once, in the order of the ends; and the length of the set is the number of
    /// tasks that are left.
    #[test]
    fn a_set_gives_each_result_once_in_the_order_of_the_ends(
        seed in any::<u64>(),
        order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(),
        taken in 0usize..7,
        how in 0u8..3,
    ) {
        let mut sim = SimLoop::new(seed);
        let ends = order.clone();
        let living = Living::default();
        let lives = living.clone();
        sim.run(async move {
            let mut set = JoinSet::new();
            let mut promises = Vec::new();
            for _ in 0..ends.len() {
                let (promise, future) = create_future::<usize>();
                promises.push(Some(promise));
                let life = lives.one();
                set.spawn(async move {
                    let _life = life;
                    future.await.unwrap()
                });
            }
            assert!(set.try_join_next().is_none());
            for &n in &ends[..taken.min(ends.len())] {
                promises[n].take().unwrap().set_result(n).unwrap();
                yield_now().await;
                yield_now().await;
            }
            for (at, &n) in ends.iter().enumerate().take(taken) {
                assert_eq!(set.len(), ends.len() - at);
                let ended = match at % 2 {
                    0 => set.join_next().await,
                    _ => set.try_join_next(),
                };
                assert_eq!(ended.unwrap().unwrap(), n, "G3: in the order of the ends");
            }
            let left = ends.len() - taken.min(ends.len());
            assert_eq!((set.len(), lives.count()), (left, left as i32));
            match how {
                0 => drop(set),
                1 => set.shutdown().await,
                _ => {
                    set.cancel_all();
                    for _ in 0..left {
                        let error = set.join_next().await.unwrap().unwrap_err();
                        assert_eq!(error.reason(), Some("its set was cancelled"));
                    }
                    assert!(set.join_next().await.is_none());
                }
            }
            assert_eq!(lives.count(), 0, "G3: the tasks that are left are cancelled");
        }).unwrap();
    }

    /// G4: a tree of tokens against a list of parents. After any cancels and drops in any order, a
    /// token is cancelled exactly if it or a token above it was; each waiter and each callback is
    /// notified once; and a dropped token is in no tree.
    #[test]
    fn a_token_is_cancelled_exactly_if_it_or_one_above_it_was(
        parents in vec(any::<prop::sample::Index>(), 1..10),
        ops in vec((0usize..10, 0u8..3), 0..12),
    ) {
        let mut sim = SimLoop::new(1);
        let _here = sim.event_loop().enter();
        let mut tokens = vec![Some(CancellationToken::new())];
        let mut above: Vec<Option<usize>> = vec![None];
        for (n, parent) in parents.iter().enumerate() {
            let parent = parent.index(n + 1);
            tokens.push(Some(tokens[parent].as_ref().unwrap().child_token()));
            above.push(Some(parent));
        }
        let notified: Rc<RefCell<Vec<u32>>> = Rc::new(RefCell::new(vec![0; tokens.len()]));
        let mut waiters = Vec::new();
        let mut keys = Vec::new();
        for (n, token) in tokens.iter().enumerate() {
            let token = token.as_ref().unwrap();
            let mut waiter = manual_poll(token.cancelled());
            waiter.assert_pending();
            waiters.push(waiter);
            let notified = Rc::clone(&notified);
            keys.push(token.on_cancel(move |_| notified.borrow_mut()[n] += 1));
        }
        let mut cancelled = vec![false; tokens.len()];
        let mut removed = vec![false; tokens.len()];
        let below = |mut n: usize, top: usize| loop {
            if n == top { break true; }
            match above[n] { Some(up) => n = up, None => break false }
        };
        for (n, op) in ops {
            let n = n % tokens.len();
            let Some(token) = tokens[n].clone() else { continue };
            match op {
                0 => {
                    prop_assert_eq!(token.cancel(), !cancelled[n], "cancel returns true once");
                    for (m, cancelled) in cancelled.iter_mut().enumerate() {
                        *cancelled |= below(m, n);
                    }
                }
                1 => tokens[n] = None,
                _ => {
                    let there = !removed[n] && !cancelled[n];
                    prop_assert_eq!(token.remove_on_cancel(keys[n]), there);
                    removed[n] |= there;
                }
            }
            for (m, token) in tokens.iter().enumerate() {
                if let Some(token) = token {
                    prop_assert_eq!(token.is_cancelled(), cancelled[m], "G4: token {}", m);
                }
            }
        }
        drop(_here);
        sim.run_until_stalled().unwrap();
        for n in 0..cancelled.len() {
            let expected = u32::from(cancelled[n] && !removed[n]);
            prop_assert_eq!(notified.borrow()[n], expected, "token {}", n);
            match cancelled[n] {
                true => waiters[n].assert_ready(),
                false => waiters[n].assert_pending(),
            }
        }
        waiters.clear();
        let root = tokens[0].take();
        tokens.clear();
        if let Some(root) = root {
            prop_assert_eq!(root.children(), 0, "a dropped token is not a child");
        }
    }
}

/// G1, G2, R088: a child fails, another one fails, and the group is cancelled from outside, in one
/// turn and in every order: the cancel wins, all children are dropped, and no failure of theirs is
/// reported.
#[test]
fn failures_and_a_cancel_from_outside_in_one_turn_in_every_order() {
    for order in orders(4) {
        let mut sim = SimLoop::new(1);
        let here = sim.event_loop().enter();
        let living = Living::default();
        let ((one, first), (two, second)) = (create_future(), create_future());
        let (lives, mut futures) = (living.clone(), vec![first, second]);
        let group = spawn(TaskGroup::run(async move |group| {
            for future in futures.drain(..) {
                let life = lives.one();
                group.spawn(async move {
                    let _life = life;
                    let ended: Result<Result<(), u8>, FutureError> = future.await;
                    ended.unwrap()
                });
            }
            let _body = lives.one();
            pending::<Result<(), u8>>().await
        }));
        drop(here);
        sim.run_until_stalled().unwrap();
        assert_eq!(living.count(), 3);
        let outside = group.task_ref();
        let seen = living.clone();
        let actions: Vec<Action> = vec![
            Box::new(move || one.set_result(Err(1)).unwrap()),
            Box::new(move || two.set_result(Err(2)).unwrap()),
            Box::new(move || {
                assert!(outside.cancel_with("from outside"));
                assert_eq!(seen.count(), 0, "body and children are dropped at once");
            }),
            Box::new(|| ()),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        let mut group = group;
        let error = group.result().unwrap().err().unwrap();
        assert_eq!(error.reason(), Some("from outside"), "{order:?}");
        assert_eq!(living.count(), 0, "{order:?}");
    }
    // Without the cancel: the error has both failures, in their order.
    for order in orders(2) {
        let mut sim = SimLoop::new(1);
        let here = sim.event_loop().enter();
        let ((one, first), (two, second)) = (create_future(), create_future());
        let mut futures = vec![first, second];
        let mut group = spawn(TaskGroup::collect(async move |group| {
            for future in futures.drain(..) {
                group.spawn(async move {
                    let ended: Result<Result<(), u8>, FutureError> = future.await;
                    ended.unwrap()
                });
            }
            Ok(())
        }));
        drop(here);
        sim.run_until_stalled().unwrap();
        let actions: Vec<Action> = vec![
            Box::new(move || one.set_result(Err(1)).unwrap()),
            Box::new(move || two.set_result(Err(2)).unwrap()),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        let error = group.result().unwrap().unwrap().unwrap_err();
        assert_eq!(error.errors.len(), 2, "G2: {order:?}");
    }
}

/// R090: each future of this file, dropped after its n-th poll, for each n: no task is left.
#[test]
fn each_future_of_a_group_may_be_dropped_after_each_of_its_polls() {
    let mut sim = SimLoop::new(1);
    let living = Living::default();
    let lives = living.clone();
    let polls = sim.drop_everywhere(|| {
        let lives = lives.clone();
        async move {
            TaskGroup::run(async |group| {
                for n in 0..3 {
                    group.spawn(child(n, n as u32, End::Well, lives.one()));
                }
                child(9, 1, End::Well, lives.one()).await
            })
            .await
            .unwrap();
            let mut set = JoinSet::new();
            set.extend((0..3).map(|n| child(n, n as u32, End::Well, lives.one())));
            while let Some(ended) = set.join_next().await {
                ended.unwrap().unwrap();
            }
        }
    });
    assert!(polls > 10, "{polls}");
    assert_eq!(living.count(), 0);
    let token = CancellationToken::new();
    let polls = sim.drop_everywhere(|| {
        let own = token.child_token();
        let last = token.child_token();
        async move {
            drop(spawn(async move {
                sleep(3 * MS / 10).await;
                last.cancel();
            }));
            wait_for(MS, own.cancelled()).await.unwrap_err();
            let slept = own.run_until_cancelled(sleep(MS / 2)).await;
            assert!(slept.is_some());
        }
    });
    assert!(polls > 10, "{polls}");
    assert_eq!(token.children(), 0, "no child is left behind");
    let (promise, future) = {
        let _here = sim.event_loop().enter();
        create_future::<u8>()
    };
    let future = future.shared();
    let polls = sim.drop_everywhere(|| wait_for(MS, future.clone()));
    assert!(polls > 5);
    promise.set_result(7).unwrap();
    assert_eq!(future.result(), Some(Ok(7)));
}

/// T6 for tokens: a value and a cancel in one turn, in every order. The value wins.
#[test]
fn a_value_and_a_cancelled_token_in_one_turn_in_every_order() {
    for order in orders(2) {
        let mut sim = SimLoop::new(1);
        let here = sim.event_loop().enter();
        let token = CancellationToken::new();
        let (promise, future) = create_future();
        let own = token.child_token();
        let mut task = spawn(async move { own.run_until_cancelled(future).await });
        drop(here);
        sim.run_until_stalled().unwrap();
        let actions: Vec<Action> = vec![
            Box::new(move || promise.set_result(7).unwrap()),
            Box::new(move || assert!(token.cancel())),
        ];
        in_one_turn(&sim.weak_handle(), &order, actions);
        sim.run_until_stalled().unwrap();
        assert_eq!(task.result().unwrap().unwrap(), Some(Ok(7)), "{order:?}");
    }
}

/// L8, R055, R057: a waiter with a hostile waker does not affect the other waiters.
#[test]
fn hostile_wakers_wait_for_tokens_sets_and_shared_futures() {
    for (name, waker) in wakers::hostile() {
        let mut sim = SimLoop::new(1);
        sim.set_panic_policy(PanicPolicy::Isolate);
        sim.on_unhandled(|_| {});
        let here = sim.event_loop().enter();
        let token = CancellationToken::new();
        let child = token.child_token();
        let (promise, future) = create_future();
        let future = future.shared();
        let mut set = JoinSet::new();
        set.spawn(yield_now());
        let mut cx = std::task::Context::from_waker(&waker);
        let mut waiting = Box::pin((token.cancelled(), future.clone()));
        let poll = |cx: &mut std::task::Context<'_>,
                    waiting: &mut (readily::group::Cancelled, _)| {
            let (cancelled, shared): &mut (_, readily::task::SharedFuture<u8>) = waiting;
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _ = std::pin::Pin::new(cancelled).poll(cx);
                let _ = std::pin::Pin::new(shared).poll(cx);
            }))
        };
        let _ = poll(&mut cx, &mut waiting);
        let mut next = Box::pin(set.join_next());
        let polled = std::panic::AssertUnwindSafe(|| next.as_mut().poll(&mut cx).is_ready());
        let _ = std::panic::catch_unwind(polled);
        let gives_up = std::panic::AssertUnwindSafe(|| drop(next));
        let _ = std::panic::catch_unwind(gives_up);
        let good = manual_poll(child.cancelled());
        let mut good = good;
        good.assert_pending();
        let mut also = manual_poll(future.clone());
        also.assert_pending();
        let cancels = std::panic::AssertUnwindSafe(|| token.cancel());
        let _ = std::panic::catch_unwind(cancels);
        promise.set_result(7).unwrap();
        good.assert_ready();
        assert_eq!(also.assert_ready(), Ok(7), "{name}");
        drop(here);
        sim.run(async move {
            assert!(set.join_next().await.unwrap().is_ok());
            assert!(set.join_next().await.is_none());
        })
        .unwrap();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(waiting)));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(waker)));
    }
}

task_local! {
    static NUMBER: u32;
    static NAME: String
}

/// Stores the value that it finds when it is dropped.
struct Sees(Rc<RefCell<Vec<Option<u32>>>>);

impl Drop for Sees {
    fn drop(&mut self) {
        self.0.borrow_mut().push(NUMBER.with(|number| *number));
    }
}

/// G7: the value is set while the future of its scope runs or is dropped, and not otherwise.
#[test]
fn a_task_local_is_there_in_each_poll_of_its_scope_and_nowhere_else() {
    let mut sim = SimLoop::new(1);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let number = || NUMBER.with(|number| *number);
    let twins = sim.run(async {
        let set = async |own: u32| {
            let mut right = true;
            for _ in 0..3 {
                right &= number() == Some(own);
                yield_now().await;
                // Nested scopes: the outer value is restored.
                right &= NUMBER.scope(own + 10, async { number() }).await == Some(own + 10);
                right &= NUMBER.sync_scope(own + 20, number) == Some(own + 20);
            }
            right
        };
        let twins = readily::gather((NUMBER.scope(1, set(1)), NUMBER.scope(2, set(2)))).await;
        assert_eq!((number(), NAME.with(String::clone)), (None, None));
        twins
    });
    assert_eq!(twins.unwrap(), (true, true));
    let sees = Sees(Rc::clone(&seen));
    let both = NAME.scope(
        "a".to_owned(),
        NUMBER.scope(7, async move {
            let _sees = sees;
            let child = spawn(async { NUMBER.with(|number| *number) });
            let heir = spawn(inherit(async {
                (NUMBER.with(|n| *n), NAME.with(String::clone))
            }));
            let other = async { (NUMBER.with(|n| *n), NAME.with(String::clone)) };
            let other = spawn(inherit(NUMBER.scope(8, other)));
            assert_eq!(child.await.unwrap(), None, "a child inherits no value");
            assert_eq!(heir.await.unwrap(), (Some(7), Some("a".to_owned())));
            assert_eq!(other.await.unwrap(), (Some(8), Some("a".to_owned())));
            pending::<()>().await;
        }),
    );
    let task = sim.spawn(both);
    sim.run_until_stalled().unwrap();
    assert!(task.cancel());
    assert_eq!(
        *seen.borrow(),
        [Some(7)],
        "the value is set during the drop"
    );
    assert_eq!(number(), None);
}
