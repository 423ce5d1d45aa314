//! Operations as text, and from text: a case that failed is kept as it was printed.
//!
//! The table of `op.rs` says which operands a word has; here each kind of operand is written and read.
//! A text comes from anywhere, so a wrong one is refused with the word that does not fit.
//!
//! In the notes this is nothing.

use super::op::{NAMES, Op, PLACES, WORDS};
use readily::poll::{Interest, Trigger};
use std::fmt;
use std::iter::Peekable;

const INTERESTS: [(Interest, &str); 3] = [
    (Interest::READ, "read"),
    (Interest::WRITE, "write"),
    (Interest::PRIORITY, "urgent"),
];

/// An interest in words.
pub(super) fn wanted(interest: Interest) -> String {
    let asked = INTERESTS.iter().filter(|(one, _)| interest.contains(*one));
    let words: Vec<&str> = asked.map(|(_, word)| *word).collect();
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join("+"),
    }
}

const TRIGGERS: [(Trigger, &str); 3] = [
    (Trigger::Level, "level"),
    (Trigger::Edge, "edge"),
    (Trigger::OneShot, "one-shot"),
];

/// A trigger in words.
pub(super) fn trigger(trigger: Trigger) -> &'static str {
    let row = TRIGGERS.iter().find(|(one, _)| *one == trigger);
    row.map_or("", |(_, word)| word)
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, word, operands, _) = self.verb.row();
        f.write_str(word)?;
        for operand in operands.chars() {
            match operand {
                'a' => write!(f, " #{}", self.at)?,
                't' => write!(f, " #{}", self.to)?,
                'n' => write!(f, " {}", self.number)?,
                'i' => write!(f, " {}", wanted(self.interest))?,
                'g' => write!(f, " {}", trigger(self.trigger))?,
                _ if self.script.is_empty() => {}
                _ => {
                    let script: Vec<String> = self.script.iter().map(Self::to_string).collect();
                    write!(f, " {{ {} }}", script.join("; "))?;
                }
            }
        }
        Ok(())
    }
}

/// What is stumbled over where there are no words any more.
pub(super) const END: &str = "the end of the text";

/// The words of a text, with a semicolon for each end of a line, and the line of each.
pub(super) fn words(text: &str) -> (Vec<String>, Vec<usize>) {
    let of_line = |(n, line): (usize, &str)| {
        let spaced = line.replace(';', " ; ") + " ;";
        let spaced = spaced.replace('{', " { ").replace('}', " } ");
        let words = spaced.split_whitespace().map(str::to_owned);
        words.map(|word| (word, n + 1)).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(of_line).unzip()
}

/// As many braces may stand inside each other: each is read by a call inside of another, and a text
/// must not be able to end the process.
const DEEPEST: usize = 32;

/// Reads operations up to the end of the text, or of the script, which is so `deep` inside of
/// others. An error is the word that it stumbled over.
pub(super) fn read<'a, W>(words: &mut Peekable<W>, deep: usize) -> Result<Vec<Op>, String>
where
    W: Iterator<Item = &'a String>,
{
    let mut ops = Vec::new();
    loop {
        match words.next().map(String::as_str) {
            None if deep > 0 => return Err(END.to_owned()),
            None => return Ok(ops),
            Some("}") if deep > 0 => return Ok(ops),
            Some(";") => {}
            Some(word) => {
                let row = WORDS.iter().find(|row| row.1 == word);
                let (verb, _, operands, _) = row.ok_or_else(|| word.to_owned())?;
                let mut op = Op::new(*verb);
                for operand in operands.chars() {
                    read_operand(&mut op, operand, words, deep)?;
                }
                ops.push(op);
            }
        }
    }
}

fn read_operand<'a, W>(
    op: &mut Op,
    operand: char,
    words: &mut Peekable<W>,
    deep: usize,
) -> Result<(), String>
where
    W: Iterator<Item = &'a String>,
{
    if operand == 's' {
        if let Some(brace) = words.next_if(|word| *word == "{") {
            if deep == DEEPEST {
                return Err(brace.clone());
            }
            op.script = read(words, deep + 1)?;
        }
        return Ok(());
    }
    let word = words.next().ok_or(END)?;
    let wrong = || word.clone();
    // Closures, timers and tasks have fewer names than there are places.
    let most = if op.verb.names() { NAMES } else { PLACES };
    let place = || {
        let number = word.strip_prefix('#')?.parse().ok();
        number.filter(|number| *number < most)
    };
    match operand {
        'a' => op.at = place().ok_or_else(wrong)?,
        't' => op.to = place().ok_or_else(wrong)?,
        'n' => op.number = word.parse().map_err(|_| wrong())?,
        'i' if word == "nothing" => {}
        'i' => {
            for part in word.split('+') {
                let row = INTERESTS.iter().find(|(_, name)| *name == part);
                op.interest |= row.ok_or_else(wrong)?.0;
            }
        }
        _ => {
            let row = TRIGGERS.iter().find(|(_, name)| name == word);
            op.trigger = row.ok_or_else(wrong)?.0;
        }
    }
    Ok(())
}
