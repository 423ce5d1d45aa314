//! calloop: idle callbacks, and a `Timer` source for each timer.
//!
//! Idle callbacks run at the end of a dispatch; those that they insert run at the end of the next one.

use super::{Callbacks, Timed, Watching};
use crate::sleeps::late_ns;
use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The shared data that calloop passes to each callback.
#[derive(Default)]
struct Counts {
    called: u64,
    late: Vec<i64>,
}

pub struct Calloop {
    event_loop: EventLoop<'static, Counts>,
    handle: LoopHandle<'static, Counts>,
    counts: Counts,
}

fn chained(handle: LoopHandle<'static, Counts>, left: u64) {
    let next = handle.clone();
    handle.insert_idle(move |counts| {
        counts.called += 1;
        if left > 1 {
            chained(next, left - 1);
        }
    });
}

impl Calloop {
    /// Dispatches until this many more callbacks have run.
    fn run(&mut self, n: u64, limit: Option<Duration>) {
        let end = self.counts.called + n;
        while self.counts.called < end {
            self.event_loop
                .dispatch(limit, &mut self.counts)
                .expect("a loop that turns");
        }
    }

    fn arm(&self, delay: Duration) -> calloop::RegistrationToken {
        let timer = Timer::from_duration(delay);
        let fired = |_, _: &mut (), counts: &mut Counts| {
            counts.called += 1;
            TimeoutAction::Drop
        };
        let armed = self.handle.insert_source(timer, fired);
        armed.expect("a loop that is there")
    }
}

impl Callbacks for Calloop {
    const NAME: &'static str = "calloop";

    fn new() -> Self {
        let event_loop = EventLoop::try_new().expect("a loop");
        let handle = event_loop.handle();
        Self {
            event_loop,
            handle,
            counts: Counts::default(),
        }
    }

    fn soon(&mut self, n: u64) {
        for _ in 0..n {
            self.handle.insert_idle(|counts| counts.called += 1);
        }
        self.run(n, Some(Duration::ZERO));
    }

    fn chain(&mut self, n: u64) {
        chained(self.handle.clone(), n);
        self.run(n, Some(Duration::ZERO));
    }
}

impl Timed for Calloop {
    fn armed_and_cancelled(&mut self, delays: &[Duration]) {
        let tokens: Vec<_> = delays.iter().map(|&delay| self.arm(delay)).collect();
        for token in tokens {
            self.handle.remove(token);
        }
    }

    fn armed_and_fired(&mut self, delays: &[Duration]) {
        for &delay in delays {
            self.arm(delay);
        }
        self.run(delays.len() as u64, None);
    }

    #[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
    fn armed_and_late(&mut self, delays: &[Duration]) -> Vec<i64> {
        for &delay in delays {
            let deadline = Instant::now() + delay;
            let timer = Timer::from_duration(delay);
            let fired = move |_, _: &mut (), counts: &mut Counts| {
                counts.called += 1;
                counts.late.push(late_ns(deadline));
                TimeoutAction::Drop
            };
            let armed = self.handle.insert_source(timer, fired);
            armed.expect("a loop that is there");
        }
        self.run(delays.len() as u64, None);
        std::mem::take(&mut self.counts.late)
    }
}

impl Watching for Calloop {
    fn watch(&mut self, sockets: Vec<UnixStream>) {
        // calloop passes the counts to each callback, so this word is only held.
        for (at, socket) in sockets.into_iter().enumerate() {
            let source = Generic::new(socket, Interest::READ, Mode::Level);
            let ready = move |_, _: &mut _, counts: &mut Counts| {
                counts.called += at as u64;
                Ok(PostAction::Continue)
            };
            let inserted = self.handle.insert_source(source, ready);
            inserted.expect("a loop that is there");
        }
        let dispatched = self
            .event_loop
            .dispatch(Some(Duration::ZERO), &mut self.counts);
        dispatched.expect("a loop that turns");
    }
}
