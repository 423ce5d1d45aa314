//! Numbers the lines of its standard input, as `nl` does. The input may be a terminal, a pipe or a file.
//!
//! The program uses `io::stdin` and `io::stdout`. No thread waits for the terminal, so the program ends
//! as soon as it has read the requested number of lines, even if nothing more is typed. This is N4 and N10 of the
//! notes; asyncio has `connect_read_pipe` for this, which refuses files.
//!
//! ```text
//! printf 'one\ntwo\nthree\n' | cargo run --release --example number_lines -- 2
//!      1  one
//!      2  two
//! ```

use readily::io::{BufReader, BufWriter, stdin, stdout};
use std::error::Error;

/// Copies lines with their numbers, until the end of the input, or until there are `limit` lines.
async fn number(limit: usize) -> Result<(), Box<dyn Error>> {
    let mut input = BufReader::new(stdin()?);
    let mut output = BufWriter::new(stdout()?);
    for number in 1..=limit {
        let Some(line) = input.read_line().await? else {
            break;
        };
        let numbered = format!("{number:6}  {line}\n");
        output.write_all(numbered.as_bytes()).await?;
        // A line that came alone is answered before the next is typed.
        if input.buffer().is_empty() {
            output.flush().await?;
        }
    }
    output.flush().await?;
    Ok(())
}

const USAGE: &str = "usage: number_lines [lines, default all]";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let limit = match args.as_slice() {
        [] => usize::MAX,
        [help] if help == "--help" || help == "-h" => {
            println!("{USAGE}");
            return Ok(());
        }
        [limit] => limit.parse().map_err(|_| USAGE)?,
        _ => return Err(USAGE.into()),
    };
    readily::run(number(limit))?
}
