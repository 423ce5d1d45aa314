//! Each public enum may grow, or is exhaustive for a reason that stands here.
//!
//! Once a version is published, a new variant breaks each `match` without a wildcard. The rule is in
//! docs/decisions.md: errors, reasons, states and options may grow; alternatives that are complete by definition, or
//! that code outside the crate has to handle one by one, may not.

use super::{code, none, read, root, shown, sources};

/// The enums that are exhaustive, and why.
const EXHAUSTIVE: &[(&str, &str)] = &[
    (
        "Branch",
        "the branches of the notes' dispatch; another one would be another callback",
    ),
    (
        "WakeTimerState",
        "a future has to handle each state of its timer",
    ),
    ("FdRef", "the system's kernel, or another one"),
    ("FdOwned", "the system's kernel, or another one"),
    (
        "Trigger",
        "a poller has to implement each; a wildcard would treat a new one as another",
    ),
    ("PutError", "full or closed; with the item in each"),
    ("GetError", "empty or closed"),
    ("RecvError", "behind or closed"),
    ("TryRecvError", "behind, empty or closed"),
    ("Either", "one of two"),
    ("Direction", "reading or writing"),
    ("ChildStream", "the two streams that a child writes to"),
    ("Stalled", "nothing is ready, or something always is"),
];

/// Public enums of a file that are neither marked nor in the list above.
fn undecided(text: &str) -> Vec<String> {
    let mut is_marked = false;
    let mut found = Vec::new();
    for (_, line) in code(text) {
        if let Some(rest) = line.strip_prefix("pub enum ") {
            let name = rest.split(|c: char| !c.is_alphanumeric()).next();
            let name = name.unwrap_or_default();
            let is_listed = EXHAUSTIVE.iter().any(|(listed, _)| *listed == name);
            if is_marked == is_listed {
                found.push(name.to_owned());
            }
        }
        // Attributes stand directly above what they belong to, with comments in between.
        let is_above = line.starts_with("#[") || line.starts_with("//");
        is_marked = is_above && (is_marked || line == "#[non_exhaustive]");
    }
    found
}

#[test]
fn each_public_enum_may_grow_or_is_exhaustive_for_a_reason() {
    let kit = root().join("testing/src").is_dir();
    let folders = ["src"].into_iter().chain(kit.then_some("testing/src"));
    let complain = |path: &std::path::PathBuf| {
        let wrong = undecided(&read(path)).into_iter();
        let file = shown(path);
        wrong
            .map(move |name| format!("{file}: {name} is not decided, or both"))
            .collect::<Vec<_>>()
    };
    none(
        folders
            .flat_map(sources)
            .flat_map(|path| complain(&path))
            .collect(),
    );
}

#[test]
fn an_enum_that_is_not_decided_is_found() {
    let text = "
#[non_exhaustive]
#[derive(Debug)]
pub enum Grows {}
pub enum Undecided {}
/// Why.
pub enum Either<A> {}
#[non_exhaustive]
/// Both.
pub enum Trigger {}
";
    assert_eq!(undecided(text), ["Undecided", "Trigger"]);
}
