//! The executor with programs of tasks that wake, cancel and end each other; `gather` and
//! `wait_for`.
//!
//! Invariants: T1 to T6, L8.

use super::scripted::{PLANTED, Scripted, hush};
use proptest::collection::vec;
use proptest::prelude::*;
use readily::task::{Promise, TaskState, create_future};
use readily::{Elapsed, EventLoop, JoinError, PanicPolicy, Runner, Task, gather, wait_for};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const TASKS: usize = 4;

/// The actions of a task in one poll, before it yields.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pend,
    Wake(usize),
    WakeTwice(usize),
    Cancel(usize),
    DropWaker(usize),
    Panic,
    Done,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Turn,
    Wake(usize),
    Cancel(usize),
    Detach(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Pend),
        3 => (0..TASKS).prop_map(Step::Wake),
        1 => (0..TASKS).prop_map(Step::WakeTwice),
        1 => (0..TASKS).prop_map(Step::Cancel),
        1 => (0..TASKS).prop_map(Step::DropWaker),
        1 => Just(Step::Panic),
        1 => Just(Step::Done),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Turn),
        2 => (0..TASKS).prop_map(Op::Wake),
        1 => (0..TASKS).prop_map(Op::Cancel),
        1 => (0..TASKS).prop_map(Op::Detach),
    ]
}

/// The record of the tasks, from outside.
#[derive(Default)]
struct Book {
    tasks: RefCell<[Option<Task<usize>>; TASKS]>,
    wakers: RefCell<[Option<Waker>; TASKS]>,
    /// Whether the task must be polled: it was spawned, or woken since its last poll.
    woken: [Cell<bool>; TASKS],
    polling: [Cell<bool>; TASKS],
    drops: [Cell<u32>; TASKS],
    /// The expected end.
    end: [Cell<Option<TaskState>>; TASKS],
}

struct Program {
    own: usize,
    steps: std::vec::IntoIter<Step>,
    book: Rc<Book>,
}

impl Book {
    fn wake(&self, n: usize) {
        if let Some(waker) = &self.wakers.borrow()[n] {
            self.woken[n].set(true);
            waker.wake_by_ref();
        }
    }

    /// `true` exactly if this call ends the task.
    fn cancel(&self, n: usize) {
        let tasks = self.tasks.borrow();
        let Some(task) = &tasks[n] else { return };
        let task = task.task_ref();
        drop(tasks);
        let ends = self.end[n].get().is_none();
        assert_eq!(task.cancel(), ends, "cancel is true exactly once");
        if ends {
            self.end[n].set(Some(TaskState::Cancelled));
        }
    }
}

impl Future for Program {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let (own, book) = (self.own, Rc::clone(&self.book));
        assert!(book.woken[own].replace(false), "T1: polled without a wake");
        assert!(!book.polling[own].replace(true), "T1: polled twice at once");
        book.wakers.borrow_mut()[own] = Some(cx.waker().clone());
        let step = self.steps.next().unwrap_or(Step::Done);
        let result = match step {
            Step::Pend => Poll::Pending,
            Step::Wake(n) => {
                book.wake(n);
                Poll::Pending
            }
            Step::WakeTwice(n) => {
                book.wake(n);
                book.wake(n);
                Poll::Pending
            }
            Step::Cancel(n) => {
                book.cancel(n);
                Poll::Pending
            }
            Step::DropWaker(n) => {
                let waker = book.wakers.borrow_mut()[n].take();
                drop(waker);
                Poll::Pending
            }
            Step::Panic | Step::Done => Poll::Ready(own),
        };
        book.polling[own].set(false);
        if result.is_ready() && book.end[own].get().is_none() {
            let panics = matches!(step, Step::Panic);
            let end = if panics {
                TaskState::Panicked
            } else {
                TaskState::Done
            };
            book.end[own].set(Some(end));
        }
        if matches!(step, Step::Panic) {
            std::panic::panic_any(PLANTED);
        }
        result
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let drops = &self.book.drops[self.own];
        drops.set(drops.get() + 1);
        // A destructor may wake and cancel: nothing ends twice.
        self.book.wake((self.own + 1) % TASKS);
    }
}

