//! Checks every line of the notes on real sockets and a real clock, with one loop.
//!
//! Prints what the program observed next to each line of the notes. The exit status is 1 if anything
//! differs.
//!
//! ```text
//! cargo run --release --example notes
//! ```

mod callbacks;
mod cores;
mod coroutines;
mod pools;
mod tasks;

use readily::Runner;
use std::fmt::Display;
use std::process::ExitCode;

/// The lines that were printed, and how many of them differ from the notes.
#[derive(Default)]
struct Page {
    lines: u32,
    wrong: u32,
}

impl Page {
    fn chapter(&self, title: &str) {
        println!("\n{title}");
    }

    /// Prints one line: the number of the note, its text, what was observed, and whether the two agree.
    fn line(&mut self, note: &str, text: &str, saw: impl Display, right: bool) {
        self.lines += 1;
        self.wrong += u32::from(!right);
        let mark = if right { "ok" } else { "DIFFERS" };
        let saw = saw.to_string(); // not every `Display` respects the width
        println!("  {note:<4} {text:<58} {saw:<34} {mark}");
    }

    /// Prints a line whose observed value must equal `expected`.
    fn same<T: PartialEq + Display>(&mut self, note: &str, text: &str, saw: T, expected: T) {
        let right = saw == expected;
        self.line(note, text, saw, right);
    }
}

const USAGE: &str = "usage: notes";

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    pools::init(); // before all else: a worker of the pool is this program, too
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::args().len() > 1 {
        return Err(USAGE.into());
    }
    let mut page = Page::default();
    let mut runner = Runner::new()?;
    callbacks::show(&mut page, runner.event_loop())?;
    coroutines::show(&mut page, &mut runner)?;
    tasks::show(&mut page, &mut runner)?;
    pools::show(&mut page, &mut runner)?;
    cores::show(&mut page, &mut runner)?;
    let left = runner.close();
    page.chapter("At the end");
    page.line(
        "",
        "nothing is left on the loop",
        left.tasks.len(),
        left == Default::default(),
    );
    println!("\n{} lines of the notes, {} differ", page.lines, page.wrong);
    Ok(if page.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
