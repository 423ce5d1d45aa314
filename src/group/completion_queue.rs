//! A queue of tasks, which yields them in the order in which they end.
//!
//! Each task is polled once, when it is added, with a waker of its own. At the end of the task, that
//! waker adds the task's key to a list and wakes the waiter. So a thousand tasks cost a thousand wakes
//! and not a million polls, and a task that ends before the queue is asked is not lost.
//!
//! In asyncio a `TaskGroup` has a set of tasks and a done-callback on each. Rule: G3.

use crate::base::shrink;
use crate::base::slab::{Slab, SlabKey};
use crate::event_loop::panics::catch;
use crate::task::wait_queue::{drop_waker, report_to_loop};
use crate::task::{JoinError, Task, TaskRef};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The keys of the tasks that have ended and were not taken yet, and the waker of the waiter.
#[derive(Default)]
struct Ended {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// The bits of [`SlabKey`]s.
    keys: VecDeque<u64>,
    waiter: Option<Waker>,
}

impl List {
    fn pop(&mut self) -> Option<SlabKey> {
        let key = self.keys.pop_front();
        shrink::shrink(&mut self.keys); // R126
        key.map(SlabKey::from_bits)
    }
}

impl Ended {
    /// A waker must be `Send` and `Sync`, so there is a lock; it is never contended.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, key: SlabKey) {
        let mut list = self.list();
        list.keys.push_back(key.to_bits());
        let waiter = list.waiter.take();
        drop(list);
        // A waker may be user code (L8).
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// What one task wakes at its end.
struct Member {
    key: SlabKey,
    ended: Arc<Ended>,
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        self.ended.push(self.key);
    }
}

/// The tasks that have not been asked for yet.
pub(super) struct CompletionQueue<T: 'static> {
    tasks: RefCell<Slab<Task<T>>>,
    ended: Arc<Ended>,
}

impl<T: 'static> Default for CompletionQueue<T> {
    fn default() -> Self {
        Self {
            tasks: RefCell::default(),
            ended: Arc::default(),
        }
    }
}

impl<T: 'static> CompletionQueue<T> {
    pub(super) fn add(&self, mut task: Task<T>) {
        // On a closed loop the task has ended already, and causes no wake.
        let over = task.done();
        // It may have been polled before: the waker that it kept is user code when it is dropped (L8).
        task.stop_listening();
        let ended = Arc::clone(&self.ended);
        let key = self.tasks.borrow_mut().insert_with(|key| {
            // Our own waker: no user code under the borrow (L8).
            task.listen(&Waker::from(Arc::new(Member { key, ended })));
            task
        });
        if over {
            self.ended.push(key);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// G3: the result of the one that has ended first, of those that were not asked for.
    pub(super) fn pop(&self) -> Option<(TaskRef, Result<T, JoinError>)> {
        loop {
            let key = self.ended.list().pop()?;
            let Some(mut task) = self.tasks.borrow_mut().remove(key) else {
                continue; // it was let go
            };
            if let Some(result) = task.result() {
                return Some((task.task_ref(), result));
            }
        }
    }

    /// Wakes `waker` when the next one ends.
    pub(super) fn set_waker(&self, waker: &Waker) {
        // Cloned before the lock, and what it replaces dropped after it (L8).
        let waker = waker.clone();
        let before = self.ended.list().waiter.replace(waker);
        before.into_iter().for_each(drop_waker);
    }

    /// Wakes the task that waits for the next end, though there is none.
    pub(super) fn wake(&self) {
        let waiter = self.ended.list().waiter.take();
        // L8: not under the lock. R057: a panic of the waker is not the caller's.
        if let Some(Err(payload)) = waiter.map(|waiter| catch(|| waiter.wake())) {
            report_to_loop(payload);
        }
    }

    /// Drops the stored waker, whose task no longer waits.
    fn clear_waker(&self) {
        let waiter = self.ended.list().waiter.take();
        waiter.into_iter().for_each(drop_waker);
    }

    /// The next result, in the order of completion; `None` if no task is left.
    pub(super) fn poll_next(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(TaskRef, Result<T, JoinError>)>> {
        if let Some(result) = self.pop() {
            return Poll::Ready(Some(result));
        }
        if self.len() == 0 {
            return Poll::Ready(None);
        }
        self.set_waker(cx.waker());
        // Cloning the waker may run user code, which may have ended a task.
        match self.pop() {
            Some(result) => Poll::Ready(Some(result)),
            None => Poll::Pending,
        }
    }

    /// Panics if the wait could never end (R097): some task that is left must be able to end meanwhile.
    /// The last one must not be the waiting task itself, unless it was cancelled and ends at its next await.
    #[track_caller]
    pub(super) fn assert_can_complete(&self) {
        let tasks = self.tasks.borrow();
        let first = tasks.iter().next().map(|(_, task)| task.task_ref());
        let is_last = tasks.len() == 1;
        drop(tasks);
        let Some(first) = first else { return };
        // All tasks of a set belong to one loop, unless the program mixed them on purpose.
        first.assert_own_loop();
        if is_last && first.cancel_reason().is_none() {
            first.assert_not_current();
        }
    }

    /// Cancels all tasks, in the order of their creation. Those that have ended keep their results.
    pub(super) fn cancel(&self, reason: Cow<'static, str>) {
        let tasks = self.tasks.borrow();
        let mut refs: Vec<_> = tasks.iter().map(|(_, task)| task.task_ref()).collect();
        drop(tasks);
        refs.sort_by_key(TaskRef::number);
        for task in refs {
            // Its destructor may add tasks, or cancel others of the queue (L8).
            task.cancel_with(reason.clone());
        }
    }

    /// Removes all tasks, and returns them.
    pub(super) fn take(&self) -> Vec<Task<T>> {
        let mut tasks = self.tasks.take();
        let keys: Vec<_> = tasks.iter().map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|it| tasks.remove(it)).collect()
    }
}

/// A wait for the next result. A wait that is dropped leaves no waker behind (R090).
pub(super) struct Waiting<'a, T: 'static>(pub(super) &'a CompletionQueue<T>);

impl<T: 'static> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        self.0.clear_waker();
    }
}

impl<T: 'static> Drop for CompletionQueue<T> {
    fn drop(&mut self) {
        self.clear_waker();
        self.cancel(Cow::Borrowed("its set was dropped"));
    }
}
