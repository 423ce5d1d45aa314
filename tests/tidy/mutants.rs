//! The list of planted bugs does not rot: each still fits its file, names what it breaks and the tests
//! that catch it, and no invariant is without one.
//!
//! That they are caught is what `.ci/mutants` shows. It takes a while, so it is not run here; a
//! bug that no longer fits would be found there too late.

use super::{book::numbered, is_run, none, read, root};
use std::collections::BTreeSet;
use std::fs;

/// A planted bug of tests/mutants.md: what it breaks, where, and who is said to catch it.
struct Mutant<'a> {
    name: &'a str,
    /// The folder that the head above it names.
    folder: &'a str,
    /// The numbers, as they stand between asterisks.
    breaks: Vec<&'a str>,
    /// What stands between backquotes: the file, and the tests.
    quoted: Vec<&'a str>,
    before: String,
    after: String,
    /// Its diff has an end, without which `.ci/mutants` takes it for none.
    is_closed: bool,
}

/// One side of a diff: all lines but those that only the other side has.
fn side(diff: &str, other: char) -> String {
    let lines = diff.lines().filter(|line| !line.starts_with(other));
    lines.fold(String::new(), |all, line| {
        all + line.get(1..).unwrap_or_default() + "\n"
    })
}

/// The sections of the page: a heading, a paragraph, a diff. They stand under a head for each folder.
fn mutants(page: &str) -> impl Iterator<Item = Mutant<'_>> {
    let heads = page.split("\n# ");
    let sections = heads.flat_map(|head| {
        let below = head
            .strip_prefix("In `")
            .and_then(|head| head.split('`').next());
        let sections = head.split("\n## ").skip(1);
        sections.map(move |section| (below.unwrap_or_default(), section))
    });
    sections.map(|(folder, section)| {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        let (says, diff) = rest.split_once("```diff\n").unwrap_or((rest, ""));
        let (diff, is_closed) = match diff.split_once("```") {
            Some((diff, _)) => (diff, true),
            None => (diff, false),
        };
        Mutant {
            name,
            folder,
            breaks: says.split("**").skip(1).step_by(2).collect(),
            quoted: says.split('`').skip(1).step_by(2).collect(),
            before: side(diff, '+'),
            after: side(diff, '-'),
            is_closed,
        }
    })
}

/// What is wrong with a planted bug.
fn wrong_mutant(mutant: &Mutant<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    let file = mutant.quoted.first().copied().unwrap_or_default();
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    // Nothing stands everywhere.
    let places = match &*mutant.before {
        "" => 0,
        before => text.matches(before).count(),
    };
    if !file.starts_with(mutant.folder) {
        complaints.push(format!("it stands among the bugs in `{}`", mutant.folder));
    }
    if !mutant.is_closed {
        complaints.push("its diff has no end".to_owned());
    }
    if places != 1 {
        complaints.push(format!("what it changes stands {places} times in {file:?}"));
    } else if mutant.before == mutant.after {
        complaints.push("it changes nothing".to_owned());
    }
    let tests = mutant.quoted.get(1..).unwrap_or_default();
    if tests.is_empty() {
        complaints.push("it names no test".to_owned());
    }
    let lost = tests.iter().filter(|test| !is_run(test));
    complaints.extend(lost.map(|test| format!("{test} is no test")));
    if mutant.breaks.is_empty() {
        complaints.push("it breaks nothing that has a number".to_owned());
    }
    let name = |complaint| format!("{}: {complaint}", mutant.name);
    complaints.into_iter().map(name).collect()
}

