//! The crate's callback layer: an `EventLoop` that the caller turns.

use super::{Callbacks, Timed, Watching};
use crate::sleeps::late_ns;
use readily::{Cx, EventLoop, Interest, LoopHandle};
use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub struct Readily {
    pub(super) event_loop: EventLoop,
    pub(super) called: Rc<Cell<u64>>,
}

/// A closure that queues its successor.
fn chained(handle: &LoopHandle, left: u64) {
    if left > 0 {
        handle.call_soon(move |handle| chained(handle, left - 1));
    }
}

impl Callbacks for Readily {
    const NAME: &'static str = "readily callbacks";

    fn new() -> Self {
        Self {
            event_loop: EventLoop::new().expect("a loop"),
            called: Rc::default(),
        }
    }

    fn soon(&mut self, n: u64) {
        for _ in 0..n {
            let called = Rc::clone(&self.called);
            self.event_loop
                .call_soon(move |_| called.set(called.get() + 1));
        }
        self.event_loop.run().expect("a loop that turns");
    }

    fn chain(&mut self, n: u64) {
        chained(&self.event_loop, n);
        self.event_loop.run().expect("a loop that turns");
    }
}

impl Timed for Readily {
    fn armed_and_cancelled(&mut self, delays: &[Duration]) {
        let arm = |&delay| {
            let called = Rc::clone(&self.called);
            self.event_loop
                .call_later(delay, move |_| called.set(called.get() + 1))
        };
        let timers: Vec<_> = delays.iter().map(arm).collect();
        for timer in timers {
            timer.cancel();
        }
    }

    fn armed_and_fired(&mut self, delays: &[Duration]) {
        for &delay in delays {
            let called = Rc::clone(&self.called);
            self.event_loop
                .call_later(delay, move |_| called.set(called.get() + 1));
        }
        self.event_loop.run().expect("a loop that turns");
    }

    #[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
    fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64> {
        let late = Rc::new(RefCell::new(Vec::with_capacity(delays.len())));
        for &delay in delays {
            let (late, deadline) = (Rc::clone(&late), Instant::now() + delay);
            self.event_loop
                .call_later(delay, move |_| late.borrow_mut().push(late_ns(deadline)));
        }
        self.event_loop.run().expect("a loop that turns");
        late.take()
    }
}

struct Conn(Rc<Cell<u64>>);

impl readily::Callbacks for Conn {
    fn on_read(&mut self, _cx: &Cx<'_>) {
        self.0.set(self.0.get() + 1);
    }
}

impl Watching for Readily {
    fn watch(&mut self, sockets: Vec<UnixStream>) {
        for socket in sockets {
            let conn = Conn(Rc::clone(&self.called));
            let registered = self.event_loop.register(socket, Interest::READ, conn);
            registered.map_err(|refused| refused.error).expect("a loop");
        }
        let turned = self.event_loop.turn(Some(Duration::ZERO));
        turned.expect("a loop that turns");
    }
}
