//! What the pages name is there: files, types with their methods, functions.
//!
//! A page that leads through the code by names is worth less than none when a name is gone. So each
//! name between backquotes, and in the plans (fences of `text`), is looked up in the sources as
//! text: no more than that the word is there, in a file of its owner.

use super::parity::made_for;
use super::{LIBRARIES, is_run, none, read, root, shown, sources};
use std::collections::BTreeSet;
use std::path::Path;

/// Names of other crates, of files that do not exist, and of a test in an explanation.
const FOREIGN: &[&str] = &[
    "std",
    "mem::forget",
    "io::Result",
    "Duration",
    "Waker",
    "src/poll/yours.rs",
    "it/hangup::name",
];

/// The words of a text: names, and what else looks like one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| is_name(word))
}

/// A source: its path as it is shown, its words, and whose home it is.
struct Source {
    path: String,
    words: BTreeSet<String>,
    /// The words of lines on which types and traits are made, or have a part.
    owners: BTreeSet<String>,
}

impl Source {
    fn of(path: &Path) -> Self {
        let kinds = ["struct ", "enum ", "trait ", "type ", "impl ", "impl<"];
        let (mut all, mut owners) = (BTreeSet::new(), BTreeSet::new());
        let text = read(path);
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            all.extend(words(line).map(str::to_owned));
            if kinds.iter().any(|kind| line.contains(kind)) {
                owners.extend(words(line).map(str::to_owned));
            }
        }
        owners.extend(made_for(&text));
        let path = shown(path);
        let words = all;
        Self {
            path,
            words,
            owners,
        }
    }

    /// Whether it is a module of this name, or below one.
    fn is_in_module(&self, module: &str) -> bool {
        if module == "readily_testing" {
            return self.path.starts_with("testing/src/");
        }
        let below = format!("/{module}/");
        self.path.ends_with(&format!("/{module}.rs")) || self.path.contains(&below)
    }
}

/// All but this file, which names what is not there.
fn all_sources() -> Vec<Source> {
    let folders = ["tests", "examples"];
    let paths = LIBRARIES
        .iter()
        .chain(&folders)
        .flat_map(|folder| sources(folder));
    let others = paths.filter(|path| !path.ends_with("tidy/names.rs"));
    others.map(|path| Source::of(&path)).collect()
}

/// A page in three parts: what is said, the plans, the programs.
fn parts(page: &str) -> [String; 3] {
    let mut parts = [const { String::new() }; 3];
    for (n, piece) in page.split("```").enumerate() {
        let part = match n % 2 {
            0 => 0,
            _ if piece.starts_with("text\n") => 1,
            _ => 2,
        };
        parts[part] += piece;
        parts[part] += "\n";
    }
    parts
}

fn is_name(part: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(fits)
}

/// Whether what a page names is there: `src/x.rs` or `x.rs`, `Type::method`, `module::item`, and a
/// test, `it/x::name`. What is none of these is not looked up.
fn is_there(name: &str, programs: &str, all: &[Source]) -> bool {
    let is_foreign = |one: &&str| name == *one || name.starts_with(&format!("{one}::"));
    if FOREIGN.iter().any(is_foreign) {
        return true;
    }
    if let Some(stem) = name.strip_suffix(".rs") {
        let is_it = |source: &Source| format!("/{}", source.path).ends_with(&format!("/{name}"));
        return !stem.split('/').all(is_name) || all.iter().any(is_it);
    }
    let parts: Vec<&str> = name.split("::").collect();
    let [.., owner, item] = parts[..] else {
        return true;
    };
    if let ([file, item], true) = (&parts[..], owner.contains('/')) {
        return !file.split('/').all(is_name) || !is_name(item) || is_run(name);
    }
    if !parts.iter().all(|part| is_name(part)) {
        return true;
    }
    let is_type = owner.starts_with(char::is_uppercase);
    let has_it = |source: &Source| {
        let home = match is_type {
            true => source.owners.contains(owner),
            // A promise stands below the poller that it is tried on.
            false => source.is_in_module(owner) || source.is_in_module("conformance"),
        };
        home && source.words.contains(item)
    };
    // The page may have one of its own.
    let made = ["struct", "enum", "mod"].map(|kind| format!("{kind} {owner}"));
    let own = made.iter().any(|start| programs.contains(start));
    (own && words(programs).any(|word| word == item)) || all.iter().any(has_it)
}