fn check(book: &Book, n: usize, task: &mut Task<usize>) -> Result<(), TestCaseError> {
    let expected = book.end[n].get();
    let state = task.state();
    prop_assert_eq!(
        state.is_ended().then_some(state),
        expected,
        "T3: task {}",
        n
    );
    match task.result() {
        None => prop_assert!(expected.is_none()),
        Some(Ok(value)) => prop_assert_eq!((value, expected), (n, Some(TaskState::Done))),
        Some(Err(JoinError::Cancelled | JoinError::CancelledFor(_))) => {
            prop_assert_eq!(expected, Some(TaskState::Cancelled))
        }
        Some(Err(JoinError::Panicked(_))) => prop_assert_eq!(expected, Some(TaskState::Panicked)),
        Some(Err(other)) => prop_assert!(false, "not in the model: {:?}", other),
    }
    prop_assert!(task.result().is_none(), "T4: delivered once");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// T1, T2, T3, T4; and L8, because a task wakes, cancels and ends others while it is polled.
    #[test]
    fn tasks_are_polled_when_woken_and_end_once(
        programs in vec(vec(step(), 0..6), TASKS),
        ops in vec(op(), 0..24),
    ) {
        hush();
        let scripted = Scripted::default();
        let (mut event_loop, _clock) = scripted.event_loop();
        event_loop.set_panic_policy(PanicPolicy::Isolate);
        event_loop.on_unhandled(|_| {});
        let book = Rc::new(Book::default());
        for (own, steps) in programs.into_iter().enumerate() {
            book.woken[own].set(true);
            let program = Program { own, steps: steps.into_iter(), book: Rc::clone(&book) };
            let task = event_loop.spawn(program);
            book.tasks.borrow_mut()[own] = Some(task);
        }
        for op in ops {
            match op {
                Op::Turn => event_loop.turn_now().unwrap(),
                Op::Wake(n) => book.wake(n),
                Op::Cancel(n) => book.cancel(n),
                Op::Detach(n) => {
                    let task = book.tasks.borrow_mut()[n].take();
                    drop(task);
                }
            }
        }
        // Until no task is woken any more: each program is finite.
        for _ in 0..64 {
            event_loop.turn_now().unwrap();
        }
        for n in 0..TASKS {
            let ended = book.end[n].get().is_some();
            prop_assert!(ended || !book.woken[n].get(), "T2: task {} was woken, and not polled", n);
            prop_assert_eq!(book.drops[n].get(), u32::from(ended), "T3: dropped when it ended");
            let task = book.tasks.borrow_mut()[n].take();
            if let Some(mut task) = task {
                check(&book, n, &mut task)?;
            }
        }
        drop(event_loop);
        book.wakers.take();
        prop_assert!(book.drops.iter().all(|drops| drops.get() == 1), "T3: each dropped once");
        prop_assert_eq!(Rc::strong_count(&book), 1);
    }

    /// T5: results in the order of the futures, in any order of their ends; and each future is
    /// polled once for its start and once for each wake of its own.
    #[test]
    fn gather_keeps_the_order_and_polls_only_woken_futures(order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle()) {
        let polls = Rc::new(RefCell::new([0; 8]));
        let results = readily::run(async {
            let mut promises: Vec<Option<Promise<usize>>> = Vec::new();
            let mut futures = Vec::new();
            for n in 0..8 {
                let (promise, mut future) = create_future::<usize>();
                promises.push(Some(promise));
                let polls = Rc::clone(&polls);
                futures.push(poll_fn(move |cx| {
                    polls.borrow_mut()[n] += 1;
                    Pin::new(&mut future).poll(cx)
                }));
            }
            let settle = async {
                for n in order {
                    readily::yield_now().await;
                    promises[n].take().unwrap().set_result(n).unwrap();
                }
            };
            gather((gather(futures), settle)).await.0
        });
        let expected: Vec<_> = (0..8).map(Ok).collect();
        prop_assert_eq!(results.unwrap(), expected, "T5");
        prop_assert_eq!(*polls.borrow(), [2; 8]);
    }

    /// T6: a value that is ready in the turn of the deadline wins, in either order of arming; one
    /// that comes later does not.
    #[test]
    fn a_value_at_the_deadline_wins(at in 0u64..6, limit in 0u64..6, first in any::<bool>()) {
        let scripted = Scripted::default();
        let (event_loop, clock) = scripted.event_loop();
        let result = wait_for_value(event_loop, &clock, at, limit, first);
        let expected = if at <= limit { Ok(7) } else { Err(Elapsed) };
        prop_assert_eq!(result, expected);
    }
}

/// `wait_for(limit, value that comes at `at`)`, one nanosecond a turn; the value's timer is armed
/// before or after the limit's.
fn wait_for_value(
    event_loop: EventLoop,
    clock: &readily::clock::Manual,
    at: u64,
    limit: u64,
    first: bool,
) -> Result<u8, Elapsed> {
    let mut runner = Runner::from(event_loop);
    let handle = runner.weak_handle();
    let ticking = clock.clone();
    let tick = poll_fn(move |cx| -> Poll<()> {
        ticking.advance(Duration::from_nanos(1));
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    drop(runner.spawn(tick));
    let arm = move |promise: Promise<u8>| {
        handle.with(|handle| {
            handle.call_later(Duration::from_nanos(at), move |_| {
                promise.set_result(7).unwrap()
            })
        });
    };
    let run = async {
        let (promise, future) = create_future();
        let mut promise = Some(promise);
        if first {
            arm(promise.take().unwrap());
        }
        let mut limited = std::pin::pin!(wait_for(Duration::from_nanos(limit), future));
        poll_fn(|cx| {
            let polled = limited.as_mut().poll(cx);
            if let Some(promise) = promise.take() {
                arm(promise);
            }
            polled
        })
        .await
    };
    runner.run(run).unwrap().map(|value| value.unwrap())
}
