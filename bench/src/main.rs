//! What each primitive costs, beside the same on tokio and on smol.
//!
//! Each workload is written once (`workloads.rs`), for any runtime that has the trait in
//! `runtime.rs`, and runs as a task on one thread. The repetitions are interleaved: all three in turn,
//! each time another first, so that whatever else the machine does meets all of them. What counts is
//! the ratio: the median of those within one repetition. Nanoseconds are the machine's affair.
//!
//! ```text
//! cargo run --release --manifest-path bench/Cargo.toml                  # a minute
//! cargo run --release --manifest-path bench/Cargo.toml -- --markdown
//! cargo run --release --manifest-path bench/Cargo.toml -- --only queue
//! cargo run --release --manifest-path bench/Cargo.toml -- --smoke       # seconds: that it runs
//! ```

mod peers;
mod runtime;
mod workloads;

use std::error::Error;
use std::time::Duration;
use workloads::{PEERS, Row};

#[derive(Default)]
struct Options {
    smoke: bool,
    markdown: bool,
    only: String,
}

/// How often, and how long at least each time.
fn effort(options: &Options) -> (usize, Duration) {
    match options.smoke {
        true => (1, Duration::from_micros(200)),
        false => (11, Duration::from_millis(10)),
    }
}

/// So many operations that they take `least` together. Found anew for each runtime: a timer that is
/// rounded to milliseconds would take minutes with the number of one that is not.
fn operations(run: fn(u64) -> Duration, least: Duration) -> u64 {
    let mut n = 1;
    loop {
        let took = run(n);
        if took >= least {
            return n;
        }
        let factor = least.as_nanos() / took.as_nanos().max(1) + 1;
        n *= factor.clamp(2, 100) as u64;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One operation, each peer: nanoseconds for us, and what we take of theirs.
struct Measured {
    ns: f64,
    ratios: [Option<f64>; PEERS - 1],
}

fn measure(row: &Row, options: &Options) -> Measured {
    let (repetitions, least) = effort(options);
    let counts = row.runs.map(|run| run.map(|run| operations(run, least)));
    let mut times: [Vec<f64>; PEERS] = Default::default();
    for repetition in 0..repetitions {
        for place in 0..PEERS {
            let who = (repetition + place) % PEERS;
            let (Some(run), Some(n)) = (row.runs[who], counts[who]) else {
                continue;
            };
            times[who].push(run(n).as_nanos() as f64 / n as f64);
        }
    }
    let [ours, theirs @ ..] = times;
    let ratio = |theirs: Vec<f64>| {
        let within_one = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
        (!theirs.is_empty()).then(|| median(within_one.collect()))
    };
    Measured {
        ratios: theirs.map(ratio),
        ns: median(ours),
    }
}

fn line(name: &str, cells: [String; PEERS], markdown: bool) {
    let [ns, tokio, smol] = cells;
    match markdown {
        true => println!("| {name} | {ns} | {tokio} | {smol} |"),
        false => println!("{name:<44} {ns:>12} {tokio:>12} {smol:>12}"),
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match name.as_str() {
            "--smoke" => options.smoke = true,
            "--markdown" => options.markdown = true,
            "--only" => options.only = args.next().ok_or("--only what?")?,
            _ => return Err("usage: readily-bench [--smoke] [--markdown] [--only PART]".into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let rows = workloads::all();
    let chosen = rows.iter().filter(|row| row.name.contains(&options.only));
    let head = ["ns readily", "ratio tokio", "ratio smol"].map(str::to_owned);
    line("operation", head, options.markdown);
    if options.markdown {
        println!("|---|---:|---:|---:|");
    }
    for row in chosen {
        let Measured { ns, ratios } = measure(row, &options);
        let [tokio, smol] =
            ratios.map(|ratio| ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
        line(
            row.name,
            [format!("{ns:.0}"), tokio, smol],
            options.markdown,
        );
    }
    Ok(())
}
