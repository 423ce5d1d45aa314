//! A pipeline that takes no more than it can get rid of: producer, workers, sink.
//!
//! Between two stages there is a `Queue`. If it is bounded, who puts too fast waits, and so the
//! slowest stage sets the pace of all; if it is not, everything that the producer makes lies
//! somewhere. The same pipeline runs both ways, with a sink that is slower than the rest, and counts
//! what was under way. `join` says when all is done, `close` ends those who get. In asyncio:
//! `Queue`, with `join` and `shutdown`; in the notes: to give way where this would block (N10).
//!
//! ```text
//! cargo run --release --example pipeline -- 1000
//! bounded:   sunk  250, made  267, waiting  8 and  4
//! …
//! bounded:   1000 made, 1000 sunk, at most 18 under way
//! unbounded: 1000 made, 1000 sunk, at most 1000 under way
//! ```

use readily::{Queue, gather, run, sleep, yield_now};
use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

const WORKERS: usize = 4;

/// How many of each kind wait, where that is bounded.
const NUMBERS: usize = 8;
const SQUARES: usize = 4;

/// The most that can be under way: what waits, and one in the hands of each.
const MOST: usize = 1 + NUMBERS + WORKERS + SQUARES + 1;

/// More than this would only take longer, and show nothing else.
const ITEMS_AT_MOST: usize = 100_000;

struct Pipeline {
    name: &'static str,
    items: usize,
    numbers: Queue<usize>,
    squares: Queue<usize>,
    made: Cell<usize>,
    sunk: Cell<usize>,
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
            made: Cell::default(),
            sunk: Cell::default(),
            sum: Cell::default(),
            most: Cell::default(),
        }
    }

    /// Makes numbers as fast as they are taken, then sees to the end: stage after stage.
    async fn produce(&self) {
        for n in 0..self.items {
            self.made.set(n + 1);
            let under_way = self.made.get() - self.sunk.get();
            self.most.set(self.most.get().max(under_way));
            // Here it waits, if the queue is full. An error would mean that it is closed, which
            // nobody does but this.
            if self.numbers.put(n).await.is_err() {
                return;
            }
        }
        // Not until it is empty: the last ones are in the workers' hands then.
        self.numbers.join().await;
        self.numbers.close();
        self.squares.join().await;
        self.squares.close();
    }

    /// Takes numbers until there will be no more.
    async fn work(&self) {
        while let Ok(n) = self.numbers.get().await {
            yield_now().await; // as if it were a matter of several steps
            if self.squares.put(n * n).await.is_err() {
                return;
            }
            // After the put: what is done here is in the next queue already.
            if self.numbers.task_done().is_err() {
                unreachable!("once for each that was got");
            }
        }
    }

    /// The slow one.
    async fn sink(&self) {
        while let Ok(square) = self.squares.get().await {
            sleep(Duration::from_micros(200)).await;
            self.sum.set(self.sum.get() + square);
            self.sunk.set(self.sunk.get() + 1);
            if self.sunk.get() % (self.items / 4).max(1) == 0 {
                self.tell();
            }
            if self.squares.task_done().is_err() {
                unreachable!("once for each that was got");
            }
        }
    }

    fn tell(&self) {
        println!(
            "{:<10} sunk {:>4}, made {:>4}, waiting {:>2} and {:>2}",
            self.name,
            self.sunk.get(),
            self.made.get(),
            self.numbers.qsize(),
            self.squares.qsize(),
        );
    }

    /// All stages at once. They borrow the pipeline, for they end before it does.
    async fn run(&self) {
        let workers = gather((0..WORKERS).map(|_| self.work()));
        gather((self.produce(), workers, self.sink())).await;
    }

    /// The totals; `Err` if something was lost, or if there was more than there may be.
    fn check(&self, most: usize) -> Result<String, String> {
        let total = format!(
            "{:<10} {} made, {} sunk, at most {} under way",
            self.name,
            self.made.get(),
            self.sunk.get(),
            self.most.get()
        );
        let sum: usize = (0..self.items).map(|n| n * n).sum();
        let right = self.sum.get() == sum && self.sunk.get() == self.items;
        if right && self.most.get() <= most {
            Ok(total)
        } else {
            Err(format!("that is wrong: {total}"))
        }
    }
}

const USAGE: &str = "usage: pipeline [items, 1000; at most 100000]";

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

/// How many items go through.
fn items() -> Result<usize, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().map(|n| n.parse()), args.next()) {
        (None, _) => Ok(1000),
        (Some(Ok(n)), None) if n <= ITEMS_AT_MOST => Ok(n),
        _ => Err(USAGE.into()),
    }
}