/// What the table "Where is …?" says of functions that is not so: each part of its third column,
/// `function` in `file.rs`, names a word of the file.
fn misplaced(page: &str, all: &[Source]) -> Vec<String> {
    let table = page.split("\n## Where is").nth(1).unwrap_or_default();
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let parts = rows.flat_map(|row| row.split(" | ").nth(2).unwrap_or_default().split("; "));
    let mut misplaced = Vec::new();
    for part in parts {
        let quoted = || part.split('`').skip(1).step_by(2);
        let files: Vec<&str> = quoted().filter(|name| name.ends_with(".rs")).collect();
        let is_named = |source: &&Source| files.iter().any(|file| source.path.ends_with(file));
        let words = |name| {
            all.iter()
                .filter(is_named)
                .any(|source| source.words.contains(name))
        };
        let names = quoted().filter(|name| !files.is_empty() && is_name(name) && !words(*name));
        misplaced.extend(names.map(|name| format!("{name} in {}", files.join(", "))));
    }
    misplaced
}

/// What a page names that is not there.
fn lost(page: &str, all: &[Source]) -> Vec<String> {
    let [said, plans, programs] = parts(page);
    let quoted = said.split('`').skip(1).step_by(2);
    let in_plan = |c: char| c.is_alphanumeric() || "_:/.".contains(c);
    let planned = plans.split(|c: char| !in_plan(c));
    let ends: &[char] = &[':', '.', '/'];
    let names = quoted.chain(planned);
    let names = names.map(|name| name.trim_end_matches("()").trim_matches(ends));
    let mut lost: Vec<String> = names
        .filter(|name| !is_there(name, &programs, all))
        .map(str::to_owned)
        .collect();
    // A plan names functions also without their owners, and system calls, which have a section.
    let is_function = |word: &&str| {
        word.contains('_') && !word.ends_with('_') && !word.contains(char::is_uppercase)
    };
    let is_call = |word: &str| plans.contains(&format!("{word}(2)"));
    let is_file = |word: &str| all.iter().any(|source| source.is_in_module(word));
    let anywhere = |word: &str| all.iter().any(|source| source.words.contains(word));
    let found = |word: &str| anywhere(word) || is_call(word) || is_file(word);
    let functions = words(&plans).filter(is_function);
    lost.extend(functions.filter(|word| !found(word)).map(str::to_owned));
    lost.extend(misplaced(page, all));
    lost
}

#[test]
fn what_the_pages_name_is_there() {
    let all = all_sources();
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    pages.sort();
    let mut looked_up = 0;
    let mut complaints = Vec::new();
    for page in &pages {
        let text = read(page);
        looked_up += text.matches("::").count();
        let lost = lost(&text, &all);
        complaints.extend(
            lost.iter()
                .map(|name| format!("{}: there is no {name}", shown(page))),
        );
    }
    assert!(looked_up > 500, "the pages name things: {looked_up}");
    none(complaints);
}

#[test]
fn a_name_that_is_not_there_is_found() {
    let page = "
`Slab::insert` is in `base/slab.rs`, and `slab.rs`; `Slab::nonesuch` in `base/nonesuch.rs`.
`it/listen::nonesuch` is no test, `alloc` is none, and `props/timing.rs` has one.
`Leaf::poll` is the page's own, `Leaf::nonesuch` is not, and `sync::nonesuch` is nowhere.
```text
 Inbox::notify → NoSuchType::rings, at fire_due_timers in turn.rs: no_such_function, EPOLL_THING
```
```rust
struct Leaf { }
fn poll() {}
```
## Where is …?
| question | answer | file and function | shown by |
|---|---|---|---|
| a | b | `insert` in `base/slab.rs`; `nonesuch`, `cancel` in `base/timer_heap.rs` | c |
";
    let expected = [
        "Slab::nonesuch",
        "base/nonesuch.rs",
        "it/listen::nonesuch",
        "Leaf::nonesuch",
        "sync::nonesuch",
        "NoSuchType::rings",
        "no_such_function",
        "nonesuch in base/timer_heap.rs",
    ];
    assert_eq!(lost(page, &all_sources()), expected);
}
