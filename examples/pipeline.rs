//! A pipeline with back-pressure: a producer, four workers and a slow consumer.
//!
//! The stages are connected by `Queue`s. If the queues are bounded, a `put` into a full queue waits,
//! so the slowest stage sets the pace of all others. If the queues are unbounded, they hold
//! everything that the producer has made and the consumer has not yet processed. The same pipeline
//! runs in both ways and prints how many items were in flight. `join` waits until all items of a
//! queue have been processed; `close` ends the getters. asyncio has the same `Queue`, with `join`
//! and `shutdown`. Waiting instead of blocking is N10 of the notes.
//!
//! ```text
//! cargo run --release --example pipeline -- 1000
//! bounded:   consumed  250, produced  267, queued  8 and  4
//! …
//! bounded:   1000 produced, 1000 consumed, at most 18 in flight
//! unbounded: 1000 produced, 1000 consumed, at most 1000 in flight
//! ```

use readily::{Queue, gather, run, sleep, yield_now};
use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

const WORKERS: usize = 4;

/// The capacities of the two queues when they are bounded.
const NUMBERS: usize = 8;
const SQUARES: usize = 4;

/// The most items in flight with bounded queues: full queues, and one item in each stage.
const MOST: usize = 1 + NUMBERS + WORKERS + SQUARES + 1;

/// The largest argument: more items take longer and show nothing new.
const MAX_ITEMS: usize = 100_000;

struct Pipeline {
    name: &'static str,
    items: usize,
    numbers: Queue<usize>,
    squares: Queue<usize>,
    produced: Cell<usize>,
    consumed: Cell<usize>,
    sum: Cell<usize>,
    most: Cell<usize>,
}

impl Pipeline {
    fn new(name: &'static str, items: usize, numbers: Queue<usize>, squares: Queue<usize>) -> Self {
        Self {
            name,
            items,
            numbers,
            squares,
            produced: Cell::default(),
            consumed: Cell::default(),
            sum: Cell::default(),
            most: Cell::default(),
        }
    }

    /// Produces the numbers, as fast as the queue accepts them. Then ends the stages one after another.
    async fn produce(&self) {
        for n in 0..self.items {
            self.produced.set(n + 1);
            let in_flight = self.produced.get() - self.consumed.get();
            self.most.set(self.most.get().max(in_flight));
            // Waits while the queue is full. The error means that the queue is closed, and only this
            // function closes it.
            if self.numbers.put(n).await.is_err() {
                return;
            }
        }
        // An empty queue is not enough: the workers may still process the last items. `join` waits
        // until `task_done` has been called for each.
        self.numbers.join().await;
        self.numbers.close();
        self.squares.join().await;
        self.squares.close();
    }

    /// Squares numbers until the queue is closed.
    async fn work(&self) {
        while let Ok(n) = self.numbers.get().await {
            yield_now().await; // simulates work of several steps
            if self.squares.put(n * n).await.is_err() {
                return;
            }
            // After the put, so that `join` returns only when all squares are in the next queue.
            if self.numbers.task_done().is_err() {
                unreachable!("it is called once for each item");
            }
        }
    }

    /// Consumes the squares, slower than they are produced.
    async fn consume(&self) {
        while let Ok(square) = self.squares.get().await {
            sleep(Duration::from_micros(200)).await;
            self.sum.set(self.sum.get() + square);
            self.consumed.set(self.consumed.get() + 1);
            if self.consumed.get() % (self.items / 4).max(1) == 0 {
                self.print_progress();
            }
            if self.squares.task_done().is_err() {
                unreachable!("it is called once for each item");
            }
        }
    }

    fn print_progress(&self) {
        println!(
            "{:<10} consumed {:>4}, produced {:>4}, queued {:>2} and {:>2}",
            self.name,
            self.consumed.get(),
            self.produced.get(),
            self.numbers.qsize(),
            self.squares.qsize(),
        );
    }

    /// Runs all stages concurrently. They may borrow the pipeline, because `gather` does not outlive it.
    async fn run(&self) {
        let workers = gather((0..WORKERS).map(|_| self.work()));
        gather((self.produce(), workers, self.consume())).await;
    }

    /// Returns the totals; `Err` if an item was lost, or if more than `most` items were in flight.
    fn check(&self, most: usize) -> Result<String, String> {
        let total = format!(
            "{:<10} {} produced, {} consumed, at most {} in flight",
            self.name,
            self.produced.get(),
            self.consumed.get(),
            self.most.get()
        );
        let sum: usize = (0..self.items).map(|n| n * n).sum();
        let right = self.sum.get() == sum && self.consumed.get() == self.items;
        if right && self.most.get() <= most {
            Ok(total)
        } else {
            Err(format!("wrong totals: {total}"))
        }
    }
}

const USAGE: &str = "usage: pipeline [items, default 1000, at most 100000]";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let items = items()?;
    let (numbers, squares) = (Queue::bounded(NUMBERS), Queue::bounded(SQUARES));
    let bounded = Pipeline::new("bounded:", items, numbers, squares);
    let (numbers, squares) = (Queue::unbounded(), Queue::unbounded());
    let unbounded = Pipeline::new("unbounded:", items, numbers, squares);
    run(async {
        bounded.run().await;
        unbounded.run().await;
    })?;
    println!("{}", bounded.check(MOST)?);
    println!("{}", unbounded.check(items)?);
    Ok(())
}

/// Parses the number of items.
fn items() -> Result<usize, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().map(|n| n.parse()), args.next()) {
        (None, _) => Ok(1000),
        (Some(Ok(n)), None) if n <= MAX_ITEMS => Ok(n),
        _ => Err(USAGE.into()),
    }
}
