//! A million events on the simulated kernel, to measure what the simulation costs in tests.
//!
//! Fifty pairs of sockets echo a byte back and forth with callbacks, one read and one write for each
//! event, through the full loop, until it has dispatched a million events. The program prints the
//! number of turns; `time` measures the duration. With `--trace`, the kernel records a trace too.
//!
//! ```text
//! time cargo run --release --example sim_events
//! ```

use readily::{Closures, Cx, EventLoop, Interest};
use readily_testing::Kernel;
use std::error::Error;

const PAIRS: usize = 50;
const EVENTS: u64 = 1_000_000;

const USAGE: &str = "usage: sim_events [--trace]";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let kernel = Kernel::new();
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (None, _) => {}
        (Some("--trace"), None) => kernel.record(),
        _ => return Err(USAGE.into()),
    }
    let mut event_loop = EventLoop::with(Box::new(kernel.poller()), Box::new(kernel.clock()))?;
    for _ in 0..PAIRS {
        let (one, two) = kernel.pair()?;
        one.write(b"x")?;
        for end in [one, two] {
            let callbacks = Closures::new().on_read(|cx: &Cx<'_>| {
                let mut byte = [0];
                let echoed = cx.read(&mut byte).and_then(|_| cx.write(&byte));
                echoed.expect("a byte has arrived, and the buffer is not full");
            });
            event_loop.register(end, Interest::READ, callbacks)?;
        }
    }
    while event_loop.stats().events < EVENTS {
        event_loop.turn_now()?;
    }
    println!(
        "{} events in {} turns, trace of {} bytes",
        event_loop.stats().events,
        event_loop.stats().turns,
        kernel.trace().len()
    );
    Ok(())
}
