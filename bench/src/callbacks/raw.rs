//! The practical limit: a handwritten queue and heap, without a loop around them.
//!
//! A callback is a function pointer and a word, as in C. The clock is read when a timer is armed, so
//! that it does not fire early. The deadlines are in the array of a 4-ary heap, and each timer stores
//! its index in the heap. `Boxed` is the same queue with boxed closures, to show their cost.

use super::{Callbacks, Timed};
use crate::clocks::monotonic_ns;
use std::collections::VecDeque;
use std::time::Duration;

type Call = fn(&mut Raw, u64);

/// A node of the heap: a deadline, and the timer that it belongs to.
#[derive(Clone, Copy)]
struct Node {
    deadline_ns: u64,
    timer: u32,
}

/// A timer, or a free entry.
#[derive(Clone, Copy)]
struct Timer {
    place: u32,
    call: Call,
    word: u64,
}

pub struct Raw {
    /// Cleared when its last callback is called.
    queue: Vec<(Call, u64)>,
    heap: Vec<Node>,
    timers: Vec<Timer>,
    free: Vec<u32>,
    called: u64,
    late: Vec<i64>,
}

impl Raw {
    fn run_queue(&mut self) {
        let mut next = 0;
        while let Some(&(call, word)) = self.queue.get(next) {
            next += 1;
            if next == self.queue.len() {
                self.queue.clear();
                next = 0;
            }
            call(self, word);
        }
    }

    fn arm(&mut self, delay: Duration, call: Call, word: u64) -> u32 {
        let deadline_ns = monotonic_ns() + delay.as_nanos() as u64;
        let place = self.heap.len() as u32;
        let entry = Timer { place, call, word };
        let timer = match self.free.pop() {
            Some(timer) => {
                self.timers[timer as usize] = entry;
                timer
            }
            None => {
                self.timers.push(entry);
                self.timers.len() as u32 - 1
            }
        };
        self.heap.push(Node { deadline_ns, timer });
        self.up(place as usize);
        timer
    }

    fn cancel(&mut self, timer: u32) {
        let place = self.timers[timer as usize].place as usize;
        self.free.push(timer);
        self.heap.swap_remove(place);
        let Some(node) = self.heap.get(place) else {
            return; // it was the last node
        };
        let parent = self.heap[place.saturating_sub(1) / 4];
        if node.deadline_ns < parent.deadline_ns {
            self.up(place);
        } else {
            self.down(place);
        }
    }

    fn put(&mut self, node: Node, place: usize) {
        self.heap[place] = node;
        self.timers[node.timer as usize].place = place as u32;
    }

    /// Moves the node at `place` up until its parent is not later.
    fn up(&mut self, mut place: usize) {
        let node = self.heap[place];
        while place > 0 {
            let parent = self.heap[(place - 1) / 4];
            if parent.deadline_ns <= node.deadline_ns {
                break;
            }
            self.put(parent, place);
            place = (place - 1) / 4;
        }
        self.put(node, place);
    }

    fn down(&mut self, mut place: usize) {
        let node = self.heap[place];
        while let Some(least) = least_child(&self.heap, place) {
            let child = self.heap[least];
            if node.deadline_ns <= child.deadline_ns {
                break;
            }
            self.put(child, place);
            place = least;
        }
        self.put(node, place);
    }

    fn fire_due(&mut self) {
        let now_ns = monotonic_ns();
        while let Some(&Node { deadline_ns, timer }) = self.heap.first() {
            if deadline_ns > now_ns {
                break;
            }
            let Timer { call, word, .. } = self.timers[timer as usize];
            self.cancel(timer);
            call(self, word);
        }
    }

    fn run_timers(&mut self) {
        while !self.heap.is_empty() {
            self.wait();
            self.fire_due();
        }
    }

    /// Sleeps until a timer is due.
    #[allow(clippy::disallowed_methods)] // nothing else runs on this thread
    fn wait(&self) {
        if let Some(first) = self.heap.first() {
            let rest = first.deadline_ns.saturating_sub(monotonic_ns());
            if rest > 0 {
                std::thread::sleep(Duration::from_nanos(rest));
            }
        }
    }
}

/// Returns the child with the earliest deadline. Four children are compared in two pairs.
fn least_child(heap: &[Node], place: usize) -> Option<usize> {
    let first = 4 * place + 1;
    let children = heap.get(first..)?;
    if let Some([a, b, c, d]) = children.first_chunk() {
        let ab = usize::from(b.deadline_ns < a.deadline_ns);
        let cd = 2 + usize::from(d.deadline_ns < c.deadline_ns);
        let later = children[cd].deadline_ns < children[ab].deadline_ns;
        return Some(first + if later { cd } else { ab });
    }
    let all = children.iter().zip(first..);
    Some(all.min_by_key(|(child, _)| child.deadline_ns)?.1)
}

impl Callbacks for Raw {
    const NAME: &'static str = "raw";

    fn new() -> Self {
        Self {
            queue: Vec::new(),
            heap: Vec::new(),
            timers: Vec::new(),
            free: Vec::new(),
            called: 0,
            late: Vec::new(),
        }
    }

    fn soon(&mut self, n: u64) {
        for _ in 0..n {
            self.queue.push((|raw, word| raw.called += word, 1));
        }
        self.run_queue();
    }

    fn chain(&mut self, n: u64) {
        fn next(raw: &mut Raw, left: u64) {
            if left > 1 {
                raw.queue.push((next, left - 1));
            }
        }
        self.queue.push((next, n));
        self.run_queue();
    }
}

impl Timed for Raw {
    fn armed_and_cancelled(&mut self, delays: &[Duration]) {
        let arm = |&delay| self.arm(delay, |raw, word| raw.called += word, 1);
        let timers: Vec<_> = delays.iter().map(arm).collect();
        for timer in timers {
            self.cancel(timer);
        }
    }

    fn armed_and_fired(&mut self, delays: &[Duration]) {
        for &delay in delays {
            self.arm(delay, |raw, word| raw.called += word, 1);
        }
        self.run_timers();
    }

    fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64> {
        for delay in delays {
            let deadline_ns = monotonic_ns() + delay.as_nanos() as u64;
            let late = |raw: &mut Self, deadline_ns| {
                raw.late.push(monotonic_ns() as i64 - deadline_ns as i64);
            };
            self.arm(*delay, late, deadline_ns);
        }
        self.run_timers();
        std::mem::take(&mut self.late)
    }
}

type Closure = Box<dyn FnOnce(&mut Boxed)>;

/// A queue of closures in boxes.
#[derive(Default)]
pub struct Boxed {
    queue: VecDeque<Closure>,
    called: u64,
}

impl Boxed {
    fn run_queue(&mut self) {
        while let Some(call) = self.queue.pop_front() {
            call(self);
        }
    }

    fn next(&mut self, left: u64) {
        if left > 0 {
            self.queue
                .push_back(Box::new(move |boxed| boxed.next(left - 1)));
        }
    }
}

impl Callbacks for Boxed {
    const NAME: &'static str = "raw, boxed";

    fn new() -> Self {
        Self::default()
    }

    fn soon(&mut self, n: u64) {
        for word in 0..n {
            self.queue
                .push_back(Box::new(move |boxed| boxed.called += word));
        }
        self.run_queue();
    }

    fn chain(&mut self, n: u64) {
        self.next(n);
        self.run_queue();
    }
}
