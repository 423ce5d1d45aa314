//! A search for the number of an invariant finds the tests that show it, and the head of each file of
//! tests says which invariants these show.

use super::{none, numbers, read, shown, sources};
use std::collections::BTreeSet;

/// The invariants that a comment cites: `L5`, and all those of `L1 to L8`.
fn cited(comment: &str) -> BTreeSet<String> {
    let mut found = numbers(comment);
    let words: Vec<&str> = comment
        .split(|c: char| !c.is_ascii_alphanumeric())
        .collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    for range in words.windows(3).filter(|words| words[1] == "to") {
        let number = |word: &str| {
            numbers(word)
                .contains(word)
                .then(|| word[1..].parse::<u32>().ok())
                .flatten()
        };
        let (letter, other) = (range[0].chars().next(), range[2].chars().next());
        if let (Some(first), Some(last), true) =
            (number(range[0]), number(range[2]), letter == other)
        {
            let letter = letter.unwrap_or_default();
            found.extend((first..=last).map(|n| format!("{letter}{n}")));
        }
    }
    found
}

/// The lines that begin with `marker`, without it.
fn comment<'a>(lines: impl Iterator<Item = &'a str>, marker: &str) -> String {
    let lines = lines.filter_map(|line| line.trim().strip_prefix(marker));
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// Each test of a file, and the comment above it.
fn tests(text: &str) -> Vec<(&str, String)> {
    let (mut found, mut above) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        let name = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next());
        match name {
            _ if line.starts_with("///") || line.starts_with("#[") => above.push(line),
            Some(name) if above.contains(&"#[test]") => {
                found.push((name, comment(above.drain(..), "///")));
            }
            _ => above.clear(),
        }
    }
    found
}

/// Whether the comment above a test, or the one at the top of its file, cites an invariant.
pub(super) fn is_cited(number: &str, text: &str, test: &str) -> bool {
    let tests = tests(text);
    let own = tests.iter().find(|(name, _)| *name == test);
    let head = comment(text.lines(), "//!");
    let mut comments = own.map(|(_, own)| own).into_iter().chain([&head]);
    comments.any(|comment| cited(comment).contains(number))
}

#[test]
fn a_test_that_does_not_cite_its_invariant_is_found() {
    let cites = |number, head: &str, own: &str| {
        let text = format!("//! {head}\n\n/// {own}\n#[test]\nfn it() {{}}\n");
        is_cited(number, &text, "it")
    };
    assert!(cites("L5", "Timers.", "L1, L5: so."));
    assert!(cites("L5", "Timers (L1 to L8).", "So."));
    assert!(!cites("L5", "Timers (L6 to L8, C5).", "So: L55, T1 to T9."));
}

/// What is wrong with the head of a file of tests: it names just those invariants that its tests cite.
fn wrong_head(text: &str) -> Option<String> {
    let tests = tests(text);
    let shown: BTreeSet<String> = tests.iter().flat_map(|(_, own)| cited(own)).collect();
    let head = comment(text.lines(), "//!");
    let list = head
        .split("Invariant")
        .last()
        .filter(|_| head.contains("Invariant"));
    let named = cited(list.unwrap_or_default());
    let differ: Vec<&String> = named.symmetric_difference(&shown).collect();
    (!tests.is_empty() && !differ.is_empty())
        .then(|| format!("head and tests do not both name {differ:?}"))
}

#[test]
fn the_head_of_a_file_of_tests_names_the_invariants_of_its_tests() {
    let wrong = |path: &std::path::PathBuf| {
        let complaint = wrong_head(&read(path))?;
        Some(format!("{}: {complaint}", shown(path)))
    };
    let all = sources("tests/props")
        .into_iter()
        .chain(sources("tests/it"));
    none(all.filter_map(|path| wrong(&path)).collect());
    let text = "//! Tasks.\n//!\n//! Invariants: T1, T2.\n\n/// T1.\n#[test]\nfn it() {}\n";
    let complaint = "head and tests do not both name [\"T2\"]";
    assert_eq!(wrong_head(text).as_deref(), Some(complaint));
}
