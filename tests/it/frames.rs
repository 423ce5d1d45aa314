//! How many functions stand between a turn and the code that it calls. A reader follows each of them, and
//! a debugger shows them.
//!
//! Counted from `LoopHandle::turn`, both ends included, without the functions of the standard library.
//! A build that inlines has fewer.

use readily::{Callbacks, Cx, EventLoop, Interest, run, spawn};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// The functions of ours between the caller and the turn, innermost first.
fn frames() -> Vec<String> {
    let trace = Backtrace::force_capture().to_string();
    let names = trace
        .lines()
        .filter_map(|line| line.trim_start().split_once(": "));
    let mut ours = Vec::new();
    for (_, name) in names.filter(|(number, _)| number.parse::<u32>().is_ok()) {
        if name.starts_with("readily") || name.starts_with("<readily") {
            ours.push(name.to_owned());
        }
        if name.ends_with("LoopHandle>::turn") {
            return ours;
        }
    }
    panic!("no turn in {trace}");
}

struct Reader(Rc<Cell<usize>>);

impl Callbacks for Reader {
    fn on_read(&mut self, cx: &Cx<'_>) {
        self.0.set(frames().len());
        cx.close();
    }
}

#[test]
fn a_read_callback_is_six_functions_from_its_turn() {
    let mut event_loop = EventLoop::new().unwrap();
    let (ours, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let counted = Rc::new(Cell::new(0));
    let reader = Reader(Rc::clone(&counted));
    event_loop
        .register(ours, Interest::READ, reader)
        .map_err(|refused| refused.error)
        .unwrap();
    event_loop.run().unwrap();
    assert!((1..=6).contains(&counted.get()), "{counted:?}");
}

#[test]
fn a_timers_closure_is_seven_functions_from_its_turn() {
    let mut event_loop = EventLoop::new().unwrap();
    let counted = Rc::new(Cell::new(0));
    let count = Rc::clone(&counted);
    event_loop.call_later(Duration::ZERO, move |_| count.set(frames().len()));
    event_loop.run().unwrap();
    assert!((1..=7).contains(&counted.get()), "{counted:?}");
}

#[test]
fn a_poll_of_a_task_is_nine_functions_from_its_turn() {
    let frames = run(async { spawn(async { frames() }).await.unwrap() }).unwrap();
    assert!((1..=9).contains(&frames.len()), "{frames:#?}");
}
