//! The way of a signal that a program sends itself: from `kill(2)` to the code that waits for it.

use crate::{Workload, wall, wall_of};
use std::time::Duration;

pub fn workload() -> Workload {
    Workload {
        name: "a signal, sent and received",
        count: 20_000,
        runs: vec![
            ("readily", readily),
            ("callbacks", callbacks),
            ("tokio", tokio),
            ("mio", mio),
        ],
    }
}

fn send() {
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::USR1).expect("this process lives");
}

fn readily(n: u64) -> Duration {
    let all = async move {
        let signals = readily::signal::signal(readily::signal::Signal::USR1).expect("a listener");
        wall_of(async {
            for _ in 0..n {
                send();
                signals.recv().await.expect("the loop is open");
            }
        })
        .await
    };
    readily::run(all).expect("the loop turns")
}

fn callbacks(n: u64) -> Duration {
    use readily::signal::Signal;
    let mut event_loop = readily::EventLoop::new().expect("a loop");
    let mut left = n;
    let received = move |handle: &readily::LoopHandle| {
        left -= 1;
        match left {
            0 => handle.stop(),
            _ => send(),
        }
    };
    let _callback = event_loop
        .on_signal(Signal::USR1, received)
        .expect("a listener");
    wall(|| {
        send();
        event_loop.run().expect("the loop turns");
    })
}

fn tokio(n: u64) -> Duration {
    use tokio::signal::unix::{SignalKind, signal};
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let mut signals = signal(SignalKind::user_defined1()).expect("a listener");
        wall_of(async {
            for _ in 0..n {
                send();
                signals.recv().await.expect("the runtime lives");
            }
        })
        .await
    })
}

/// signal-hook with mio.
fn mio(n: u64) -> Duration {
    use mio::{Events, Interest, Poll, Token};
    let mut poll = Poll::new().expect("a poller");
    let number = signal_hook::consts::SIGUSR1;
    let mut signals = signal_hook_mio::v1_0::Signals::new([number]).expect("a listener");
    let registry = poll.registry();
    registry
        .register(&mut signals, Token(0), Interest::READABLE)
        .expect("it is registered");
    let mut events = Events::with_capacity(8);
    wall(|| {
        for _ in 0..n {
            send();
            let mut received = 0;
            while received == 0 {
                poll.poll(&mut events, None).expect("the poller waits");
                received += signals.pending().count();
            }
        }
    })
}
