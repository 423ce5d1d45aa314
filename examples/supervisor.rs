//! A supervisor: it starts a command, starts it again when it fails, and forwards signals to it.
//!
//! - When the command exits with success, the supervisor ends.
//! - When the command fails, it is started again after a delay, which doubles with each failure in a row, up to
//!   `--longest` milliseconds. After a run that took longer than this, the delay begins at its first value again.
//! - SIGTERM, SIGINT and SIGHUP are forwarded to the command. After SIGTERM or SIGINT it is not started
//!   again, and is killed if it has not ended within `--limit` milliseconds.
//! - After `--failures` failures in a row the supervisor gives up.
//!
//! The command has its own process group. So Ctrl-C reaches it only through the supervisor, and when it ends, the
//! processes that it has started in the background are killed. In asyncio: `create_subprocess_exec` and
//! `add_signal_handler`.
//!
//! ```text
//! cargo run --release --example supervisor -- --delay 100 sh -c 'echo working; sleep 1; exit 1'
//! kill -HUP PID    # in another terminal, with the number that is printed
//! ```

use readily::combine::Either;
use readily::process::{ChildError, Command};
use readily::signal::{Signal, SignalListener, signal};
use readily::{WeakHandle, race, run, select, sleep, wait_for};
use std::error::Error;
use std::fmt::Display;
use std::process::ExitStatus;
use std::str::FromStr;
use std::time::{Duration, Instant};

struct Options {
    delay: Duration,
    longest: Duration,
    limit: Duration,
    failures: u32,
    command: Vec<String>,
}

/// The listeners for the signals that are forwarded. A listener stores its signal, so none is lost between two waits.
struct Signals {
    term: SignalListener,
    int: SignalListener,
    hup: SignalListener,
}

impl Signals {
    async fn recv(&self) -> Result<Signal, readily::Error> {
        let heard = async |listener: &SignalListener| {
            listener.recv().await?;
            Ok(listener.signal())
        };
        race((heard(&self.term), heard(&self.int), heard(&self.hup))).await
    }
}

/// Runs the command once, and forwards signals to it. Also returns whether it was asked to end.
async fn run_once(
    options: &Options,
    signals: &Signals,
) -> Result<(ExitStatus, bool), Box<dyn Error>> {
    let mut command = Command::new(&options.command[0]);
    command
        .args(&options.command[1..])
        .kill_group_at_exit()
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    println!("started {}", child.id().unwrap_or_default());
    loop {
        let event = select((child.wait(), signals.recv())).await;
        let signal = match event {
            Either::Left(status) => return Ok((status?, false)),
            Either::Right(signal) => signal?,
        };
        println!("forwarding {signal}");
        match child.signal(signal) {
            Ok(()) | Err(ChildError::Ended) => {}
            Err(error) => return Err(error.into()),
        }
        if signal != Signal::HUP {
            let status = match wait_for(options.limit, child.wait()).await {
                Ok(status) => status?,
                Err(_elapsed) => {
                    println!("killing it: it has not ended in time");
                    child.signal_group(Signal::KILL)?;
                    child.wait().await?
                }
            };
            return Ok((status, true));
        }
    }
}

/// The time of the loop's clock.
fn now() -> Instant {
    let now = WeakHandle::current().and_then(|handle| handle.with(|handle| handle.fresh_now()));
    now.expect("a loop is running")
}

async fn supervise(options: Options) -> Result<(), Box<dyn Error>> {
    let signals = Signals {
        term: signal(Signal::TERM)?,
        int: signal(Signal::INT)?,
        hup: signal(Signal::HUP)?,
    };
    let (mut delay, mut failures) = (options.delay, 0);
    loop {
        let started = now();
        let (status, asked) = run_once(&options, &signals).await?;
        println!("ended: {status}");
        if asked || status.success() {
            return Ok(());
        }
        if now() - started > options.longest {
            (delay, failures) = (options.delay, 0);
        }
        failures += 1;
        if failures == options.failures {
            return Err(format!("giving up after {failures} failures in a row").into());
        }
        println!("starting it again in {delay:?}");
        if let Either::Right(signal) = select((sleep(delay), signals.recv())).await {
            if signal? != Signal::HUP {
                return Ok(());
            }
        }
        delay = (2 * delay).min(options.longest);
    }
}

const USAGE: &str = "usage: supervisor [--delay ms] [--longest ms] [--limit ms] [--failures n] COMMAND [ARGUMENT...]";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == "--help" || arg == "-h")
    {
        println!("{USAGE}");
        return Ok(());
    }
    run(supervise(options()?))?
}

/// Parses the value of an option. The error names the option and the value, and has the usage.
fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    let wrong = |error| format!("{name} {value}: {error}; {USAGE}");
    value.parse().map_err(wrong)
}

/// Parses the options, which end with the first argument that is none.
fn options() -> Result<Options, Box<dyn Error>> {
    let (mut delay, mut longest, mut limit, mut failures) = (100, 10_000, 5000, 10);
    let mut args = std::env::args().skip(1);
    let mut first = None;
    while let Some(name) = args.next() {
        let place = match name.as_str() {
            "--delay" => &mut delay,
            "--longest" => &mut longest,
            "--limit" => &mut limit,
            "--failures" => {
                failures = parse(&name, &args.next().ok_or(USAGE)?)?;
                continue;
            }
            _ if name.starts_with('-') => return Err(USAGE.into()),
            _ => {
                first = Some(name);
                break;
            }
        };
        *place = parse(&name, &args.next().ok_or(USAGE)?)?;
    }
    Ok(Options {
        delay: Duration::from_millis(delay),
        longest: Duration::from_millis(longest),
        limit: Duration::from_millis(limit),
        failures,
        command: first.into_iter().chain(args).collect(),
    })
    .and_then(|options: Options| match options.command.is_empty() {
        true => Err(USAGE.into()),
        false => Ok(options),
    })
}
