//! The crate's callback layer, with timers that are kept: their closures are given once, as in C.
//!
//! The other peer of the crate gives each timer its own closure.

use super::{Callbacks, Readily, Timed};
use crate::sleeps::late_ns;
use readily::Timer;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub struct Terse {
    readily: Readily,
    /// Kept and started again, as in programs that embed them in their own structures.
    timers: Vec<Timer>,
}

impl Terse {
    fn arm(&mut self, delays: &[Duration]) {
        while self.timers.len() < delays.len() {
            let called = Rc::clone(&self.readily.called);
            let count = move |_: &_, _: &_| called.set(called.get() + 1);
            self.timers.push(self.readily.event_loop.timer(count));
        }
        for (timer, &delay) in self.timers.iter().zip(delays) {
            timer.start_in(delay);
        }
    }
}

impl Callbacks for Terse {
    const NAME: &'static str = "terse callbacks";

    fn new() -> Self {
        Self {
            readily: Readily::new(),
            timers: Vec::new(),
        }
    }

    fn soon(&mut self, n: u64) {
        self.readily.soon(n);
    }

    fn chain(&mut self, n: u64) {
        self.readily.chain(n);
    }
}

impl Timed for Terse {
    fn armed_and_cancelled(&mut self, delays: &[Duration]) {
        self.arm(delays);
        for timer in &self.timers[..delays.len()] {
            timer.stop();
        }
    }

    fn armed_and_fired(&mut self, delays: &[Duration]) {
        self.arm(delays);
        let event_loop = &mut self.readily.event_loop;
        event_loop.run().expect("a loop that turns");
    }

    #[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
    fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64> {
        let late: Rc<[Cell<i64>]> = delays.iter().map(|_| Cell::new(0)).collect();
        let event_loop = &mut self.readily.event_loop;
        let mut timers = Vec::with_capacity(delays.len());
        for (n, &delay) in delays.iter().enumerate() {
            let (late, deadline) = (Rc::clone(&late), Instant::now() + delay);
            let timer = event_loop.timer(move |_, _| late[n].set(late_ns(deadline)));
            timer.start_in(delay);
            timers.push(timer);
        }
        event_loop.run().expect("a loop that turns");
        late.iter().map(Cell::get).collect()
    }
}