/// What is wrong with the page: a bug that rots, one that is there twice, be it under another name,
/// an invariant for which
/// there is none, a number that is nowhere.
fn wrong_mutants(page: &str) -> Vec<String> {
    let all: Vec<Mutant<'_>> = mutants(page).collect();
    let mut complaints: Vec<String> = all.iter().flat_map(wrong_mutant).collect();
    let mut names = BTreeSet::new();
    let twice = all.iter().filter(|mutant| !names.insert(mutant.name));
    complaints.extend(twice.map(|mutant| format!("{}: there are two", mutant.name)));
    let mut changes = BTreeSet::new();
    let twice = all.iter().filter(|mutant| {
        let file = mutant.quoted.first().copied().unwrap_or_default();
        !changes.insert((file, &mutant.before, &mutant.after))
    });
    complaints.extend(twice.map(|mutant| format!("{}: another has its diff", mutant.name)));
    let index = read(&root().join("docs/invariants.md"));
    let rows = index.lines().filter_map(|line| line.strip_prefix("| **"));
    let invariants: BTreeSet<&str> = rows.filter_map(|row| row.split("**").next()).collect();
    let broken: BTreeSet<&str> = all.iter().flat_map(|m| m.breaks.iter().copied()).collect();
    let safe = invariants.difference(&broken);
    complaints.extend(safe.map(|number| format!("{number}: no bug breaks it")));
    let elsewhere = ["docs/faults.md", "docs/README.md"].map(|page| read(&root().join(page)));
    let unknown = broken.difference(&invariants).filter(|number| {
        let defined = format!("| {} |", numbered(number));
        !elsewhere.iter().any(|page| page.contains(&defined))
    });
    complaints.extend(unknown.map(|number| format!("{number} is nowhere")));
    complaints
}

/// Below this, the list has been thrown away.
const MUTANTS: usize = 30;

#[test]
fn the_planted_bugs_still_fit_and_leave_no_invariant_out() {
    let page = read(&root().join("tests/mutants.md"));
    none(wrong_mutants(&page));
    assert!(mutants(&page).count() >= MUTANTS);
}

#[test]
fn a_planted_bug_that_has_come_to_fit_nowhere_is_found() {
    let own = "tidy/mutants::a_planted_bug_that_has_come_to_fit_nowhere_is_found";
    let says = format!("Breaks **L1** in `src/base/slab.rs`; caught by `{own}`.");
    let raised = "-        slot.generation += 1;\n";
    let section = |says: &str, diff: &str| format!("\n## It\n\n{says}\n\n```diff\n{diff}```\n");
    let wrong = |says: &str, diff: &str| -> Vec<String> {
        let page = section(says, diff);
        mutants(&page).flat_map(|m| wrong_mutant(&m)).collect()
    };
    assert!(wrong(&says, raised).is_empty());
    let stands = |n| format!("It: what it changes stands {n} times in \"src/base/slab.rs\"");
    assert_eq!(
        wrong(&says, "-        slot.generation += 7;\n"),
        [stands(0)]
    );
    assert_eq!(wrong(&says, "-            None\n"), [stands(2)]);
    assert_eq!(wrong(&says, ""), [stands(0)]);
    let same = "-        slot.generation += 1;\n+        slot.generation += 1;\n";
    assert_eq!(wrong(&says, same), ["It: it changes nothing"]);
    let page = format!("\n# In `src/poll`: pollers\n{}", section(&says, raised));
    let misplaced: Vec<String> = mutants(&page).flat_map(|m| wrong_mutant(&m)).collect();
    assert_eq!(misplaced, ["It: it stands among the bugs in `src/poll`"]);
    let lost = says.replace(own, "tidy/mutants::side");
    assert_eq!(wrong(&lost, raised), ["It: tidy/mutants::side is no test"]);
    assert_eq!(
        wrong("In `src/base/slab.rs`.", raised),
        [
            "It: it names no test",
            "It: it breaks nothing that has a number"
        ]
    );
}

#[test]
fn an_invariant_for_which_there_is_no_planted_bug_is_found() {
    let page = read(&root().join("tests/mutants.md"));
    let without = wrong_mutants(&page.replace("**L3**", "**L99**"));
    assert_eq!(without, ["L3: no bug breaks it", "L99 is nowhere"]);
    let first = page.split("\n## ").nth(1).unwrap();
    let (name, _) = first.split_once('\n').unwrap();
    let beside = |other: &str| page.replacen(first, &format!("{first}\n## {other}"), 1);
    let doubled = wrong_mutants(&beside(first));
    let expected = ["there are two", "another has its diff"].map(|what| format!("{name}: {what}"));
    assert_eq!(doubled, expected);
    let renamed = wrong_mutants(&beside(&format!("Once more: {first}")));
    assert_eq!(
        renamed,
        [format!("Once more: {name}: another has its diff")]
    );
}
