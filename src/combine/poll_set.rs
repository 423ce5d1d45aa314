//! A set of futures, each polled only when it was woken itself.
//!
//! To poll all of them at every wake would take fifty million polls for ten thousand sleeps. Here
//! each future has a waker of its own, which adds the future's index to a list and wakes the task;
//! the task then polls the futures in the list.
//!
//! In the notes this is how `gather` holds its coroutines (N11). Rule: T5.

use super::poll_order::PollOrder;
use crate::task::budget;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The indexes of the futures woken since the last poll, and the waker of the task.
struct WokenList {
    list: Mutex<List>,
}

struct List {
    indexes: Vec<usize>,
    task: Option<Waker>,
}

impl WokenList {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one future.
struct Member {
    index: usize,
    queued: AtomicBool,
    woken: Arc<WokenList>,
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut list = self.woken.list();
        list.indexes.push(self.index);
        let task = list.task.take();
        drop(list);
        if let Some(task) = task {
            task.wake();
        }
    }
}

struct Entry<F> {
    future: Pin<Box<F>>,
    member: Arc<Member>,
    waker: Waker,
}

/// Futures under way, by number.
pub(super) struct PollSet<F> {
    running: Vec<Option<Entry<F>>>,
    left: usize,
    woken: Arc<WokenList>,
    /// The futures that were woken and are not polled yet. The buffer is kept, so that later polls
    /// allocate nothing.
    batch: VecDeque<usize>,
    /// Futures that are woken at the same time are polled in this order of their indexes; `None`: in
    /// the order of their wakes.
    order: Option<PollOrder>,
}

impl<F: Future> PollSet<F> {
    pub(super) fn new(futures: impl Iterator<Item = F>) -> Self {
        let list = Mutex::new(List {
            indexes: Vec::new(),
            task: None,
        });
        let woken = Arc::new(WokenList { list });
        let running: Vec<_> = futures
            .enumerate()
            .map(|(index, future)| {
                let queued = AtomicBool::new(true);
                let member = Arc::new(Member {
                    index,
                    queued,
                    woken: Arc::clone(&woken),
                });
                let waker = Waker::from(Arc::clone(&member));
                Some(Entry {
                    future: Box::pin(future),
                    member,
                    waker,
                })
            })
            .collect();
        let left = running.len();
        woken.list().indexes.extend(0..left);
        Self {
            running,
            left,
            woken,
            batch: VecDeque::new(),
            order: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// How many have not ended.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Makes the set poll futures that are woken at the same time in the order of their indexes, from
    /// `first` on and around.
    pub(super) fn in_order_from(mut self, first: usize) -> Self {
        self.order = Some(PollOrder::fixed(first));
        self
    }

    /// Polls the futures that were woken, and passes each output to `take` with its index. Ready when
    /// all are done, or when `take` has returned `false`. Woken futures that were not reached, or for
    /// which no budget is left, are polled next time (T7).
    ///
    /// # Panics
    ///
    /// With a future that does. It is dropped, and the others are as they were.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(usize, F::Output) -> bool,
    ) -> Poll<()> {
        self.collect(cx);
        let mut begun = false;
        while let Some(index) = self.batch.pop_front() {
            if begun && budget::is_spent() {
                self.batch.push_front(index);
                if let Some(order) = &mut self.order {
                    order.stopped(index);
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            begun = true;
            let Some(mut one) = self.running[index].take() else {
                continue;
            };
            self.left -= 1;
            // Before the poll, so that a wake during it is noted (T2).
            one.member.queued.swap(false, Ordering::AcqRel);
            let polled = one
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&one.waker));
            let Poll::Ready(output) = polled else {
                self.running[index] = Some(one);
                self.left += 1;
                continue;
            };
            drop(one);
            if !take(index, output) {
                return Poll::Ready(());
            }
        }
        if let Some(order) = &mut self.order {
            order.completed_round();
        }
        if self.left == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Stores the task's waker, and moves the woken indexes into the batch.
    fn collect(&mut self, cx: &mut Context<'_>) {
        // Cloned before the lock: a waker's clone may be user code.
        let task = cx.waker().clone();
        let mut list = self.woken.list();
        self.batch.extend(list.indexes.drain(..));
        let before = list.task.replace(task);
        drop(list);
        drop(before);
        let many = self.running.len();
        if let Some(first) = self.order.as_ref().map(PollOrder::next) {
            let place = |index: &usize| (index + many - first) % many;
            self.batch.make_contiguous().sort_unstable_by_key(place);
        }
    }
}

impl<F> Drop for PollSet<F> {
    fn drop(&mut self) {
        // Lent futures live on and keep our wakers, which have no task to wake any more.
        let task = self.woken.list().task.take();
        drop(task);
    }
}
